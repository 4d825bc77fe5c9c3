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
use crate::raft::snapshot_condition::Condition;

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
