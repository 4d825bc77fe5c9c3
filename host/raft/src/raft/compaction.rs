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
        let damaged = self.checks.is_damaged();
        let enough = since >= self.config.snapshot_threshold || full && since > 0 || damaged;
        let may = self.now >= self.snapshot_retry_at && self.retaining == 0;
        if enough && may && !self.reinstallation.awaits_state() {
            self.take_snapshot();
        }
    }

    /// Takes a snapshot now, unless one is being taken. Returns `false` if none can be taken, because the state is being replaced.
    pub fn take_snapshot(&mut self) -> bool {
        let may = self.reinstallation.wanted_from().is_none();
        if may && !self.taking_snapshot {
            self.taking_snapshot = true;
            self.add_snapshot_task(SnapshotTask::Take);
        }
        may
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
        let damaged = self.snapshot.clone().filter(|_| self.checks.is_damaged());
        let is_newer = self
            .snapshot
            .as_ref()
            .is_none_or(|newest| newest.last.index < meta.last.index);
        let replaces = damaged
            .as_ref()
            .is_some_and(|damaged| damaged.last.index == meta.last.index);
        if !is_newer && !replaces {
            return;
        }
        self.snapshot = Some(meta);
        let interval = self.config.limits.snapshot_check_interval;
        self.checks.is_new(self.now, interval);
        if let Some(damaged) = damaged {
            self.replace_damaged(&damaged);
        }
        self.compact();
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
        // A peer that is silent keeps nothing.
        let silence = self.config.election_timeout_max;
        let heard = peers.filter(|peer| self.now.saturating_sub(peer.heard_at) < silence);
        let in_transfer = heard.filter_map(|peer| match &peer.state {
            ProgressState::Snapshot(transfer) => Some(&transfer.meta),
            _ => None,
        });
        let oldest = in_transfer.min_by_key(|meta| meta.last).cloned();
        // The entries after a snapshot in transfer should still be in the log when it arrives. Some room is left: the log must not be
        // full at the moment when the next snapshot is due.
        let usual = (threshold / 2).min(room);
        let trailing = if oldest.is_some() {
            usual.max(room.saturating_sub(threshold / 4))
        } else {
            usual
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
