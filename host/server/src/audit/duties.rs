//! What the task of the audit does next, and when: all retries have an end or a growing pause.

use std::time::Duration;

use task_queue_raft::ids::Index;
use tokio::time::Instant;

use crate::retry::{Backoff, RETRY_PAUSE};

/// How long voters may take to report after hashes were found to differ. Then commands are refused, although a majority
/// is still possible: a voter that is down may never report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the next audit while commands are refused, if the interval of audits is shorter.
const REPEAT_PAUSE: Duration = Duration::from_secs(10);
/// Most attempts to propose the report for one audit. The next audit requests it again.
const MAX_REPORT_ATTEMPTS: u32 = 8;
/// Shortest and longest pause between two leadership transfers of a node in quarantine.
const HAND_OVER_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Longest pause between two attempts to propose a report.
const MAX_REPORT_PAUSE: Duration = Duration::from_secs(10);

/// What the next step depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Situation {
    /// The latest audit.
    pub(super) requested_at: Option<Index>,
    /// This node leads, and has committed an entry of its term.
    pub(super) leads: bool,
    pub(super) is_quarantined: bool,
    /// The hashes differ and none is that of a majority.
    pub(super) undecided: bool,
    pub(super) are_writes_stopped: bool,
}

/// The state of the task between its steps.
#[derive(Debug)]
pub(super) struct Duties {
    /// The audit that the fields below belong to.
    requested_at: Option<Index>,
    /// Attempts to propose this node's report.
    attempts: u32,
    report_pause: Backoff,
    report_at: Option<Instant>,
    /// The node's report is not in the log yet.
    is_report_missing: bool,
    /// When hashes were first found to differ without a majority.
    undecided_since: Option<Instant>,
    /// A request is due now.
    is_request_due: bool,
    /// When the last request was made.
    requested: Option<Instant>,
    are_writes_stopped: bool,
    hand_over_pause: Backoff,
    /// When this node, in quarantine, transfers its leadership.
    hand_over_at: Option<Instant>,
}

impl Default for Duties {
    fn default() -> Self {
        Self {
            requested_at: None,
            attempts: 0,
            report_pause: Backoff::new(RETRY_PAUSE, MAX_REPORT_PAUSE),
            report_at: None,
            is_report_missing: false,
            undecided_since: None,
            is_request_due: false,
            requested: None,
            are_writes_stopped: false,
            hand_over_pause: Backoff::new(HAND_OVER_PAUSES.0, HAND_OVER_PAUSES.1),
            hand_over_at: None,
        }
    }
}

impl Duties {
    /// Takes the present situation into account.
    pub(super) fn note(&mut self, situation: Situation, now: Instant) {
        if situation.requested_at != self.requested_at {
            self.requested_at = situation.requested_at;
            self.retry_report();
        }
        self.are_writes_stopped = situation.are_writes_stopped;
        if situation.undecided && !situation.are_writes_stopped {
            self.undecided_since.get_or_insert(now);
        } else {
            self.undecided_since = None;
        }
        match (situation.is_quarantined, situation.leads) {
            (true, true) => {
                let pause = self.hand_over_pause.current();
                self.hand_over_at.get_or_insert(now + pause);
            }
            // Not reset while it stays in quarantine: leadership may come back at once.
            (true, false) => self.hand_over_at = None,
            (false, _) => {
                self.hand_over_at = None;
                self.hand_over_pause.reset();
            }
        }
    }

    /// Whether this node may propose its report now.
    pub(super) fn may_report(&self, now: Instant) -> bool {
        let is_time = self.report_at.is_none_or(|time| time <= now);
        is_time && self.attempts < MAX_REPORT_ATTEMPTS
    }

    /// An attempt to propose the report begins.
    pub(super) fn report_attempted(&mut self, now: Instant) {
        self.attempts += 1;
        self.report_at = Some(now + self.report_pause.next());
    }

    /// When the next attempt may begin, if there is one.
    pub(super) fn report_again_at(&self) -> Option<Instant> {
        let has_attempts = self.attempts < MAX_REPORT_ATTEMPTS;
        self.report_at
            .filter(|_| has_attempts && self.is_report_missing)
    }

    /// Allows attempts to report again from the first one on.
    pub(super) fn retry_report(&mut self) {
        self.attempts = 0;
        self.report_at = None;
        self.report_pause.reset();
    }

    /// Whether this node has a report that is not in the log.
    pub(super) fn set_report_missing(&mut self, is_missing: bool) {
        self.is_report_missing = is_missing;
    }

    /// The interval of audits has passed on the leader.
    pub(super) fn request(&mut self, is_due: bool, now: Instant) {
        let is_early = self.are_writes_stopped
            && self
                .requested
                .is_some_and(|requested| now - requested < REPEAT_PAUSE);
        self.is_request_due = is_due && !is_early;
    }

    /// Whether a request is to be proposed. It is taken once.
    pub(super) fn takes_request(&mut self, now: Instant) -> bool {
        let is_due = std::mem::take(&mut self.is_request_due);
        if is_due {
            self.requested = Some(now);
        }
        is_due
    }

    /// When commands are refused although voters are missing.
    pub(super) fn stop_writes_at(&self) -> Option<Instant> {
        self.undecided_since.map(|since| since + REPORT_TIMEOUT)
    }

    /// When this node transfers its leadership.
    pub(super) fn hand_over_at(&self) -> Option<Instant> {
        self.hand_over_at
    }

    /// A transfer was tried. The next one waits longer.
    pub(super) fn handed_over(&mut self) {
        self.hand_over_pause.next();
        self.hand_over_at = None;
    }
}

#[cfg(test)]
mod tests;
