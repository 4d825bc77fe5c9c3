//! How long a node waits before it retries.

use std::time::Duration;

/// Pause after a proposal or a request of a background task was rejected or timed out. Short compared with an election
/// timeout, so that a task continues soon after a new leader is elected.
pub const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A pause that doubles with each failure, up to a maximum.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    current: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            current: first,
        }
    }

    /// The next pause.
    pub fn current(&self) -> Duration {
        self.current
    }

    /// Returns the next pause, and doubles the one after it.
    pub fn advance(&mut self) -> Duration {
        let pause = self.current;
        self.current = self.longest.min(pause * 2);
        pause
    }

    /// Begins with the first pause again.
    pub fn reset(&mut self) {
        self.current = self.first;
    }
}
