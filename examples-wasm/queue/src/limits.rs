//! Limits. A value over a limit is refused; the refusal names the field and the limit.

/// Longest name of a queue, name of a worker or deduplication key, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// Most tasks in all queues together, dead ones included. At the limit an enqueue is refused with `full`.
pub const MAX_TASKS: usize = 1 << 24;

/// Most queues. At the limit an enqueue into a new queue is refused with `full`.
pub const MAX_QUEUES: usize = 1 << 17;

/// Most queues in one reserve.
pub const MAX_QUEUES_A_RESERVE: usize = 64;

/// Most tasks that one reserve delivers.
pub const MAX_DELIVERED: u32 = 1000;

/// Longest reply to a reserve while memory is low, in bytes, unless its first task alone is longer. Building a reply takes
/// several times its size.
pub const LOW_MEMORY_REPLY_BYTES: u64 = 256 << 10;

/// Longest delay: 3,650 days.
pub const MAX_DELAY_MS: u64 = 3650 * 24 * 60 * 60 * 1000;

/// Longest lease: 30 days.
pub const MAX_LEASE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Default of `max_attempts`.
pub const DEFAULT_ATTEMPTS: u32 = 25;

/// Most errors kept for each task. The oldest is dropped first.
pub const MAX_ERRORS: usize = 10;

/// Longest error that is kept, in bytes. A longer one is cut.
pub const MAX_ERROR_BYTES: usize = 1024;

/// How long a deduplication key is kept after its task was acknowledged: one hour of replicated time.
pub const DEDUPE_WINDOW_MS: u64 = 60 * 60 * 1000;

/// Most deduplication keys of acknowledged tasks, in all queues together. The oldest is dropped first.
pub const MAX_SPENT_KEYS: usize = 1 << 20;

/// Most timers that one command or wake-up fires. This bounds its cost.
pub const MAX_SWEPT: usize = 4096;

/// Most attributes of a task.
pub const MAX_ATTRIBUTES: usize = 10;

/// Longest value of an attribute, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 4096;

/// Most tasks that one task waits for.
pub const MAX_AFTER: usize = 64;

/// Most tasks that wait for one task.
pub const MAX_DEPENDENTS: usize = 1000;

/// Largest weight of a fairness key.
pub const MAX_WEIGHT: u32 = 1000;

/// Most fairness keys of one queue. A task with another one is refused with `full`.
pub const MAX_KEYS: usize = 1 << 17;

/// Most commands in a batch.
pub const MAX_BATCH: usize = 1000;

/// Longest wait of a reserve or `wait_for`, in milliseconds.
pub const MAX_WAIT_MS: u64 = 60_000;

/// Most reserves that wait.
pub const MAX_WAITERS: usize = 1 << 16;

/// Most `wait_for` that wait for one task.
pub const MAX_WATCHERS_A_TASK: usize = 100;

/// Most `wait_for` that wait. With the reserves that wait, fewer than the SDK permits.
pub const MAX_WATCHERS: usize = 1 << 15;

/// Most workers that are remembered. The one that was not seen for the longest time is forgotten first.
pub const MAX_WORKERS: usize = 10_000;

/// Longest result, in bytes.
pub const MAX_RESULT_BYTES: usize = 64 << 10;

/// How long a result is kept, if nothing else is set: one hour.
pub const RESULT_TTL_MS: u64 = 60 * 60 * 1000;

/// Longest time that a result is kept: 7 days.
pub const MAX_RESULT_TTL_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Most bytes of results, in all queues together. The oldest are dropped first.
pub const MAX_RESULTS_BYTES: u64 = 64 << 20;

/// Most groups.
pub const MAX_GROUPS: usize = 1 << 16;

/// Most schedules.
pub const MAX_SCHEDULES: usize = 10_000;

/// Most ticks of a schedule that are listed.
pub const MAX_TICKS: usize = 1000;

/// Attribute of a schedule's task with the cron expression that clients expand into its ticks.
pub const CRON_ATTRIBUTE: &str = "oarlock-cron";

/// Shortest interval of a schedule, in milliseconds.
pub const MIN_EVERY_MS: u64 = 1000;

/// Most tasks that a policy adds when a task is done.
pub const MAX_FOLLOW_UPS: usize = 16;

/// Most tasks in a list.
pub const MAX_LISTED: u32 = 1000;

/// Most entries in a page of queues, workers, schedules or keys. This bounds the time of the query.
pub const MAX_PAGE: usize = 2000;

/// Most tasks that a list or `stuck` looks at.
pub const MAX_SCANNED: usize = 20_000;
