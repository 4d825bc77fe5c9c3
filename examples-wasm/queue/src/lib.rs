//! A durable task queue: named queues with priorities, delays, leases, retries, dead sets, deduplication, fair shares, order by
//! key, limits, groups, schedules and results. Workers wait for tasks; nothing polls.
//!
//! ```text
//! {"enqueue":{"queue":"email","payload":{"to":"a"},"priority":0,"delay_ms":0,"max_attempts":25,"dedupe_key":"k"}}
//!                                          →  {"id":1,"duplicate":false}
//! {"reserve":{"queues":["email"],"worker":"w1","lease_ms":30000,"max":1,"wait_ms":20000}}
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
//! All commands and their fields are in [`messages`].
//!
//! # The life of a task
//!
//! A task is **ready**, or **delayed** until a time, or **waiting** for another task, or **leased** to a worker until a time, or
//! **dead**. `ack` removes it: from then on it only counts in `completed`, and the query `task` returns `null`, or its result if
//! the acknowledgement had one.
//!
//! - **Order.** A smaller `priority` is delivered first. Within a priority the fairness keys take turns, and tasks without one
//!   are a key of their own; within a key the older task comes first. After a `nack` or an expired lease a task keeps its age. A
//!   reserve of several queues takes the first of their next tasks by priority, then by age.
//! - **Time** is the replicated time of the log. Nothing happens early. Timers that are due fire in the order of
//!   (time, id), at the next `reserve` of the queue or at the next wake-up of the guest. One command or wake-up fires at
//!   most [`limits::MAX_SWEPT`] timers; another wake-up follows for the rest.
//! - **Waiting workers.** A reserve with `wait_ms` that finds no task waits. All that make a task ready serve the workers that
//!   wait for its queue, in the order of their arrival. A wait ends with an empty list.
//! - **Attempts** are counted on delivery. If the last attempt fails, by `nack` or by an expired lease, the task is dead.
//!   Dead tasks are kept, with their errors, until `redrive` returns them or `purge` removes them; or they move to the
//!   dead-letter queue. `release` returns a task whose attempt does not count.
//! - **Retries.** `nack` with a delay has that delay. Otherwise it is that of the task's or the queue's retry policy, and none
//!   without a policy. The policy also applies to an expired lease. A `nack` without a delay makes the task ready immediately,
//!   and its reply is `delayed` as well.
//! - **A token** identifies one delivery. It is valid until the task is acknowledged, returned or delivered
//!   again. It stays valid after the lease expired: a late worker may still acknowledge if no other worker got the task. A
//!   stale token is refused and changes nothing.
//! - **Cancel** removes a task that no worker holds. Otherwise its worker learns it from its next `extend`; when the attempt
//!   fails or its lease ends, the task is removed.
//! - **Fairness keys** are served in turns of `weight` deliveries. Limits of concurrency and rate hold for a queue, and for each
//!   of its fairness keys. A key at a limit never blocks the tasks of others behind it.
//! - **Ordering keys.** Of the tasks with one ordering key only the first is delivered, until it is done, dead or removed. A
//!   retry, a delay and an expired lease keep the order.
//! - **`dedupe_key`** is per queue. Another enqueue with the same key returns the id of the first task and
//!   `"duplicate":true`. This holds while the first task exists (dead tasks included), and for
//!   [`limits::DEDUPE_WINDOW_MS`] after it was acknowledged; or, with `dedupe_window_ms`, for that time from the enqueue. With
//!   `"dedupe_keep":"last"` the later task replaces the content of the first while that one waits, and with `"debounce"` its
//!   delay starts again. The number of keys of acknowledged tasks is bounded; the oldest are dropped first.
//! - **Groups.** When a group is closed and its tasks are done or removed, its last task is added. When the first of its tasks is
//!   dead, another one is. A task `after` others waits until they are done. If one of them is removed, it is dead.
//! - **Schedules** add a task at each tick, exactly once. Ticks that passed while the cluster was down add one task each, one
//!   for all of them, or none.
//! - **Replies.** A reserve delivers as many tasks as fit into one reply; more with the next one. An enqueue is refused if no
//!   reply could deliver its payload. If the limit of replies is lowered later, a reserve makes such tasks dead.
//! - **Low memory.** While memory is low, an enqueue is refused with `full`. All other commands work.
//! - **Bounded commands.** `purge`, `redrive` and `delete_queue` change at most [`limits::MAX_SWEPT`] tasks. The reply tells
//!   whether there are more.
//! - **Pages.** `stats`, `list` and the other lists return as much as fits into one response, and a bounded number of entries. `"next"` is then the place to
//!   continue after: `{"stats":{"after":"…"}}`.
//! - **Errors.** The last [`limits::MAX_ERRORS`] are kept, each cut to [`limits::MAX_ERROR_BYTES`] bytes.
//! - **A queue** is created by its first task, or by `configure`.
//!
//! # Who may use a queue
//!
//! On a cluster with certificates, a token may be limited to queues: `oarlock token create NAME --roles writer --queues a,b`. A
//! command or a query for another queue is refused with `forbidden`, and lists show the queues of the token only. Groups and
//! the list of workers belong to no queue, so these tokens can't use them.
//!
//! # Your rules inside the queue
//!
//! [`Queues`] is a library, too: a [`policy::Policy`] decides what happens when a task is added, fails, and is done.
//! [`policy_guest!`] makes it a module, and `oarlock new --queue NAME` creates a project with one.
//!
//! All limits are in [`limits`]. A value over a limit is refused; the refusal names the field.

pub mod limits;
pub mod messages;
pub mod policy;
mod policy_guest;

mod access;
mod admin;
mod batch;
mod bucket;
mod config;
mod dedupe;
mod deliver;
mod draft;
mod engine;
mod enqueue;
mod finish;
mod groups;
#[cfg(feature = "built-in")]
mod guest;
mod ids;
mod keys;
mod migrate;
mod payload;
mod queue;
mod ready;
mod refuse;
mod related;
mod results;
mod retry;
mod schedules;
mod size;
mod state;
mod stuck;
mod sweep;
mod task;
mod tasks;
mod views;
mod waiters;
mod workers;

pub use bucket::Rate;
pub use config::Config;
pub use policy_guest::SCHEMA;
pub use retry::{Backoff, Retry};
pub use state::Queues;

#[cfg(test)]
mod tests;
