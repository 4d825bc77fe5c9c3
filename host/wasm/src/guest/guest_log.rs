//! Log lines of guests, written to the node's log: limited in length and rate, and not replicated.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Size of a burst in lines, and the rate at which it refills.
const BURST_LINES: f64 = 100.0;
const LINES_PER_SECOND: f64 = 50.0;

/// Largest part of a line that is kept, in bytes.
pub(crate) const LINE_BYTES: usize = 2048;

/// The WIT's `level`.
pub(crate) use crate::guest::bindings::oarlock::state_machine::host::Level;

/// The log of one machine, shared by all instances of its guest.
///
/// It reads this node's clock. That is safe for determinism: neither a guest nor a client can observe the result.
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
            tracing::warn!(target: "guest", dropped, "the guest logs too much; lines were dropped");
        }
        let message = printable(message);
        match level {
            Level::Trace => tracing::trace!(target: "guest", "{message}"),
            Level::Debug => tracing::debug!(target: "guest", "{message}"),
            Level::Info => tracing::info!(target: "guest", "{message}"),
            Level::Warn => tracing::warn!(target: "guest", "{message}"),
            Level::Error => tracing::error!(target: "guest", "{message}"),
        }
    }

    /// Number of lines dropped before this one; `None`: drop this one too.
    fn admit(&self, now: Instant) -> Option<u64> {
        // A panic under this lock leaves plain numbers, which are valid.
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

/// Whether a character could end a line, move the cursor of a terminal or change the direction of text: control characters
/// (which include line breaks), and the separators and marks of Unicode that do this without being control characters.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The message in one line, with unprintable characters escaped, as in `\n`. Otherwise a guest could write lines that look
/// like those of the node.
fn printable(message: &str) -> Cow<'_, str> {
    if !message.contains(is_unprintable) {
        return message.into();
    }
    let mut line = String::with_capacity(message.len() + 16);
    for c in message.chars() {
        if is_unprintable(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.into()
}

/// Cuts a message to [`LINE_BYTES`], at a character boundary.
pub(crate) fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(LINE_BYTES)]
}

#[cfg(test)]
mod tests;
