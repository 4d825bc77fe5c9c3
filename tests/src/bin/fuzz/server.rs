//! Sources of the binary `oarlock`, which is no library: they depend on nothing else of it.

#![allow(dead_code, unreachable_pub, reason = "the binary uses more of them")]

#[path = "../../../../host/server/src/access/caller.rs"]
pub(crate) mod caller;
#[path = "../../../../host/server/src/http/express/parse.rs"]
mod parse;
#[path = "../../../../host/server/src/http/query_string.rs"]
mod query_string;
#[path = "../../../../host/server/src/access/role.rs"]
pub(crate) mod role;
#[path = "../../../../host/server/src/access/token.rs"]
pub(crate) mod token;

use query_string::consistency;

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
