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
const LONG: Duration = Duration::from_millis(40);

/// Calls after a failure for which more of them are expected.
const ALERT_CALLS: u32 = 1_000;

/// Fuel that takes a microsecond, about: between 1,000 and 3,000 were seen.
const FUEL_PER_MICROSECOND: u64 = 2_000;

/// No freeze is worth it for less work than this.
const LEAST_WORK: Duration = Duration::from_micros(100);

/// How the guest comes back after a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// By an image of its memory and the few calls since.
    Images,
    /// By its last snapshot and the calls since.
    Replay {
        /// Why there is no image.
        because: String,
    },
}

impl Undo {
    /// As one word: `images` or `replay`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Replay { .. } => "replay",
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images => f.write_str("memory images"),
            Self::Replay { because } => write!(f, "replay ({because})"),
        }
    }
}

/// When the next freeze is due.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Work since the last one, in fuel.
    fuel: u64,
    last_took: Duration,
    alert: u32,
}

impl Pace {
    /// A call that took so much fuel succeeded. Says whether it is time.
    pub(crate) fn is_due_after(&mut self, fuel: u64) -> bool {
        self.fuel = self.fuel.saturating_add(fuel);
        self.alert = self.alert.saturating_sub(1);
        let often = self.alert > 0 || self.last_took > LONG;
        let worth = if often { ALERT } else { CALM };
        self.work() >= (self.last_took * worth).max(LEAST_WORK)
    }

    /// Whether the work since the last freeze is worth one more for somebody who waits for it.
    pub(crate) fn is_worth_it(&self) -> bool {
        self.work() >= self.last_took
    }

    /// Whether a guest that was just brought back is worth freezing: there is no more to copy than the replay has written,
    /// whatever the last freeze took.
    pub(crate) fn is_behind(&self) -> bool {
        self.work() >= LEAST_WORK
    }

    fn work(&self) -> Duration {
        Duration::from_nanos(self.fuel.saturating_mul(1_000) / FUEL_PER_MICROSECOND)
    }

    pub(crate) fn frozen(&mut self, took: Duration) {
        self.fuel = 0;
        self.last_took = took;
    }

    pub(crate) fn failed(&mut self) {
        self.alert = ALERT_CALLS;
    }
}

#[cfg(test)]
mod tests;
