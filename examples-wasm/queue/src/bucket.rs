//! A rate limit: so many tasks in a time, with a burst.

use oarlock_guest::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_DELAY_MS;
use crate::refuse::check_range;

const NANOS_A_MS: u64 = 1_000_000;

/// At most `tasks` deliveries in `per_ms` milliseconds on average, and at most `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Number of deliveries, at least 1.
    pub tasks: u32,
    /// In this time, in milliseconds, at least 1.
    pub per_ms: u64,
    /// Deliveries at once after a pause; `tasks` if it is 0.
    #[serde(default)]
    pub burst: u32,
}

impl Rate {
    pub(crate) fn check(&self, field: &str) -> Result<(), Refusal> {
        check_range(&format!("{field}.tasks"), self.tasks.into(), 1, 1_000_000)?;
        check_range(&format!("{field}.burst"), self.burst.into(), 0, 1_000_000)?;
        check_range(
            &format!("{field}.per_ms"),
            self.per_ms,
            1,
            MAX_DELAY_MS / 1000,
        )
    }

    /// Time between two deliveries, in nanoseconds. Rounded up, so that the limit holds.
    fn interval_ns(self) -> u64 {
        (self.per_ms * NANOS_A_MS).div_ceil(u64::from(self.tasks))
    }

    fn burst_ns(self) -> u64 {
        let burst = if self.burst == 0 {
            self.tasks
        } else {
            self.burst
        };
        self.interval_ns().saturating_mul(u64::from(burst) - 1)
    }
}

/// State of a rate limit: the generic cell rate algorithm (ITU-T I.371, 2004, Annex A.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// The theoretical arrival time: when the bucket is full again, in nanoseconds since 1970-01-01 UTC.
    full_at_ns: u64,
}

impl Bucket {
    /// When the next delivery is allowed, in milliseconds. `None` if it is allowed now. Time has steps of a millisecond, so a
    /// delivery is allowed in the millisecond in which it is due; what it is early counts for the next one.
    pub(crate) fn blocked_until(self, rate: Rate, now_ms: u64) -> Option<u64> {
        let allowed_ms = self.full_at_ns.saturating_sub(rate.burst_ns()) / NANOS_A_MS;
        (allowed_ms > now_ms).then_some(allowed_ms)
    }

    /// Adapts to a limit that has changed: it holds back at most as long as after a full burst at the new rate.
    pub(crate) fn change(&mut self, rate: Option<Rate>, now_ms: u64) {
        let most_ns = rate.map_or(0, |rate| rate.burst_ns().saturating_add(rate.interval_ns()));
        let limit_ns = (now_ms * NANOS_A_MS).saturating_add(most_ns);
        self.full_at_ns = self.full_at_ns.min(limit_ns);
    }

    /// Counts a delivery.
    pub(crate) fn take(&mut self, rate: Rate, now_ms: u64) {
        let from_ns = self.full_at_ns.max(now_ms * NANOS_A_MS);
        self.full_at_ns = from_ns.saturating_add(rate.interval_ns());
    }

    /// When the bucket is full, in milliseconds: it then equals one that was never used.
    pub(crate) fn full_at_ms(self) -> u64 {
        self.full_at_ns.div_ceil(NANOS_A_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval() {
        let rate = Rate {
            tasks: 10,
            per_ms: 1000,
            burst: 3,
        };
        let (mut bucket, start) = (Bucket::default(), 1_000_000);
        let mut passed = Vec::new();
        for now_ms in start..start + 1000 {
            while bucket.blocked_until(rate, now_ms).is_none() {
                bucket.take(rate, now_ms);
                passed.push(now_ms - start);
            }
        }
        assert_eq!(
            passed,
            [0, 0, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900]
        );
    }

    #[test]
    fn a_faster_rate_does_not_wait_for_the_slower_one() {
        let slow = Rate {
            tasks: 1,
            per_ms: 600_000,
            burst: 2,
        };
        let quick = Rate {
            tasks: 1,
            per_ms: 100,
            burst: 1,
        };
        let (mut bucket, start) = (Bucket::default(), 1_000_000);
        bucket.take(slow, start);
        bucket.take(slow, start);
        let mut unchanged = bucket;
        unchanged.change(Some(slow), start);
        assert_eq!(unchanged, bucket);
        bucket.change(Some(quick), start);
        assert_eq!(bucket.blocked_until(quick, start), Some(start + 100));
        bucket.change(None, start);
        assert_eq!(bucket.full_at_ms(), start);
    }

    #[test]
    fn a_rate_that_does_not_divide_never_passes_more() {
        let rate = Rate {
            tasks: 7,
            per_ms: 10,
            burst: 1,
        };
        let mut bucket = Bucket::default();
        let mut passed = 0;
        for now_ms in 0..1000 {
            while bucket.blocked_until(rate, now_ms).is_none() {
                bucket.take(rate, now_ms);
                passed += 1;
            }
        }
        assert!((690..=701).contains(&passed), "{passed}");
    }
}
