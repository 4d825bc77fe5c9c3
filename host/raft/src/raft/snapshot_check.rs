//! Checks of the newest snapshot: a file that rots while the node runs is found, is not sent, and is replaced.
//!
//! A check reads the whole snapshot and compares its checksum. It is due after an interval, and at once where a peer or a read error
//! makes the snapshot suspect. A suspect snapshot is not sent until the check has ended. A damaged one is never sent again: the node
//! takes a new snapshot, and transfers go on with that.

use std::time::Duration;

use crate::entry::SnapshotMeta;
use crate::ids::NodeId;
use crate::raft::Core;
use crate::raft::progress::{ProgressState, SnapshotTransfer};
use crate::raft::ready::SnapshotTask;

/// What is known of the newest snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition {
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
    condition: Condition,
    /// A check is running.
    is_running: bool,
    /// When the next one is due.
    next_at: Duration,
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
    fn due(&self) -> Option<Duration> {
        let waits = !self.is_running && self.condition != Condition::Damaged;
        waits.then_some(self.next_at)
    }
}

impl Core {
    /// Whether the newest snapshot is damaged, and no new one has been taken yet.
    #[must_use]
    pub fn is_snapshot_damaged(&self) -> bool {
        self.checks.is_damaged()
    }

    /// When the newest snapshot is to be checked.
    pub(super) fn snapshot_check_deadline(&self) -> Option<Duration> {
        self.snapshot.as_ref().and(self.checks.due())
    }

    pub(super) fn check_snapshot_if_due(&mut self) {
        let due = self
            .snapshot_check_deadline()
            .is_some_and(|at| at <= self.now);
        if let Some(meta) = self.snapshot.as_ref().filter(|_| due).cloned() {
            self.checks.is_running = true;
            self.add_snapshot_task(SnapshotTask::Check(meta));
        }
    }

    /// A snapshot has been read to its end. `is_sound`: it is what was written.
    pub fn snapshot_checked(&mut self, now: Duration, meta: &SnapshotMeta, is_sound: bool) {
        self.now = self.now.max(now);
        self.checks.is_running = false;
        if self.snapshot.as_ref() != Some(meta) {
            // It has been replaced meanwhile.
            return;
        }
        self.checks
            .is_new(self.now, self.config.limits.snapshot_check_interval);
        if !is_sound {
            self.checks.condition = Condition::Damaged;
        }
    }

    /// The peer has found this snapshot corrupt, or it could not be read: it is sent no more until it was checked. Where there is a
    /// newer one, the peer gets that.
    pub(super) fn suspect(&mut self, of: &SnapshotMeta, to: &NodeId) {
        let Some(newest) = self.snapshot.clone() else {
            return;
        };
        if newest == *of {
            if self.checks.condition == Condition::Sound {
                self.checks.condition = Condition::Suspect;
                self.checks.next_at = self.now;
            }
            return;
        }
        let now = self.now;
        if let Some(ProgressState::Snapshot(transfer)) =
            self.role.peer_mut(to).map(|peer| &mut peer.state)
        {
            *transfer = SnapshotTransfer::new(newest, now);
            self.compact();
        }
    }

    /// A new snapshot takes the place of a damaged one in all transfers.
    pub(super) fn replace_damaged(&mut self, damaged: &SnapshotMeta) {
        let (now, newest) = (self.now, self.snapshot.clone());
        let (Some(leader), Some(newest)) = (self.role.as_leader_mut(), newest) else {
            return;
        };
        for peer in leader.peers.values_mut() {
            if let ProgressState::Snapshot(transfer) = &mut peer.state
                && transfer.meta == *damaged
            {
                *transfer = SnapshotTransfer::new(newest.clone(), now);
            }
        }
    }
}
