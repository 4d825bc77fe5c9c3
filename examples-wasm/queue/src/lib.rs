//! A durable task queue: named queues, priorities, delays, leases, retries, a dead set and deduplication.
//!
//! ```text
//! {"enqueue":{"queue":"email","payload":{"to":"a"},"priority":0,"delay_ms":0,"max_attempts":25,"dedupe_key":"k"}}
//!                                          →  {"id":1,"duplicate":false}
//! {"reserve":{"queues":["email"],"worker":"w1","lease_ms":30000,"max":1,"wait_ms":0}}
//!                                          →  {"tasks":[{"id":1,"queue":"email","payload":{"to":"a"},"attempt":1,
//!                                                        "token":"1-…","lease_until_ms":…}]}
//! {"ack":{"id":1,"token":"1-…"}}           →  {}
//! {"nack":{"id":1,"token":"1-…","delay_ms":1000,"error":"no route"}}
//!                                          →  {"state":"delayed"} or {"state":"dead"}
//! {"extend":{"id":1,"token":"1-…","lease_ms":30000}}
//!                                          →  {"lease_until_ms":…}
//! {"stats":{}}  (query)                    →  {"queues":{"email":{"ready":0,"delayed":0,"leased":0,"dead":0,"completed":0}}}
//! {"task":{"id":1}}  (query)               →  {"task":{"id":1,"queue":"email","state":"leased","attempt":1,
//!                                                      "payload":{"to":"a"},"errors":[]}} or {"task":null}
//! ```
//!
//! # The life of a task
//!
//! A task is **ready**, or **delayed** until a time, or **leased** to a worker until a time, or **dead**.
//! `ack` removes it: from then on it only counts in `completed`, and the query `task` returns `null`.
//!
//! - **Order.** A smaller `priority` is delivered first, then the older task. After a `nack` or an expired lease a task
//!   keeps its age. A reserve of several queues merges them in this order.
//! - **Time** is the replicated time of the log. Nothing happens early. Timers that are due fire in the order of
//!   (time, id), at the next `reserve` of the queue or at the next wake-up of the guest. One command or wake-up fires at
//!   most [`limits::MAX_SWEPT`] timers; another wake-up follows for the rest.
//! - **Attempts** are counted on delivery. If the last attempt fails, by `nack` or by an expired lease, the task is dead.
//!   Dead tasks are kept, with their errors.
//! - **A token** identifies one delivery. It is valid until the task is acknowledged, returned with `nack` or delivered
//!   again. It stays valid after the lease expired: a late worker may still acknowledge if no other worker got the task. A
//!   stale token is refused and changes nothing.
//! - **`nack`** without a delay makes the task due immediately. It counts as delayed until the next reserve or wake-up.
//! - **`dedupe_key`** is per queue. Another enqueue with the same key returns the id of the first task and
//!   `"duplicate":true`. This holds while the first task exists (dead tasks included), and for
//!   [`limits::DEDUPE_WINDOW_MS`] after it was acknowledged. The number of keys of acknowledged tasks is bounded; the
//!   oldest are dropped first.
//! - **Replies.** A reserve delivers as many tasks as fit into one reply; more with the next one. An enqueue is refused if no
//!   reply could deliver its payload. If the limit of replies is lowered later, a reserve makes such tasks dead.
//! - **Low memory.** While memory is low, an enqueue is refused with `full`. All other commands work.
//! - **`stats`** returns the queues in the order of their names, as many as fit into one response. `"next"` is then the name
//!   to continue after: `{"stats":{"after":"…"}}`.
//! - **Errors.** The last [`limits::MAX_ERRORS`] are kept, each cut to [`limits::MAX_ERROR_BYTES`] bytes.
//! - **A queue** is created by its first task.
//!
//! `wait_ms` is reserved: it is validated and ignored. A reserve always returns immediately.
//!
//! All limits are in [`limits`]. A value over a limit is refused; the refusal names the field.

pub mod limits;
pub mod messages;

mod dedupe;
mod delivery;
mod lane;
mod refuse;
mod size;
mod state;
mod task;

pub use state::Queues;

#[cfg(test)]
mod tests;
