//! Times as percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time that differs from longer ones, in microseconds: the longest timeout of a request.
const MAX_US: u64 = 600_000_000;

/// Digits of a time: it is exact to one part in a thousand.
const DIGITS: u8 = 3;

/// Times, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // Without bounds, a long time would make the histogram grow, and that can fail.
        match Histogram::new_with_bounds(1, MAX_US, DIGITS) {
            Ok(empty) => Self(empty),
            Err(_) => unreachable!("the bounds are constants that the histogram accepts"),
        }
    }
}

impl Latencies {
    /// Counts one. A time out of bounds counts as the nearest one within them.
    pub fn record(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us.clamp(1, MAX_US));
    }

    /// Adds all times of another one.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing is out of bounds.
        let _ = self.0.add(&other.0);
    }

    /// How many times it has.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this part of them did not exceed, from 0 to 1; 0 where there are none.
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The longest; 0 where there are none.
    pub fn max_us(&self) -> u64 {
        self.0.max()
    }

    /// The mean; 0 where there are none.
    pub fn mean_us(&self) -> f64 {
        self.0.mean()
    }
}

#[cfg(test)]
mod tests;
