//! When a task that failed is tried again.

use oarlock_guest::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_DELAY_MS;
use crate::refuse::{check_range, out_of_range};

/// How the delay grows with the attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// `base_ms` each time.
    Fixed,
    /// `base_ms`, twice, three times `base_ms`.
    Linear,
    /// `base_ms`, twice, four times `base_ms`.
    Exponential,
}

/// Delay before the next attempt, of a queue or of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How the delay grows.
    pub backoff: Backoff,
    /// Delay after the first attempt, in milliseconds.
    pub base_ms: u64,
    /// Longest delay, in milliseconds; 0 for the longest delay of the queue.
    #[serde(default)]
    pub max_ms: u64,
    /// Part of the delay that varies, in percent: with 20 a delay of 1,000 ms becomes 800 to 1,200 ms.
    #[serde(default)]
    pub jitter_percent: u8,
}

impl Retry {
    pub(crate) fn check(&self, field: &str) -> Result<(), Refusal> {
        check_range(&format!("{field}.base_ms"), self.base_ms, 0, MAX_DELAY_MS)?;
        check_range(&format!("{field}.max_ms"), self.max_ms, 0, MAX_DELAY_MS)?;
        if self.jitter_percent > 100 {
            let text = format!(
                "jitter_percent is {}; it must be 0 to 100",
                self.jitter_percent
            );
            return Err(out_of_range(&format!("{field}.jitter_percent"), text));
        }
        Ok(())
    }

    /// The delay after attempt `attempt` (from 1) of a task. Equal on every node.
    pub fn delay_ms(&self, id: u64, attempt: u32) -> u64 {
        let most = if self.max_ms == 0 {
            MAX_DELAY_MS
        } else {
            self.max_ms
        };
        let failed = u64::from(attempt.max(1));
        let grown = match self.backoff {
            Backoff::Fixed => self.base_ms,
            Backoff::Linear => self.base_ms.saturating_mul(failed),
            Backoff::Exponential => {
                let factor = u32::try_from(failed - 1)
                    .ok()
                    .and_then(|by| 1_u64.checked_shl(by));
                self.base_ms.saturating_mul(factor.unwrap_or(u64::MAX))
            }
        }
        .min(most);
        let span = grown / 100 * u64::from(self.jitter_percent)
            + grown % 100 * u64::from(self.jitter_percent) / 100;
        if span == 0 {
            return grown;
        }
        let drawn = mix(id ^ u64::from(attempt).rotate_left(40)) % (2 * span + 1);
        (grown - span + drawn).min(most)
    }
}

/// SplitMix64's output function (Steele, Lea and Flood, 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let mixed = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(retry: Retry) -> Vec<u64> {
        (1..=5).map(|attempt| retry.delay_ms(7, attempt)).collect()
    }

    #[test]
    fn delays_grow_as_the_policy_says_up_to_its_cap() {
        let retry = |backoff| Retry {
            backoff,
            base_ms: 100,
            max_ms: 700,
            jitter_percent: 0,
        };
        assert_eq!(delays(retry(Backoff::Fixed)), [100; 5]);
        assert_eq!(delays(retry(Backoff::Linear)), [100, 200, 300, 400, 500]);
        assert_eq!(
            delays(retry(Backoff::Exponential)),
            [100, 200, 400, 700, 700]
        );
        assert_eq!(retry(Backoff::Exponential).delay_ms(7, u32::MAX), 700);
    }

    #[test]
    fn jitter_stays_in_its_span_differs_by_task_and_is_equal_each_time() {
        let retry = Retry {
            backoff: Backoff::Fixed,
            base_ms: 1000,
            max_ms: 0,
            jitter_percent: 20,
        };
        let drawn: std::collections::BTreeSet<u64> =
            (0..200).map(|id| retry.delay_ms(id, 1)).collect();
        assert!(drawn.len() > 100, "{}", drawn.len());
        assert!(*drawn.first().unwrap() >= 800 && *drawn.last().unwrap() <= 1200);
        assert_eq!(retry.delay_ms(3, 2), retry.delay_ms(3, 2));
    }
}
