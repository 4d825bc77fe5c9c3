//! Parses requests for the fast path.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use task_queue_raft::Consistency;

use super::super::query_string::consistency;

/// Longest head, in bytes, and most headers; a request beyond either limit takes the slow path.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 32;
/// Longest body, in bytes; a longer one takes the slow path.
const MAX_BODY: usize = 64 << 10;

/// The route of a request.
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
            Some(("/v1/query", parameters)) => consistency(parameters).map(Self::Query),
            _ => None,
        }
    }
}

/// A complete request.
#[derive(Debug)]
pub(super) struct ParsedRequest {
    pub(super) target: Target,
    /// Only `Oarlock-Timeout-Ms` and `Idempotency-Key`.
    pub(super) headers: HeaderMap,
    /// Position of the body in the input.
    pub(super) body: Range<usize>,
    /// Length of head and body, in bytes.
    pub(super) length: usize,
    /// No request follows it: it has `Connection: close`.
    pub(super) is_last: bool,
}

/// What the input starts with.
#[derive(Debug)]
pub(super) enum ParseResult {
    /// The start of a request; more bytes are needed.
    Incomplete,
    /// Something that the slow path must handle.
    SlowPath,
    /// A complete request for the fast path.
    Request(ParsedRequest),
}

/// Parses the start of the input. `limit` is the node's limit for a body, in bytes. `is_own_host`: whether the value of
/// `Host` is a name of this node.
pub(super) fn request(
    bytes: &[u8],
    limit: u64,
    is_own_host: impl Fn(&[u8]) -> bool,
) -> ParseResult {
    if bytes.is_empty() {
        return ParseResult::Incomplete;
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => {
            let other_method = request.method.is_some_and(|method| method != "POST");
            return if other_method {
                ParseResult::SlowPath
            } else {
                ParseResult::Incomplete
            };
        }
        Ok(httparse::Status::Partial) | Err(_) => return ParseResult::SlowPath,
    };
    let target = request.path.and_then(Target::of);
    let (Some("POST"), Some(1), Some(target)) = (request.method, request.version, target) else {
        return ParseResult::SlowPath;
    };
    let Some(read) = read_headers(request.headers, is_own_host) else {
        return ParseResult::SlowPath;
    };
    let ReadHeaders {
        length,
        headers,
        is_last,
    } = read;
    if length == 0 || length > MAX_BODY || length as u64 > limit {
        return ParseResult::SlowPath;
    }
    if bytes.len() - head < length {
        return ParseResult::Incomplete;
    }
    ParseResult::Request(ParsedRequest {
        target,
        headers,
        body: head..head + length,
        length: head + length,
        is_last,
    })
}

/// What the headers of a request tell.
struct ReadHeaders {
    /// Length of the body, in bytes.
    length: usize,
    /// Those that handlers read.
    headers: HeaderMap,
    is_last: bool,
}

/// Reads headers. `None` if one requires the slow path.
fn read_headers(
    headers: &[httparse::Header<'_>],
    is_own_host: impl Fn(&[u8]) -> bool,
) -> Option<ReadHeaders> {
    let (mut length, mut kept, mut host) = (None, HeaderMap::new(), None);
    let mut is_last = false;
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            if length.is_some() || !header.value.iter().all(u8::is_ascii_digit) {
                return None;
            }
            length = Some(std::str::from_utf8(header.value).ok()?.parse().ok()?);
        } else if is("connection") {
            if header.value.eq_ignore_ascii_case(b"close") {
                is_last = true;
            } else if !header.value.eq_ignore_ascii_case(b"keep-alive") {
                return None;
            }
        } else if is("oarlock-timeout-ms") || is("idempotency-key") || is("authorization") {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            kept.append(name, HeaderValue::from_bytes(header.value).ok()?);
        } else if is("host") {
            if host.replace(header.value).is_some() || !is_own_host(header.value) {
                return None;
            }
        } else if [
            "transfer-encoding",
            "expect",
            "upgrade",
            "origin",
            "sec-fetch-site",
        ]
        .iter()
        .any(|name| is(name))
        {
            return None;
        }
    }
    Some(ReadHeaders {
        length: length?,
        headers: kept,
        is_last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(head: &str, body: &str) -> Vec<u8> {
        format!("POST {head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn is_local(host: &[u8]) -> bool {
        host == b"localhost"
    }

    fn is_slow(bytes: &[u8]) -> bool {
        matches!(request(bytes, 1 << 20, is_local), ParseResult::SlowPath)
    }

    #[test]
    fn a_command_is_parsed_once_it_is_complete_and_later_bytes_stay() {
        let bytes = complete(
            "/v1/apply HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\n",
            "abc",
        );
        for cut in 0..bytes.len() {
            let result = request(&bytes[..cut], 1 << 20, is_local);
            assert!(
                matches!(result, ParseResult::Incomplete),
                "{cut} bytes: {result:?}"
            );
        }
        let two = [&bytes[..], &bytes[..]].concat();
        let ParseResult::Request(parsed) = request(&two, 1 << 20, is_local) else {
            panic!("it is complete");
        };
        assert_eq!(
            (parsed.length, &two[parsed.body]),
            (bytes.len(), &b"abc"[..])
        );
        assert_eq!(parsed.target, Target::Apply);
        assert_eq!(parsed.headers["idempotency-key"], "k");
    }

    #[test]
    fn a_client_tells_its_last_request() {
        for (header, is_last) in [("close", true), ("Close", true), ("keep-alive", false)] {
            let head = format!("/v1/apply HTTP/1.1\r\nconnection: {header}\r\n");
            let ParseResult::Request(parsed) = request(&complete(&head, "abc"), 1 << 20, is_local)
            else {
                panic!("{header}");
            };
            assert_eq!(parsed.is_last, is_last, "{header}");
        }
    }

    #[test]
    fn the_consistency_of_a_query_comes_from_the_url() {
        for (target, consistency) in [
            ("/v1/query", Consistency::Linearizable),
            ("/v1/query?consistency=stale", Consistency::Stale),
        ] {
            let bytes = complete(&format!("{target} HTTP/1.1\r\n"), "q");
            let ParseResult::Request(parsed) = request(&bytes, 1 << 20, is_local) else {
                panic!("{target}");
            };
            assert_eq!(parsed.target, Target::Query(consistency));
        }
        assert!(is_slow(&complete(
            "/v1/query?consistency=odd HTTP/1.1\r\n",
            "q"
        )));
    }

    #[test]
    fn all_other_requests_take_the_slow_path() {
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
            assert!(is_slow(bytes), "{}", String::from_utf8_lossy(bytes));
        }
        for header in [
            "transfer-encoding: chunked",
            "expect: 100-continue",
            "connection: upgrade",
            "upgrade: h2c",
            "host: evil.example",
            "host: localhost\r\nhost: localhost",
            "origin: http://localhost",
            "sec-fetch-site: same-origin",
        ] {
            let bytes = complete(&format!("/v1/apply HTTP/1.1\r\n{header}\r\n"), "abc");
            assert!(is_slow(&bytes), "{header}");
        }
        let large = complete("/v1/apply HTTP/1.1\r\n", &"x".repeat(MAX_BODY + 1));
        assert!(is_slow(&large));
        assert!(
            matches!(
                request(&complete("/v1/apply HTTP/1.1\r\n", "abc"), 2, is_local),
                ParseResult::SlowPath
            ),
            "above the limit of the node"
        );
        let long = format!("POST /v1/apply HTTP/1.1\r\nx: {}", "y".repeat(MAX_HEAD));
        assert!(is_slow(long.as_bytes()));
    }
}
