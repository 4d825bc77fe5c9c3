//! Memory images: the short way back after a call that failed, for guests whose state is in their memory alone.
//!
//! [`fit`] decides which guests those are, [`map`] is the memory that can be frozen. When it is frozen is decided here:
//! a freeze costs what was written since the last one, and what comes after it has to be replayed after a failure. So
//! the next one is due once the work since then is worth [`CALM`] times what the last one took, or [`ALERT`] times for a
//! while after a failure, for where one was, more may follow. One that was long is followed by the next one earlier too. How long a freeze takes differs by node, and so does when
//! it happens; what a call gives does not, for an image and a replay lead to the same state.

use std::fmt;
use std::time::Duration;

pub(crate) mod fit;
#[cfg(target_os = "linux")]
pub(crate) mod map;
#[cfg(not(target_os = "linux"))]
#[path = "images/no_map.rs"]
pub(crate) mod map;
pub(crate) mod stopwatch;

/// Work that is worth as much as a freeze, in times of it. At 16 freezes take a seventeenth of all time.
const CALM: u32 = 16;
const ALERT: u32 = 1;

/// A freeze that takes longer holds apply up. The next one comes earlier then, and finds less to copy.
const LONG: Duration = Duration::from_millis(25);

/// A memory that has grown by so many bytes is frozen whatever the work was: all of them may have been written.
const GROWN_BYTES: u64 = 16 << 20;

/// Calls after a failure for which more of them are expected.
const ALERT_CALLS: u32 = 1_000;

/// No freeze is worth it for less work than this.
const LEAST_WORK: Duration = Duration::from_micros(100);

/// How the guest comes back after a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackMethod {
    /// By an image of its memory and the few calls since.
    Images,
    /// By its last snapshot and the calls since.
    Replay {
        /// Why there is no image.
        because: String,
    },
}

impl RollbackMethod {
    /// As one word: `images` or `replay`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Replay { .. } => "replay",
        }
    }
}

impl fmt::Display for RollbackMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images => f.write_str("memory images"),
            Self::Replay { because } => write!(f, "replay ({because})"),
        }
    }
}

/// When the next freeze is due.
#[derive(Debug, Default)]
pub(crate) struct FreezeSchedule {
    /// What the calls since the last one took.
    work: Duration,
    last_took: Duration,
    /// Length of the memory then.
    bytes: u64,
    alert: u32,
}

impl FreezeSchedule {
    /// A call that took so long succeeded, and the memory now has so many bytes. Says whether it is time.
    pub(crate) fn is_due_after(&mut self, took: Duration, bytes: u64) -> bool {
        self.work += took;
        self.alert = self.alert.saturating_sub(1);
        let often = self.alert > 0 || self.last_took > LONG;
        let worth = if often { ALERT } else { CALM };
        self.work >= (self.last_took * worth).max(LEAST_WORK)
            || bytes.saturating_sub(self.bytes) >= GROWN_BYTES
    }

    /// Whether the work since the last freeze is worth one more for somebody who waits for it.
    pub(crate) fn is_worth_it(&self) -> bool {
        self.work >= self.last_took
    }

    /// Whether a guest that was just brought back is worth freezing: there is no more to copy than the replay has written,
    /// whatever the last freeze took.
    pub(crate) fn is_behind(&self) -> bool {
        self.work >= LEAST_WORK
    }

    pub(crate) fn frozen(&mut self, took: Duration, bytes: u64) {
        self.work = Duration::ZERO;
        self.last_took = took;
        self.bytes = bytes;
    }

    pub(crate) fn failed(&mut self) {
        self.alert = ALERT_CALLS;
    }
}

#[cfg(test)]
mod tests;
