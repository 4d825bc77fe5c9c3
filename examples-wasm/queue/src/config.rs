//! Settings of a queue. They are in the state, so each change applies at one entry of the log.

use oarlock_guest::Refusal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bucket::Rate;
use crate::limits::{DEFAULT_ATTEMPTS, MAX_DELAY_MS, MAX_RESULT_TTL_MS, RESULT_TTL_MS};
use crate::messages::{Configure, Overflow};
use crate::refuse::{check_name, check_range};
use crate::retry::Retry;

/// Settings that differ from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// Deliveries until a task is dead.
    pub max_attempts: Option<u32>,
    /// Delay after a failed attempt.
    pub retry: Option<Retry>,
    /// Most tasks that workers hold at once.
    pub concurrency: Option<u32>,
    /// Most deliveries in a time.
    pub rate: Option<Rate>,
    /// Most tasks of one fairness key that workers hold at once.
    pub key_concurrency: Option<u32>,
    /// Most deliveries of one fairness key in a time.
    pub key_rate: Option<Rate>,
    /// Most tasks that are not dead.
    pub max_length: Option<u64>,
    /// Most bytes of payloads of tasks that are not dead.
    pub max_bytes: Option<u64>,
    /// What happens at the two limits above.
    pub overflow: Overflow,
    /// Longest time until the first delivery, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// Whether a task whose time is over is removed instead of dead.
    pub drop_expired: bool,
    /// Queue to which dead tasks are moved.
    pub dead_letter: Option<String>,
    /// How long results are kept, in milliseconds.
    pub result_ttl_ms: Option<u64>,
}

impl Config {
    /// Applies a change, after [`check`].
    pub(crate) fn change(&mut self, change: &Configure) {
        fn set<T: Clone>(field: &mut Option<T>, to: Option<&Option<T>>) {
            if let Some(to) = to {
                field.clone_from(to);
            }
        }
        set(&mut self.max_attempts, change.max_attempts.as_ref());
        set(&mut self.retry, change.retry.as_ref());
        set(&mut self.concurrency, change.concurrency.as_ref());
        set(&mut self.rate, change.rate.as_ref());
        set(&mut self.key_concurrency, change.key_concurrency.as_ref());
        set(&mut self.key_rate, change.key_rate.as_ref());
        set(&mut self.max_length, change.max_length.as_ref());
        set(&mut self.max_bytes, change.max_bytes.as_ref());
        self.overflow = change.overflow.unwrap_or(self.overflow);
        set(&mut self.ttl_ms, change.ttl_ms.as_ref());
        self.drop_expired = change.drop_expired.unwrap_or(self.drop_expired);
        set(&mut self.dead_letter, change.dead_letter.as_ref());
        set(&mut self.result_ttl_ms, change.result_ttl_ms.as_ref());
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.max_attempts.unwrap_or(DEFAULT_ATTEMPTS)
    }

    pub(crate) fn result_ttl(&self) -> u64 {
        self.result_ttl_ms.unwrap_or(RESULT_TTL_MS)
    }
}

/// Checks the values of a change.
pub(crate) fn check(change: &Configure) -> Result<(), Refusal> {
    check_name("queue", &change.queue)?;
    let numbers: [(&str, Option<u64>, u64); 7] = [
        (
            "max_attempts",
            given(change.max_attempts).map(u64::from),
            u32::MAX.into(),
        ),
        (
            "concurrency",
            given(change.concurrency).map(u64::from),
            u32::MAX.into(),
        ),
        (
            "key_concurrency",
            given(change.key_concurrency).map(u64::from),
            u32::MAX.into(),
        ),
        ("max_length", given(change.max_length), u64::MAX),
        ("max_bytes", given(change.max_bytes), u64::MAX),
        ("ttl_ms", given(change.ttl_ms), MAX_DELAY_MS),
        (
            "result_ttl_ms",
            given(change.result_ttl_ms),
            MAX_RESULT_TTL_MS,
        ),
    ];
    for (field, value, most) in numbers {
        if let Some(value) = value {
            check_range(field, value, 1, most)?;
        }
    }
    if let Some(retry) = given(change.retry) {
        retry.check("retry")?;
    }
    if let Some(rate) = given(change.rate) {
        rate.check("rate")?;
    }
    if let Some(rate) = given(change.key_rate) {
        rate.check("key_rate")?;
    }
    if let Some(Some(to)) = &change.dead_letter {
        check_name("dead_letter", to)?;
    }
    Ok(())
}

fn given<T>(field: Option<Option<T>>) -> Option<T> {
    field.flatten()
}
