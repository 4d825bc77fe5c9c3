//! Sources of the binary `oarlock`, which is no library: they depend on nothing else of it.

#![allow(dead_code, unreachable_pub, reason = "the binary uses more of them")]

mod express;

#[path = "../../../../host/server/src/access/caller.rs"]
pub(crate) mod caller;
#[path = "../../../../host/server/src/http/query_string.rs"]
mod query_string;
#[path = "../../../../host/server/src/access/role.rs"]
pub(crate) mod role;
#[path = "../../../../host/server/src/access/token.rs"]
pub(crate) mod token;

pub(crate) use express::parse_requests;
