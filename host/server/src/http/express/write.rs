//! Writes responses in HTTP/1.1.

use std::cell::RefCell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;

use crate::http::app::App;
use crate::http::reply::{GuestReply, ReplyResult, content_type};

/// Appends a response to `out`. The `last` response of a connection has `Connection: close`. Returns its status.
pub(super) fn response(out: &mut Vec<u8>, app: &App, reply: ReplyResult, last: bool) -> StatusCode {
    match reply {
        Ok(GuestReply {
            status,
            index,
            body,
        }) => {
            start(out, status, content_type(app));
            put(out, format_args!("oarlock-index: {index}\r\n"));
            end(out, last, &body);
            status
        }
        Err(error) => {
            let status = error.status();
            start(out, status, "application/json");
            if error.has_retry_after() {
                out.extend_from_slice(b"retry-after: 1\r\n");
            }
            if status == StatusCode::UNAUTHORIZED {
                out.extend_from_slice(b"www-authenticate: Bearer\r\n");
            }
            end(out, last, &error.json());
            status
        }
    }
}

fn start(out: &mut Vec<u8>, status: StatusCode, content_type: &str) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: ");
    } else {
        let reason = status.canonical_reason().unwrap_or_default();
        put(
            out,
            format_args!("HTTP/1.1 {} {reason}\r\ncontent-type: ", status.as_u16()),
        );
    }
    out.extend_from_slice(content_type.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn end(out: &mut Vec<u8>, last: bool, body: &[u8]) {
    if last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    put(
        out,
        format_args!("content-length: {}\r\ndate: ", body.len()),
    );
    put_date(out);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a vector can't fail.
    let _ = out.write_fmt(text);
}

/// The date. Each thread formats it once per second.
fn put_date(out: &mut Vec<u8>) {
    thread_local! {
        static LATEST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LATEST.with_borrow_mut(|(at, text)| {
        if *at != seconds || text.is_empty() {
            *at = seconds;
            *text = httpdate::fmt_http_date(now);
        }
        out.extend_from_slice(text.as_bytes());
    });
}
