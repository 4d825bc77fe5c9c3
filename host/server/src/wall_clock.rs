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

/// A clock that is wrong by a number of milliseconds. A clone is the same clock.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct SettableClock(std::sync::Arc<std::sync::atomic::AtomicI64>);

#[cfg(test)]
impl SettableClock {
    /// Sets by how much it is wrong.
    pub(crate) fn set_offset_ms(&self, offset_ms: i64) {
        self.0
            .store(offset_ms, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        let offset_ms = self.0.load(std::sync::atomic::Ordering::Relaxed);
        now_ms().saturating_add_signed(offset_ms)
    }
}
