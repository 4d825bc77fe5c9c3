//! Wall clocks that are wrong: which nodes have one in a run, and what it shows.

use std::time::Duration;

use super::rng::Rng;

/// The bound of the time of the log that the nodes are given.
pub(crate) const MAX_SKEW: Duration = Duration::from_millis(500);
/// Clocks that are right differ by up to so many milliseconds.
const RIGHT_MS: u64 = 100;
/// By how much a clock is wrong, in milliseconds.
const WRONG_MS: [i64; 8] = [
    700,
    -700,
    60_000,
    3_600_000,
    -3_600_000,
    86_400_000,
    31_536_000_000,
    -31_536_000_000,
];

/// The wall clocks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockKind {
    /// The nodes have no bound: the time of the log is the leader's clock.
    Unbounded,
    /// Any clock may be wrong.
    Any,
    /// The clocks of a majority are right.
    MajorityRight,
}

impl ClockKind {
    /// Draws from a generator of its own, so that the rest of a seed's profile does not depend on it.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x00c1_0c45);
        rng.pick(&[
            Self::Unbounded,
            Self::Any,
            Self::MajorityRight,
            Self::MajorityRight,
        ])
    }

    /// The bound that the nodes have.
    pub(crate) fn max_skew(self) -> Option<Duration> {
        (self != Self::Unbounded).then_some(MAX_SKEW)
    }
}

/// How many of the initial members may have a wrong clock: the last ones.
pub(crate) fn wrong_max(founders: usize) -> usize {
    founders.saturating_sub(1) / 2
}

/// What a right clock is off by.
pub(crate) fn right(drawn: u64) -> u64 {
    drawn % RIGHT_MS
}

/// What a wrong clock is off by; `only_back`: it may be only late.
pub(crate) fn wrong(rng: &mut Rng, only_back: bool) -> i64 {
    let jump = rng.pick(&WRONG_MS);
    if only_back { -jump.abs() } else { jump }
}
