//! A lock service: leases, fencing tokens, and an `acquire` that waits.
//!
//! ```text
//! {"acquire":{"lock":"orders","owner":"a","lease_ms":10000,"wait_ms":30000}}
//!                                         →  {"granted":{"fence":1,"until_ms":1700000010000}} or {"timed_out":{}}
//! {"renew":{"lock":"orders","fence":1,"lease_ms":10000}}  →  {"granted":{"fence":1,"until_ms":1700000015000}}
//! {"release":{"lock":"orders","fence":1}}                 →  {"released":{}}
//! {"get":{"lock":"orders"}}  (query)
//!                              →  {"lease":{"owner":"a","fence":1,"until_ms":1700000010000},"waiting":2}
//! ```
//!
//! `acquire` waits up to `wait_ms` while another owner has the lock. Those who wait get it in the order in which they came.
//! The owner of a lock gets it again with the same fence, and its lease is extended. A lease that is not renewed ends at
//! `until_ms`, and the lock passes on. `renew` and `release` with an old fence are refused with `not_held`.
//!
//! **Send the fence with every access to what the lock protects, and refuse a smaller one there than the largest seen.** A
//! client can't know that its lease has ended while it was paused; the fence of the next owner is larger.

mod messages;

use std::collections::{BTreeMap, VecDeque};

pub use messages::{Acquire, Command, Grant, Lease, Query, Reply, Response};
use oarlock_guest::{Apply, Read, Refusal, StateMachine, Token, state_machine};
use serde::{Deserialize, Serialize};

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Locks {
    held: BTreeMap<String, Held>,
    /// The lock for which a deferred `acquire` waits.
    waiting: BTreeMap<Token, String>,
    last_fence: u64,
}

/// A lock that has an owner.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    lease: Lease,
    /// Who waits, the first one first.
    queue: VecDeque<Waiter>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Waiter {
    token: Token,
    owner: String,
    lease_ms: u64,
}

#[state_machine(name = "lock", version = 1, schema = include_str!("schema.json"))]
impl StateMachine for Locks {
    type Command = Command;
    type Reply = Reply;
    type Query = Query;
    type Response = Response;
    type Refusal = Refusal;

    fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Reply, Refusal> {
        command.check()?;
        match command {
            Command::Acquire(command) => self.acquire(cx, command),
            Command::Renew {
                lock,
                fence,
                lease_ms,
            } => {
                let lease = self.lease(cx, &lock, fence)?;
                extend(cx, &lock, lease, lease_ms)
            }
            Command::Release { lock, fence } => {
                self.lease(cx, &lock, fence)?;
                self.pass_on(cx, &lock);
                Ok(Reply::Released {})
            }
        }
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Response, Refusal> {
        let Query::Get { lock } = query;
        let held = self.held.get(&lock);
        Ok(Response {
            lease: held.map(|held| held.lease.clone()),
            waiting: held.map_or(0, |held| held.queue.len()),
        })
    }

    /// The lease of a lock has ended.
    fn on_timer(&mut self, cx: &mut Apply<'_>, lock: &str) {
        self.pass_on(cx, lock);
    }

    /// An `acquire` has waited long enough.
    fn on_deadline(&mut self, _cx: &mut Apply<'_>, token: Token) {
        let lock = self.waiting.remove(&token);
        if let Some(held) = lock.and_then(|lock| self.held.get_mut(&lock)) {
            held.queue.retain(|waiter| waiter.token != token);
        }
    }
}

impl Locks {
    fn acquire(&mut self, cx: &mut Apply<'_>, command: Acquire) -> Result<Reply, Refusal> {
        let Some(held) = self.held.get_mut(&command.lock) else {
            return self.acquire_free(cx, command);
        };
        if held.lease.owner == command.owner && held.lease.is_valid(cx.time_ms()) {
            return extend(cx, &command.lock, &mut held.lease, command.lease_ms);
        }
        if command.wait_ms > 0 {
            let token = cx.defer(cx.time_ms() + command.wait_ms)?;
            held.queue.push_back(Waiter {
                token,
                owner: command.owner,
                lease_ms: command.lease_ms,
            });
            self.waiting.insert(token, command.lock);
        }
        // The reply now, or at the deadline.
        Ok(Reply::TimedOut {})
    }

    fn acquire_free(&mut self, cx: &mut Apply<'_>, command: Acquire) -> Result<Reply, Refusal> {
        if cx.memory_is_low() {
            let message = "the memory is low; release locks first";
            return Err(Refusal::new("memory_is_low", message));
        }
        let mut lease = Lease::new(command.owner, self.last_fence + 1);
        let reply = extend(cx, &command.lock, &mut lease, command.lease_ms)?;
        self.last_fence = lease.fence;
        let queue = VecDeque::new();
        self.held.insert(command.lock, Held { lease, queue });
        Ok(reply)
    }

    /// The lease with this fence, if it has not ended.
    fn lease(&mut self, cx: &Apply<'_>, lock: &str, fence: u64) -> Result<&mut Lease, Refusal> {
        let lease = self.held.get_mut(lock).map(|held| &mut held.lease);
        lease
            .filter(|lease| lease.fence == fence && lease.is_valid(cx.time_ms()))
            .ok_or_else(|| {
                let message =
                    format!("`{lock}` is not held with the fence {fence}; acquire it again");
                Refusal::new("not_held", message).field("fence")
            })
    }

    /// Gives the lock to the first who waits. Without one, removes it.
    fn pass_on(&mut self, cx: &mut Apply<'_>, lock: &str) {
        cx.cancel_timer(lock);
        let Some(mut held) = self.held.remove(lock) else {
            return;
        };
        let Some(waiter) = held.queue.pop_front() else {
            return;
        };
        self.waiting.remove(&waiter.token);
        self.last_fence += 1;
        held.lease = Lease::new(waiter.owner, self.last_fence);
        let reply = extend(cx, lock, &mut held.lease, waiter.lease_ms);
        let reply = reply.expect("there is room for the timer that was cancelled");
        cx.complete::<Self>(waiter.token, &reply);
        self.held.insert(lock.to_owned(), held);
    }
}

/// Begins or extends a lease. Its timer has the name of the lock.
fn extend(
    cx: &mut Apply<'_>,
    lock: &str,
    lease: &mut Lease,
    lease_ms: u64,
) -> Result<Reply, Refusal> {
    let (fence, until_ms) = (lease.fence, cx.time_ms() + lease_ms);
    cx.set_timer(lock, until_ms)?;
    lease.until_ms = until_ms;
    Ok(Reply::Granted(Grant { fence, until_ms }))
}

#[cfg(test)]
mod tests;
