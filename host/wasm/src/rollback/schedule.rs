//! When a guest's memory is frozen.
//!
//! A freeze costs what was written since the last one. The calls after it have to be replayed after a failure. So the
//! next freeze is due once the calls since then took [`CALM`] times as long as the last freeze, or [`ALERT`] times for
//! a while after a failure, because failures often come in groups. A long freeze is also followed by an earlier one.
//! The schedule differs between nodes; outcomes do not depend on it, because an image and a replay lead to the same
//! state.

use std::time::Duration;

/// Time of calls that is worth a freeze, in multiples of the last freeze. With 16, freezes take a seventeenth of all
/// time.
const CALM: u32 = 16;
const ALERT: u32 = 1;

/// A freeze that takes longer delays apply noticeably. The next one comes earlier and copies less.
const LONG: Duration = Duration::from_millis(25);

/// A memory that has grown by this many bytes is frozen at once, because all of them may have been written.
const GROWN_BYTES: u64 = 16 << 20;

/// Number of calls after a failure for which [`ALERT`] applies.
const ALERT_CALLS: u32 = 1_000;

/// Smallest time of calls that is worth a freeze.
const MIN_WORK: Duration = Duration::from_micros(100);

/// Decides when the next freeze is due.
#[derive(Debug, Default)]
pub(super) struct FreezeSchedule {
    /// Time of the calls since the last freeze.
    work: Duration,
    last_took: Duration,
    /// Size of the memory at the last freeze.
    bytes: u64,
    /// Calls for which [`ALERT`] still applies.
    alert: u32,
}

impl FreezeSchedule {
    /// Records a successful call and the size of the memory after it. Returns whether a freeze is due.
    pub(super) fn is_due_after(&mut self, took: Duration, bytes: u64) -> bool {
        self.work += took;
        self.alert = self.alert.saturating_sub(1);
        let often = self.alert > 0 || self.last_took > LONG;
        let factor = if often { ALERT } else { CALM };
        self.work >= (self.last_took * factor).max(MIN_WORK)
            || bytes.saturating_sub(self.bytes) >= GROWN_BYTES
    }

    /// Whether the calls since the last freeze are worth another one for queries that wait for it.
    pub(super) fn is_worth_it(&self) -> bool {
        self.work >= self.last_took
    }

    /// Whether a guest that was just rolled back is worth freezing. The replay is all that has to be copied, however
    /// long the last freeze took.
    pub(super) fn is_behind(&self) -> bool {
        self.work >= MIN_WORK
    }

    /// Records a freeze.
    pub(super) fn frozen(&mut self, took: Duration, bytes: u64) {
        self.work = Duration::ZERO;
        self.last_took = took;
        self.bytes = bytes;
    }

    /// Records a failed call.
    pub(super) fn failed(&mut self) {
        self.alert = ALERT_CALLS;
    }
}

#[cfg(test)]
mod tests;
