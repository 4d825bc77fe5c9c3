//! Refuses requests that a web page makes a browser send to a node on the user's machine or in the user's network.
//!
//! A page can't choose the headers by which these checks decide: a browser sets them itself.
//!
//! | attack | check |
//! |---|---|
//! | a name of the page's own site resolves to this node (DNS rebinding) | `Host` is a name of this node |
//! | a page of another site sends a request to this node | `Origin` has the host of the request, and `Sec-Fetch-Site` is not `cross-site` |
//! | the same without a preflight: a form, or a script with a content type of forms | JSON routes accept `application/json` only |
//!
//! A program that is not a browser sends no `Origin` and no `Sec-Fetch-Site`, and its `Host` is the address that it connects to.

use std::net::IpAddr;

use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use super::app::App;
use super::error::ApiError;
use super::error_code::ErrorCode;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Longest part of a header that an error message repeats, in characters.
const ECHO_CHARS: usize = 100;

/// Checks host, origin and encoding of a request.
///
/// # Errors
/// 501 for a body with another encoding than `chunked`, /// 421 `unknown_host` for a host that is not this node's, 403 `cross_origin` for a request of a foreign page, 400 if a header
/// occurs more than once.
pub(super) fn check(app: &App, request: &Parts, local: Option<IpAddr>) -> Result<(), ApiError> {
    let in_header = single(&request.headers, &HOST)?;
    let in_target = request
        .uri
        .authority()
        .map(|target| target.as_str().as_bytes());
    // The target takes precedence (RFC 9112 §3.2.2). A request without a host is none of a browser.
    let host = in_target.or(in_header);
    for host in in_target.into_iter().chain(in_header) {
        if !app.answers_to(host, local) {
            return Err(unknown_host(host));
        }
    }
    // hyper takes the body from its chunks, and leaves any other encoding in it.
    let mut encodings = request.headers.get_all(TRANSFER_ENCODING).iter();
    if !encodings.all(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(ApiError::unsupported_encoding());
    }
    if let Some(origin) = single(&request.headers, &ORIGIN)?
        && !host.is_some_and(|host| is_same_host(origin, host))
    {
        let origin = shown(origin);
        return Err(cross_origin(&format!(
            "a page of {origin} has sent this request"
        )));
    }
    let is_cross_site = single(&request.headers, &FETCH_SITE)?
        .is_some_and(|site| site.eq_ignore_ascii_case(b"cross-site"));
    if is_cross_site && !opens_dashboard(request) {
        return Err(cross_origin("a page of another site has sent this request"));
    }
    Ok(())
}

/// A link on a page of another site leads to the dashboard. The page can't read it.
fn opens_dashboard(request: &Parts) -> bool {
    let is = |name: &HeaderName, value: &str| {
        request
            .headers
            .get(name)
            .is_some_and(|found| found.as_bytes() == value.as_bytes())
    };
    request.method == Method::GET
        && request.uri.path() == "/"
        && is(&FETCH_MODE, "navigate")
        && is(&FETCH_DEST, "document")
}

/// Whether an origin, as in `http://127.0.0.1:8101`, has this host and port. A proxy in front of the node may add TLS.
fn is_same_host(origin: &[u8], host: &[u8]) -> bool {
    let Some((scheme, authority)) = std::str::from_utf8(origin)
        .ok()
        .and_then(|origin| origin.split_once("://"))
    else {
        // `null`: a page without an origin, such as a file or a sandboxed frame.
        return false;
    };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    without(authority, default_port).eq_ignore_ascii_case(without(host, default_port))
}

fn without<'a>(authority: &'a str, port: &str) -> &'a str {
    authority.strip_suffix(port).unwrap_or(authority)
}

/// Checks that a body is JSON by its content type. Forms of a page can't send this one.
///
/// # Errors
/// 415 for another content type, or without one.
pub(super) fn check_is_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = single(headers, &CONTENT_TYPE)?.map(String::from_utf8_lossy);
    let essence = content_type
        .as_deref()
        .map(|value| value.split(';').next().unwrap_or_default());
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let what = content_type.map_or_else(
        || "it has no Content-Type".to_owned(),
        |value| format!("its Content-Type is {:?}", shown(value.as_bytes())),
    );
    Err(ApiError::new(
        ErrorCode::UnsupportedMediaType,
        format!("the body of this request must be JSON, and {what}; nothing was changed"),
        "send the header `Content-Type: application/json`",
    ))
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(axum::http::HeaderValue::as_bytes)),
        _ => Err(ApiError::malformed(
            format!("the request has the header {name} more than once"),
            "send the header once",
        )),
    }
}

fn unknown_host(host: &[u8]) -> ApiError {
    let host = shown(host);
    ApiError::new(
        ErrorCode::UnknownHost,
        format!(
            "the host {host:?} in this request is not a name of this node; nothing was changed"
        ),
        "connect to the address that `oarlock serve` was started with; if clients reach this node by another name, start it \
         with --allow-host NAME",
    )
}

fn cross_origin(why: &str) -> ApiError {
    ApiError::new(
        ErrorCode::CrossOrigin,
        format!("{why}, and the node accepts requests of its own pages only; nothing was changed"),
        "send the request from a program, or open the address of the node in the browser",
    )
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .chars()
        .take(ECHO_CHARS)
        .collect()
}

#[cfg(test)]
mod tests;
