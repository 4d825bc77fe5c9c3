//! Retries: which node is next, and after which pause.

use std::time::Duration;

/// The first pause, after every endpoint was tried once.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest pause.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The shortest time for an attempt, if others may follow.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// With less time left, no further attempt begins: it would time out and hide the error of the last one.
pub(crate) const LEAST_ATTEMPT: Duration = Duration::from_millis(50);

/// Whether a request may be sent again after a node may have accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Yes: the request is idempotent.
    Safe,
    /// No: only if no node accepted it.
    OnlyUnsent,
}

/// The order of the endpoints and the pauses between rounds, for one request. A round tries each endpoint once.
#[derive(Debug)]
pub(crate) struct Rounds {
    first: usize,
    endpoints: usize,
    attempts: usize,
}

impl Rounds {
    /// Begins with the endpoint at position `first`. `endpoints`: their number, at least 1.
    pub(crate) fn new(first: usize, endpoints: usize) -> Self {
        let endpoints = endpoints.max(1);
        Self {
            first: first % endpoints,
            endpoints,
            attempts: 0,
        }
    }

    /// Position of the endpoint for the next attempt.
    pub(crate) fn position(&self) -> usize {
        (self.first + self.attempts) % self.endpoints
    }

    /// Moves to the next endpoint and returns the pause before its attempt. There is no pause within a round. Between
    /// rounds the pause doubles from 20 ms to 500 ms, with jitter so that clients do not retry all at once.
    pub(crate) fn advance(&mut self, jitter: u64) -> Duration {
        self.attempts = self.attempts.wrapping_add(1);
        if !self.attempts.is_multiple_of(self.endpoints) {
            return Duration::ZERO;
        }
        let round = (self.attempts / self.endpoints).clamp(1, 16) as u32 - 1;
        let full = FIRST_WAIT.saturating_mul(1 << round).min(LONGEST_WAIT);
        let half = full / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_micros(jitter % spread)
    }

    /// Passes over the current endpoint.
    pub(crate) fn skip(&mut self) {
        self.attempts = self.attempts.wrapping_add(1);
    }

    /// Whether an attempt has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.attempts > 0
    }

    /// Whether every endpoint was tried at least once.
    pub(crate) fn all_were_tried(&self) -> bool {
        self.attempts >= self.endpoints
    }
}

/// Timeout of one attempt. A node that hangs must leave time for another node, if there is one and the request may be
/// sent again.
pub(crate) fn share(remaining: Duration, endpoints: usize, replay: Replay) -> Duration {
    if replay == Replay::OnlyUnsent || endpoints < 2 {
        return remaining;
    }
    (remaining / 2).max(LEAST_SHARE).min(remaining)
}

/// The timeout that is sent to the node: a little shorter, so that its response arrives before the client times out.
pub(crate) fn node_timeout(share: Duration) -> Duration {
    share - (share / 10).min(Duration::from_millis(200))
}

/// 64 random bits of the operating system.
pub(crate) fn random_bits() -> u64 {
    getrandom::u64()
        .unwrap_or_else(|error| panic!("the operating system has no randomness: {error}"))
}

#[cfg(test)]
mod tests;
