//! What a node does next for the audit of state hashes, and when: all retries have an end or a growing pause. Times are those of
//! any clock that only grows, since any moment.

use std::time::Duration;

use task_queue_raft::ids::Index;

use crate::duties::retry::{Backoff, RETRY_PAUSE};

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
pub struct AuditSituation {
    /// The latest audit.
    pub requested_at: Option<Index>,
    /// This node leads, and has committed an entry of its term.
    pub leads: bool,
    /// This node is in quarantine.
    pub is_quarantined: bool,
    /// The hashes differ and none is that of a majority.
    pub undecided: bool,
    /// Commands are refused, because no majority agrees.
    pub are_writes_stopped: bool,
}

/// The state of a node between its steps.
#[derive(Clone, Debug)]
pub struct AuditDuties {
    /// The audit that the fields below belong to.
    requested_at: Option<Index>,
    /// Attempts to propose this node's report.
    attempts: u32,
    report_pause: Backoff,
    report_at: Option<Duration>,
    /// The node's report is not in the log yet.
    is_report_missing: bool,
    /// When hashes were first found to differ without a majority.
    undecided_since: Option<Duration>,
    /// A request is due now.
    is_request_due: bool,
    /// When this node made its last request.
    requested: Option<Duration>,
    /// When the latest audit was seen first, of any node.
    seen: Option<Duration>,
    leads: bool,
    are_writes_stopped: bool,
    hand_over_pause: Backoff,
    /// Transfers of this quarantine.
    hand_overs: usize,
    /// When this node, in quarantine, transfers its leadership.
    hand_over_at: Option<Duration>,
}

impl Default for AuditDuties {
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
            seen: None,
            leads: false,
            are_writes_stopped: false,
            hand_over_pause: Backoff::new(HAND_OVER_PAUSES.0, HAND_OVER_PAUSES.1),
            hand_overs: 0,
            hand_over_at: None,
        }
    }
}

impl AuditDuties {
    /// Takes the present situation into account.
    pub fn note(&mut self, situation: AuditSituation, now: Duration) {
        if situation.requested_at != self.requested_at {
            self.requested_at = situation.requested_at;
            self.seen = Some(now);
            self.retry_report();
        }
        self.leads = situation.leads;
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
                self.hand_overs = 0;
            }
        }
    }

    /// Whether this node may propose its report now.
    pub fn may_report(&self, now: Duration) -> bool {
        let is_time = self.report_at.is_none_or(|time| time <= now);
        is_time && self.attempts < MAX_REPORT_ATTEMPTS
    }

    /// An attempt to propose the report begins.
    pub fn report_attempted(&mut self, now: Duration) {
        self.attempts += 1;
        self.report_at = Some(now + self.report_pause.advance());
    }

    /// When the next attempt may begin, if there is one.
    pub fn report_again_at(&self) -> Option<Duration> {
        let has_attempts = self.attempts < MAX_REPORT_ATTEMPTS;
        self.report_at
            .filter(|_| has_attempts && self.is_report_missing)
    }

    /// Allows attempts to report again from the first one on.
    pub fn retry_report(&mut self) {
        self.attempts = 0;
        self.report_at = None;
        self.report_pause.reset();
    }

    /// Whether this node has a report that is not in the log.
    pub fn set_report_missing(&mut self, is_missing: bool) {
        self.is_report_missing = is_missing;
    }

    /// The interval of audits has passed. `is_due`: something could have made states differ since the last one.
    ///
    /// The leader requests audits. A node that refuses commands does so as well: the reports that ended this on the others may be
    /// in the part of the log that a snapshot has replaced here, and then only another audit tells. It gives way to the audits of
    /// others. While hashes differ without a majority, there is no other audit before the voters that are missing had time to
    /// report: it would begin their time anew, and commands would never be refused.
    pub fn request(&mut self, is_due: bool, now: Duration) {
        let last = if self.leads {
            self.requested
        } else {
            self.requested.max(self.seen)
        };
        let is_early =
            self.are_writes_stopped && last.is_some_and(|last| now - last < REPEAT_PAUSE);
        let is_due = self.are_writes_stopped || (self.leads && is_due);
        let is_open = self.undecided_since.is_some();
        self.is_request_due = is_due && !is_early && !is_open;
    }

    /// Whether a request is to be proposed. It is taken once.
    pub fn takes_request(&mut self, now: Duration) -> bool {
        let is_due = std::mem::take(&mut self.is_request_due);
        if is_due {
            self.requested = Some(now);
        }
        is_due
    }

    /// When commands are refused although voters are missing.
    pub fn stop_writes_at(&self) -> Option<Duration> {
        self.undecided_since.map(|since| since + REPORT_TIMEOUT)
    }

    /// When this node transfers its leadership.
    pub fn hand_over_at(&self) -> Option<Duration> {
        self.hand_over_at
    }

    /// How many transfers were tried before in this quarantine.
    #[must_use]
    pub fn hand_overs(&self) -> usize {
        self.hand_overs
    }

    /// A transfer was tried. The next one waits longer.
    pub fn handed_over(&mut self) {
        self.hand_over_pause.advance();
        self.hand_overs += 1;
        self.hand_over_at = None;
    }
}

#[cfg(test)]
mod tests;
