//! The counts of a load.

use std::collections::BTreeMap;
use std::time::Duration;

use super::latencies::Latencies;

/// Why a request was not carried out, or may not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadErrorKind {
    /// 422: the guest rejected it.
    Refused,
    /// 500: the guest failed at it.
    Failed,
    /// 413.
    TooLarge,
    /// 429.
    Overloaded,
    /// 503.
    NoLeader,
    /// 504, or no response in time.
    TimedOut,
    /// There was no connection, or it broke.
    Connection,
    /// Any other status.
    Other,
}

impl LoadErrorKind {
    /// The kind of a response's status, where it is not 200.
    pub fn of(status: u16) -> Self {
        match status {
            422 => Self::Refused,
            500 => Self::Failed,
            413 => Self::TooLarge,
            429 => Self::Overloaded,
            503 => Self::NoLeader,
            504 => Self::TimedOut,
            _ => Self::Other,
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::NoLeader => "no_leader",
            Self::TimedOut => "timeout",
            Self::Connection => "connection",
            Self::Other => "other",
        }
    }
}

/// What was counted within the measured time.
#[derive(Clone, Debug, Default)]
pub struct LoadTally {
    /// Times of the requests that were carried out.
    pub latencies: Latencies,
    /// The other requests, by kind.
    pub errors: BTreeMap<LoadErrorKind, u64>,
    /// The text of the first error.
    pub example: Option<String>,
    /// How long was measured.
    pub elapsed: Duration,
}

impl LoadTally {
    /// How many requests were carried out.
    pub fn done(&self) -> u64 {
        self.latencies.count()
    }

    /// How many were not.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Requests carried out in a second.
    pub fn rate(&self) -> f64 {
        self.done() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Several measurements as one.
    pub fn merged<'a>(turns: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for turn in turns {
            all.latencies.merge(&turn.latencies);
            for (kind, count) in &turn.errors {
                *all.errors.entry(*kind).or_default() += count;
            }
            all.example = all.example.or_else(|| turn.example.clone());
            all.elapsed += turn.elapsed;
        }
        all
    }
}

#[cfg(test)]
mod tests;
