//! The fast path of the HTTP server.

#[path = "../../../../../host/server/src/http/express/parse.rs"]
mod parse;

/// Parses the begin of a connection as the fast path does. Returns what it is.
pub(crate) fn parse_requests(bytes: &[u8]) -> String {
    let (mut rest, mut outcome) = (bytes, String::new());
    loop {
        let parsed = parse::request(rest, 1 << 20, |host| host.starts_with(b"localhost"));
        match parsed {
            parse::ParseResult::Incomplete => return outcome + "incomplete",
            parse::ParseResult::SlowPath => return outcome + "slow path",
            parse::ParseResult::Request(request) => {
                assert!(
                    request.body.end == request.length
                        && request.length <= rest.len()
                        && !request.body.is_empty(),
                    "{request:?} of {} bytes",
                    rest.len()
                );
                outcome += &format!(
                    "{:?} {} {}, ",
                    request.target,
                    request.headers.len(),
                    request.is_last
                );
                rest = &rest[request.length..];
            }
        }
    }
}
