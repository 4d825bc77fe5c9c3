//! Durations on this node, for metrics and for the schedule of freezes. No replicated result depends on them.

use std::time::{Duration, Instant};

/// Measures the time since it was started.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
