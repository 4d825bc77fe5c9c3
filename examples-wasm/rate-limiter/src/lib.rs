//! A rate limiter: each key has a token bucket, and all servers of a service share it.
//!
//! ```text
//! {"set":{"limit":"api","burst":10,"tokens":5,"period_ms":1000}}  →  {"set":{}}
//! {"take":{"limit":"api","key":"ann","tokens":1}}
//!                                  →  {"taken":{"left":9}} or {"limited":{"retry_after_ms":140}}
//! {"remove":{"limit":"api"}}                                      →  {"removed":{}}
//! {"bucket":{"limit":"api","key":"ann"}}  (query)                 →  {"left":9,"burst":10}
//! ```
//!
//! A bucket is full at first, with `burst` tokens, and gets `tokens` of them in each period, one after the other. The time
//! is that of the log, so all nodes compute the same, and a new leader goes on where the old one was.
//!
//! The state of a bucket is one number: the time when it is full again. A full bucket is not stored. So an idle key costs
//! nothing, and the state has no clock that runs.

mod messages;

use std::collections::{BTreeMap, BTreeSet};

use messages::check;
pub use messages::{Command, Query, Reply, Response};
use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};

/// How many full buckets a command removes at most. More than it can add, so none is left for long.
const SWEPT: usize = 2;

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RateLimiter {
    limits: BTreeMap<String, Limit>,
    /// When each bucket is full again.
    full_at: BTreeMap<BucketId, Micros>,
    /// The same buckets in the order of that time.
    by_time: BTreeSet<(Micros, BucketId)>,
}

/// Name of the limit, and key.
type BucketId = (String, String);
/// A time in the log, in microseconds since 1970-01-01 UTC, or a length of time.
type Micros = u64;

/// What all buckets of a limit have in common.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Limit {
    burst: u64,
    /// Time in which a bucket gets one token.
    token_us: Micros,
}

impl Limit {
    /// How many tokens a bucket has.
    fn left(self, now_us: Micros, full_at_us: Micros) -> u64 {
        let missing_us = full_at_us.saturating_sub(now_us);
        self.burst
            .saturating_sub(missing_us.div_ceil(self.token_us))
    }
}

#[state_machine(name = "rate-limiter", version = 1, schema = include_str!("schema.json"))]
impl StateMachine for RateLimiter {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        command.check()?;
        match command {
            Command::Set {
                limit,
                burst,
                tokens,
                period_ms,
            } => {
                let token_us = period_ms * 1000 / tokens;
                self.limits.insert(limit, Limit { burst, token_us });
                Ok(Reply::Set {})
            }
            Command::Remove { limit } => {
                self.limits.remove(&limit);
                Ok(Reply::Removed {})
            }
            Command::Take { limit, key, tokens } => self.take(cx, (limit, key), tokens),
        }
    }

    fn query(&self, cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        let Query::Bucket { limit, key } = query;
        let found = self.limit(&limit)?;
        let full_at_us = self.full_at.get(&(limit, key)).copied().unwrap_or(0);
        Ok(Response {
            left: found.left(cx.time_ms() * 1000, full_at_us),
            burst: found.burst,
        })
    }
}

impl RateLimiter {
    fn take(&mut self, cx: &Apply<'_>, id: BucketId, tokens: u64) -> Result<Reply, Refusal> {
        let limit = self.limit(&id.0)?;
        check("tokens", &(1..=limit.burst), tokens, "tokens")?;
        let now_us = cx.time_ms() * 1000;
        let is_new = !self.full_at.contains_key(&id);
        // Where a full bucket makes place for it, a new one takes no memory.
        if is_new && !self.has_full(now_us) && cx.memory_is_low() {
            let text = "the memory is low; try again when buckets are full, or use fewer keys";
            return Err(Refusal::new("memory_is_low", text));
        }
        self.sweep(now_us);
        let stored_us = self.full_at.get(&id).copied();
        let empty_us = now_us + limit.burst * limit.token_us;
        // A time after that of an empty bucket is left from before the limit was changed.
        let before_us = stored_us.unwrap_or(0).clamp(now_us, empty_us);
        let after_us = before_us + tokens * limit.token_us;
        if after_us > empty_us {
            if stored_us != Some(before_us) {
                self.store(id, stored_us, before_us);
            }
            let retry_after_ms = (after_us - empty_us).div_ceil(1000);
            return Ok(Reply::Limited { retry_after_ms });
        }
        self.store(id, stored_us, after_us);
        let left = limit.left(now_us, after_us);
        Ok(Reply::Taken { left })
    }

    fn store(&mut self, id: BucketId, stored_us: Option<Micros>, full_at_us: Micros) {
        if let Some(stored_us) = stored_us {
            self.by_time.remove(&(stored_us, id.clone()));
        }
        self.by_time.insert((full_at_us, id.clone()));
        self.full_at.insert(id, full_at_us);
    }

    /// Removes buckets that are full.
    fn sweep(&mut self, now_us: Micros) {
        for _ in 0..SWEPT {
            if !self.has_full(now_us) {
                return;
            }
            if let Some((_, id)) = self.by_time.pop_first() {
                self.full_at.remove(&id);
            }
        }
    }

    fn has_full(&self, now_us: Micros) -> bool {
        let first = self.by_time.first();
        first.is_some_and(|(full_at_us, _)| *full_at_us <= now_us)
    }

    fn limit(&self, name: &str) -> Result<Limit, Refusal> {
        self.limits.get(name).copied().ok_or_else(|| {
            let text = format!("there is no limit `{name}`; set it first");
            Refusal::new("no_such_limit", text).field("limit")
        })
    }
}

#[cfg(test)]
mod tests;
