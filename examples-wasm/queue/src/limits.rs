//! How large things may be. What is over a limit is refused with the limit's name and figure.

/// Longest name of a queue, name of a worker or deduplication key, in bytes.
pub const MAX_NAME_BYTES: usize = 200;

/// Most tasks in all queues together, dead ones included.
pub const MAX_TASKS: usize = 1 << 24;

/// Most queues.
pub const MAX_QUEUES: usize = 1 << 17;

/// Most queues in one reserve.
pub const MAX_QUEUES_A_RESERVE: usize = 64;

/// Most tasks that one reserve delivers.
pub const MAX_DELIVERED: u32 = 1000;

/// Longest delay: 3,650 days.
pub const MAX_DELAY_MS: u64 = 3650 * 24 * 60 * 60 * 1000;

/// Longest lease: 30 days.
pub const MAX_LEASE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Attempts of a task that does not say.
pub const DEFAULT_ATTEMPTS: u32 = 25;

/// Errors that a task remembers; the oldest is forgotten first.
pub const MAX_ERRORS: usize = 10;

/// Longest error that is kept, in bytes; what is longer is cut.
pub const MAX_ERROR_BYTES: usize = 1024;

/// How long a deduplication key outlives the acknowledgement of its task: an hour.
pub const DEDUPE_WINDOW_MS: u64 = 60 * 60 * 1000;

/// Most deduplication keys of acknowledged tasks in all queues together; the oldest is forgotten first.
pub const MAX_SPENT_KEYS: usize = 1 << 20;

/// Most tasks whose time has come that one command or waking looks after, so that its cost has a bound.
pub const MAX_SWEPT: usize = 4096;
