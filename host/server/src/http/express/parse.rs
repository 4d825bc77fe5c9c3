//! Whether the bytes at hand begin with a request for the short way.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use task_queue_raft::Consistency;

use crate::http::query;

/// The longest head; a longer one takes the long way, as does one with more headers.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 32;
/// The longest body.
const MAX_BODY: usize = 64 << 10;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Apply,
    Query(Consistency),
}

impl Target {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Apply => "/v1/apply",
            Self::Query(_) => "/v1/query",
        }
    }

    fn of(target: &str) -> Option<Self> {
        match target.split_once('?') {
            None if target == "/v1/apply" => Some(Self::Apply),
            None if target == "/v1/query" => Some(Self::Query(Consistency::default())),
            Some(("/v1/query", words)) => query::consistency(words).ok().map(Self::Query),
            _ => None,
        }
    }
}

/// A request that is all there.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) target: Target,
    /// Only those that say something of a command or a question.
    pub(super) headers: HeaderMap,
    /// Where its body is.
    pub(super) body: Range<usize>,
    /// Of all of it.
    pub(super) length: usize,
}

/// What the bytes begin with.
#[derive(Debug)]
pub(super) enum Parsed {
    /// It may become one.
    Partial,
    /// Something else.
    Other,
    /// It.
    Request(Wanted),
}

/// Looks at the bytes. `limit` is the longest body that the node takes.
pub(super) fn request(bytes: &[u8], limit: u64) -> Parsed {
    if bytes.is_empty() {
        return Parsed::Partial;
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => {
            let hopeless = request.method.is_some_and(|method| method != "POST");
            return if hopeless {
                Parsed::Other
            } else {
                Parsed::Partial
            };
        }
        Ok(httparse::Status::Partial) | Err(_) => return Parsed::Other,
    };
    let target = request.path.and_then(Target::of);
    let (Some("POST"), Some(1), Some(target)) = (request.method, request.version, target) else {
        return Parsed::Other;
    };
    let Some((length, headers)) = known(request.headers) else {
        return Parsed::Other;
    };
    if length == 0 || length > MAX_BODY || length as u64 > limit {
        return Parsed::Other;
    }
    if bytes.len() - head < length {
        return Parsed::Partial;
    }
    Parsed::Request(Wanted {
        target,
        headers,
        body: head..head + length,
        length: head + length,
    })
}

/// Length of the body, and the headers that matter; none where one says something that only the long way knows.
fn known(headers: &[httparse::Header<'_>]) -> Option<(usize, HeaderMap)> {
    let (mut length, mut known) = (None, HeaderMap::new());
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            if length.is_some() || !header.value.iter().all(u8::is_ascii_digit) {
                return None;
            }
            length = Some(std::str::from_utf8(header.value).ok()?.parse().ok()?);
        } else if is("connection") {
            if !header.value.eq_ignore_ascii_case(b"keep-alive") {
                return None;
            }
        } else if is("oarlock-timeout-ms") || is("idempotency-key") {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            known.append(name, HeaderValue::from_bytes(header.value).ok()?);
        } else if is("transfer-encoding") || is("expect") || is("upgrade") {
            return None;
        }
    }
    Some((length?, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(head: &str, body: &str) -> Vec<u8> {
        format!("POST {head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn is_other(bytes: &[u8]) -> bool {
        matches!(request(bytes, 1 << 20), Parsed::Other)
    }

    #[test]
    fn a_command_is_taken_when_all_of_it_is_there_and_no_byte_behind_it() {
        let bytes = whole(
            "/v1/apply HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n",
            "abc",
        );
        for cut in 0..bytes.len() {
            let parsed = request(&bytes[..cut], 1 << 20);
            assert!(matches!(parsed, Parsed::Partial), "{cut} bytes: {parsed:?}");
        }
        let two = [&bytes[..], &bytes[..]].concat();
        let Parsed::Request(wanted) = request(&two, 1 << 20) else {
            panic!("it is whole");
        };
        assert_eq!(
            (wanted.length, &two[wanted.body]),
            (bytes.len(), &b"abc"[..])
        );
        assert_eq!(wanted.target, Target::Apply);
        assert_eq!(wanted.headers["idempotency-key"], "k");
    }

    #[test]
    fn a_question_says_how_fresh_its_answer_must_be() {
        for (target, consistency) in [
            ("/v1/query", Consistency::Linearizable),
            ("/v1/query?consistency=stale", Consistency::Stale),
        ] {
            let bytes = whole(&format!("{target} HTTP/1.1\r\n"), "q");
            let Parsed::Request(wanted) = request(&bytes, 1 << 20) else {
                panic!("{target}");
            };
            assert_eq!(wanted.target, Target::Query(consistency));
        }
        assert!(is_other(&whole(
            "/v1/query?consistency=odd HTTP/1.1\r\n",
            "q"
        )));
    }

    #[test]
    fn whatever_else_comes_takes_the_long_way() {
        for bytes in [
            &b"GET /v1/status HTTP/1.1\r\n\r\n"[..],
            b"GET /v1/sta",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"garbage\0",
            b"POST /v1/apply HTTP/1.0\r\ncontent-length: 1\r\n\r\na",
            b"POST /v1/apply HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
            b"POST /v1/apply HTTP/1.1\r\ncontent-length: +1\r\n\r\na",
            b"POST /v1/apply HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na",
            b"POST /v1/apply HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\na",
            b"POST /v1/apply HTTP/1.1\r\n\r\n",
        ] {
            assert!(is_other(bytes), "{}", String::from_utf8_lossy(bytes));
        }
        for header in [
            "transfer-encoding: chunked",
            "expect: 100-continue",
            "connection: close",
            "connection: upgrade",
            "upgrade: h2c",
        ] {
            let bytes = whole(&format!("/v1/apply HTTP/1.1\r\n{header}\r\n"), "abc");
            assert!(is_other(&bytes), "{header}");
        }
        let large = whole("/v1/apply HTTP/1.1\r\n", &"x".repeat(MAX_BODY + 1));
        assert!(is_other(&large));
        assert!(
            matches!(
                request(&whole("/v1/apply HTTP/1.1\r\n", "abc"), 2),
                Parsed::Other
            ),
            "over the node's limit"
        );
        let long = format!("POST /v1/apply HTTP/1.1\r\nx: {}", "y".repeat(MAX_HEAD));
        assert!(is_other(long.as_bytes()));
    }
}
