//! When and where a request is sent again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait, after every endpoint was tried once.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The least time that is given to an attempt when others may follow it.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// With less time than this no further attempt is begun: it would end in silence, and so hide what the last one said.
pub(crate) const LEAST_ATTEMPT: Duration = Duration::from_millis(50);

/// What may be sent again after a node may have taken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Anything: carrying it out twice is the same as once.
    Safe,
    /// Nothing: only what no node took is sent again.
    OnlyUnsent,
}

/// The order of endpoints and the waits between rounds, for one request.
#[derive(Debug)]
pub(crate) struct Rounds {
    first: usize,
    endpoints: usize,
    attempts: usize,
}

impl Rounds {
    /// Begins with the endpoint at `first` of `endpoints` (at least 1).
    pub(crate) fn new(first: usize, endpoints: usize) -> Self {
        let endpoints = endpoints.max(1);
        Self {
            first: first % endpoints,
            endpoints,
            attempts: 0,
        }
    }

    /// Position of the endpoint to ask now.
    pub(crate) fn position(&self) -> usize {
        (self.first + self.attempts) % self.endpoints
    }

    /// Goes on to the next endpoint; says how long to wait before. Each round of endpoints goes without waits, then
    /// the waits double, with jitter so that many clients don't come back at one moment.
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

    /// Whether every endpoint has had its turn once.
    pub(crate) fn all_were_asked(&self) -> bool {
        self.attempts >= self.endpoints
    }
}

/// How much of what remains one attempt may take. A node that hangs must leave time for another one, but only where
/// there is another one and asking it is harmless.
pub(crate) fn share(remaining: Duration, endpoints: usize, replay: Replay) -> Duration {
    if replay == Replay::OnlyUnsent || endpoints < 2 {
        return remaining;
    }
    (remaining / 2).max(LEAST_SHARE).min(remaining)
}

/// How long a node is told to wait, so that its answer is here before this client gives up.
pub(crate) fn node_timeout(share: Duration) -> Duration {
    share - (share / 10).min(Duration::from_millis(200))
}

/// 64 bits that nobody can guess: the operating system seeds each `RandomState`, and the number makes them differ.
pub(crate) fn random_bits(number: u64) -> u64 {
    RandomState::new().hash_one(number)
}

#[cfg(test)]
mod tests;
