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
//! Acknowledging removes it: from then on it is a number in `completed`, and the query `task` answers `null`.
//!
//! - **Order.** A smaller `priority` goes first, then the older task. A task that comes back, by `nack` or
//!   because a lease ran out, keeps its age. A reserve of several queues takes from all of them in this order.
//! - **Time** is that of the log and nothing else. Nothing happens early. What falls due together happens in
//!   the order of (time, id), at the next `reserve` of the queue or when the host wakes the guest, whichever
//!   comes first; at most [`limits::MAX_SWEPT`] tasks at a time, the rest right after.
//! - **Attempts** are counted on delivery. A task that fails in its last attempt, by `nack` or because the
//!   lease runs out, is dead. It is kept, with its errors, and never dropped in silence.
//! - **A token** belongs to one delivery. It works until the task is acknowledged, given back or delivered
//!   again, and so also after the lease ran out: whoever is late but was not replaced has done the work. A stale
//!   token is refused and changes nothing.
//! - **`nack`** without a delay makes the task due at once; it counts as delayed until the next reserve or
//!   waking looks.
//! - **`dedupe_key`** is per queue. While its task is there, dead ones included, and for
//!   [`limits::DEDUPE_WINDOW_MS`] after it was acknowledged, another enqueue with the key answers with the id
//!   of the first task and `"duplicate":true`. Keys of acknowledged tasks are bounded in number too; the
//!   oldest are forgotten first.
//! - **Errors.** The last [`limits::MAX_ERRORS`] are kept, each cut to [`limits::MAX_ERROR_BYTES`] bytes.
//! - **A queue** is made by its first task.
//!
//! `wait_ms` is reserved: it is read and checked, and a reserve answers at once whatever it says.
//!
//! Every limit is in [`limits`]; what is over one is refused with its name.

pub mod limits;
pub mod messages;

mod dedupe;
mod delivery;
mod lane;
mod refuse;
mod state;
mod task;

pub use state::Queues;

#[cfg(test)]
mod tests;
