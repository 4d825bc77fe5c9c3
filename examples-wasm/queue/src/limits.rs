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
