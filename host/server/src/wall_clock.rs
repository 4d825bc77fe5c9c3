//! The clock of this machine, for records that are not replicated. Replicated entries have the time of the log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time in milliseconds since 1970; 0 if the clock is set before 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    millis(since.unwrap_or_default())
}

/// A duration in milliseconds, rounded down; `u64::MAX` if it is larger.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
