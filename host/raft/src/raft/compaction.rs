//! This node's own snapshots, and compaction of the log before them: §7.

use std::time::Duration;

use crate::entry::SnapshotMeta;
use crate::ids::{Index, LogId};
use crate::raft::Core;
use crate::raft::progress::ProgressState;
use crate::raft::ready::SnapshotTask;

impl Core {
    /// Takes a snapshot once enough entries were applied since the last one, or if the log is full.
    pub(super) fn take_snapshot_if_due(&mut self) {
        let last = self
            .snapshot
            .as_ref()
            .map_or(Index::ZERO, |meta| meta.last.index);
        let since = self.log.applied.0.saturating_sub(last.0);
        let full = self.log.len() >= self.config.max_log_entries;
        let enough = since >= self.config.snapshot_threshold || full && since > 0;
        let may = self.now >= self.snapshot_retry_at && self.retaining == 0;
        if enough && may && !self.reinstallation.awaits_state() {
            self.take_snapshot();
        }
    }

    /// Takes a snapshot now, unless one is being taken.
    pub fn take_snapshot(&mut self) {
        if !self.taking_snapshot && self.reinstallation.wanted_from().is_none() {
            self.taking_snapshot = true;
            self.add_snapshot_task(SnapshotTask::Take);
        }
    }

    /// A snapshot was taken. `None`: it failed, and is tried again after a maximum election timeout.
    pub fn snapshot_taken(&mut self, now: Duration, meta: Option<SnapshotMeta>) {
        self.now = self.now.max(now);
        self.taking_snapshot = false;
        self.set_old_state_aside(meta.as_ref());
        let Some(meta) = meta else {
            self.snapshot_retry_at = self.now + self.config.election_timeout_max;
            return;
        };
        if self
            .snapshot
            .as_ref()
            .is_none_or(|newest| newest.last.index < meta.last.index)
        {
            self.snapshot = Some(meta);
            self.compact();
        }
    }

    /// Purges the log up to the newest snapshot, except for some entries that slow followers may still need.
    pub(super) fn compact(&mut self) {
        let Some(meta) = self.snapshot.clone() else {
            return;
        };
        let threshold = self.config.snapshot_threshold;
        let room = self.config.max_log_entries.saturating_sub(threshold);
        let leader = self.role.as_leader();
        let peers = leader.into_iter().flat_map(|leader| leader.peers.values());
        let in_transfer = peers.filter_map(|peer| match &peer.state {
            ProgressState::Snapshot(transfer) => Some(&transfer.meta),
            _ => None,
        });
        let oldest = in_transfer.min_by_key(|meta| meta.last).cloned();
        // The entries after a snapshot in transfer should still be in the log when it arrives.
        let trailing = if oldest.is_some() {
            room
        } else {
            (threshold / 2).min(room)
        };
        let index = Index(meta.last.index.0.saturating_sub(trailing));
        if let Some(term) = self
            .log
            .term_at(index)
            .filter(|_| index > self.log.purged().index)
        {
            let up_to = LogId::new(term, index);
            self.log.purge(up_to);
            self.out.purge = Some(up_to);
        }
        self.retain(oldest.unwrap_or(meta));
    }

    fn retain(&mut self, oldest: SnapshotMeta) {
        self.retaining = self.retaining.saturating_add(1);
        self.add_snapshot_task(SnapshotTask::Retain(oldest));
    }

    /// The disk has removed older snapshots, as the oldest task for that asked.
    pub fn snapshots_retained(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.retaining = self.retaining.saturating_sub(1);
    }

    /// Deletes the snapshots before an installed one, once the machine has restored it. Until then, it may still have an
    /// earlier one to restore.
    pub(super) fn retain_restored(&mut self, applied: Index) {
        let restored = |meta: &mut SnapshotMeta| meta.last.index <= applied;
        if let Some(meta) = self.restoring.take_if(restored) {
            self.retain(meta);
        }
    }
}
