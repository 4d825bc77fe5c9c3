//! What a node knows of its newest snapshot, and when it is checked next. [`super::snapshot_check`] explains the rules.

use std::time::Duration;

/// What is known of the newest snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing speaks against it.
    #[default]
    Sound,
    /// A peer has found it corrupt, or it could not be read. It is to be checked.
    Suspect,
    /// The check has failed.
    Damaged,
}

/// The checks of a node.
#[derive(Clone, Debug)]
pub(super) struct SnapshotChecks {
    pub(super) condition: Condition,
    /// A check is running.
    pub(super) is_running: bool,
    /// When the next one is due.
    pub(super) next_at: Duration,
}

impl SnapshotChecks {
    /// The first check is due after an interval.
    pub(super) fn new(now: Duration, interval: Duration) -> Self {
        Self {
            condition: Condition::Sound,
            is_running: false,
            next_at: now.saturating_add(interval),
        }
    }

    /// A snapshot that was taken or received just now takes the place of the one before.
    pub(super) fn is_new(&mut self, now: Duration, interval: Duration) {
        self.condition = Condition::Sound;
        self.next_at = now.saturating_add(interval);
    }

    /// Whether the newest snapshot may be sent.
    pub(super) fn may_send(&self) -> bool {
        self.condition == Condition::Sound
    }

    /// Whether the newest snapshot has to be replaced.
    pub(super) fn is_damaged(&self) -> bool {
        self.condition == Condition::Damaged
    }

    /// What decides, for [`Core::digest`].
    pub(super) fn situation(&self) -> String {
        format!("{:?}{}", self.condition, self.is_running)
    }

    /// When a check is due; `None` while none is.
    pub(super) fn due(&self) -> Option<Duration> {
        let waits = !self.is_running && self.condition != Condition::Damaged;
        waits.then_some(self.next_at)
    }
}
