//! What is counted while a cluster is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;

use super::latencies::Latencies;
use crate::exit::Failure;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// 200.
    Done,
    /// 422: the guest refused it.
    Refused,
    /// 500: the guest failed at it.
    Failed,
    /// 413.
    TooLarge,
    /// 429.
    Overloaded,
    /// 503.
    NoLeader,
    /// 504, or silence.
    TimedOut,
    /// No connection, or it broke.
    Connection,
    /// Any other status.
    Other,
}

impl Kind {
    /// The kind of a status.
    pub(super) fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::OK => Self::Done,
            StatusCode::UNPROCESSABLE_ENTITY => Self::Refused,
            StatusCode::INTERNAL_SERVER_ERROR => Self::Failed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            StatusCode::TOO_MANY_REQUESTS => Self::Overloaded,
            StatusCode::SERVICE_UNAVAILABLE => Self::NoLeader,
            StatusCode::GATEWAY_TIMEOUT => Self::TimedOut,
            _ => Self::Other,
        }
    }

    /// Its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
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

/// The counts. Only requests that were done have a latency here.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Latencies of what was done.
    pub(super) latencies: Latencies,
    /// Everything else, by kind.
    pub(super) errors: BTreeMap<Kind, u64>,
    /// The first words of a node about an error, for whoever wonders why.
    pub(super) example: Option<String>,
}

impl Tally {
    /// Counts nothing yet.
    ///
    /// # Errors
    /// None that can happen: the bounds of the histogram are constants.
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            latencies: Latencies::new()?,
            errors: BTreeMap::new(),
            example: None,
        })
    }

    /// Counts one request.
    pub(super) fn count(&mut self, kind: Kind, latency: Duration) {
        if kind == Kind::Done {
            self.latencies.record(latency);
        } else {
            *self.errors.entry(kind).or_default() += 1;
        }
    }

    /// Keeps the words, if they are the first.
    pub(super) fn example(&mut self, words: impl FnOnce() -> String) {
        self.example.get_or_insert_with(words);
    }

    /// How many were done.
    pub(super) fn done(&self) -> u64 {
        self.latencies.count()
    }

    /// How many were not.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

#[cfg(test)]
mod tests;
