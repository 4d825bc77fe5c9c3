//! What guests say, on its way to the node's log: bounded in length and rate, and not replicated.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lines in a burst, and lines a second after it.
const BURST_LINES: f64 = 100.0;
const LINES_PER_SECOND: f64 = 50.0;

/// How much of a line is kept, in bytes.
pub(crate) const LINE_BYTES: usize = 2048;

/// How bad it is. The WIT's `level`.
pub(crate) use crate::bindings::oarlock::state_machine::host::Level;

/// The log of one machine, over all instances of its guest.
///
/// It looks at this node's clock. It may: no guest and no client ever sees what it does with a line.
#[derive(Debug)]
pub(crate) struct GuestLog {
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    lines: f64,
    filled: Instant,
    dropped: u64,
}

impl GuestLog {
    pub(crate) fn new() -> Self {
        Self {
            bucket: Mutex::new(Bucket {
                lines: BURST_LINES,
                filled: Instant::now(),
                dropped: 0,
            }),
        }
    }

    pub(crate) fn write(&self, level: Level, message: &str) {
        let Some(dropped) = self.admit(Instant::now()) else {
            return;
        };
        if dropped > 0 {
            tracing::warn!(target: "guest", dropped, "guest logs too much, lines were dropped");
        }
        match level {
            Level::Trace => tracing::trace!(target: "guest", "{message}"),
            Level::Debug => tracing::debug!(target: "guest", "{message}"),
            Level::Info => tracing::info!(target: "guest", "{message}"),
            Level::Warn => tracing::warn!(target: "guest", "{message}"),
            Level::Error => tracing::error!(target: "guest", "{message}"),
        }
    }

    /// How many lines were dropped before this one, or `None` if this one is to be dropped too.
    fn admit(&self, now: Instant) -> Option<u64> {
        // A thread that panicked here left plain numbers, which are as good as before.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.lines = (bucket.lines + passed * LINES_PER_SECOND).min(BURST_LINES);
        bucket.filled = now;
        if bucket.lines < 1.0 {
            bucket.dropped += 1;
            return None;
        }
        bucket.lines -= 1.0;
        Some(std::mem::take(&mut bucket.dropped))
    }
}

/// The start of a message, cut between two characters.
pub(crate) fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(LINE_BYTES)]
}

#[cfg(test)]
mod tests;
