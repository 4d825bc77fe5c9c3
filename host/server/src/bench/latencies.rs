//! How long things took, as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::exit::Failure;

/// Longest time that is told apart from longer ones, in microseconds: the longest timeout that a request may have.
pub(super) const MAX_US: u64 = 600_000_000;

/// Digits that a time keeps: one part in a thousand.
const DIGITS: u8 = 3;

/// Times, in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    /// None that can happen: the bounds are constants.
    pub(super) fn new() -> Result<Self, Failure> {
        // The bounds matter: without them, recording a long time would need to grow the histogram, and can fail.
        Ok(Self(
            Histogram::new_with_bounds(1, MAX_US, DIGITS).map_err(Failure::failed)?,
        ))
    }

    /// Counts one. A time that is out of bounds counts as the nearest one within.
    pub(super) fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us.clamp(1, MAX_US));
    }

    /// How many were counted.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// That part of them took no longer; 0 where there are none.
    pub(super) fn quantile_us(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The longest; 0 where there are none.
    pub(super) fn max_us(&self) -> u64 {
        self.0.max()
    }

    /// The mean; 0 where there are none.
    pub(super) fn mean_us(&self) -> f64 {
        self.0.mean()
    }
}

#[cfg(test)]
mod tests;
