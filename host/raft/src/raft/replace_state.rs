//! Replaces the state of a diverged machine. [`super::reinstall`] describes the steps.

use std::time::Duration;

use crate::entry::{CommandClass, Payload, SnapshotMeta};
use crate::ids::{Index, NodeId};
use crate::message::SendSnapshotError;
use crate::raft::Core;
use crate::raft::progress::ProgressState;
use crate::raft::ready::SnapshotTask;
use crate::raft::reinstall::Reinstall;

/// The log may grow to this multiple of its limit while no entry is applied. Then the reinstallation is aborted.
const MAX_LOG_FACTOR: u64 = 2;

impl Core {
    /// Replaces the state of the machine with the leader's. Without effect if this node is not a member or is the only voter:
    /// no other node has the state.
    pub fn reinstall(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.reinstallation.step.is_none() && self.has_other_voters() {
            self.reinstallation.step = Some(Reinstall::Begun);
        }
    }

    /// The step that the reinstallation has reached, if one is in progress.
    #[must_use]
    pub fn reinstalling(&self) -> Option<Reinstall> {
        self.reinstallation.step
    }

    /// Number of completed reinstallations since the node started.
    #[must_use]
    pub fn reinstalled(&self) -> u64 {
        self.reinstallation.completed
    }

    /// The entry of the leader's snapshot that the last completed reinstallation has installed. The node may have taken later ones
    /// itself since.
    #[must_use]
    pub fn reinstalled_at(&self) -> Index {
        self.reinstallation.installed
    }

    fn has_other_voters(&self) -> bool {
        let mut voters = self.membership().voters();
        self.membership().contains(&self.config.id) && voters.any(|id| *id != self.config.id)
    }

    /// Takes the next step, if it is possible now.
    pub(super) fn advance_reinstall(&mut self) {
        let too_long = self.log.len() > MAX_LOG_FACTOR * self.config.max_log_entries;
        if self.reinstallation.awaits_state() && (too_long || !self.has_other_voters()) {
            // No snapshot arrives, and the log cannot be compacted. The machine continues with its own state.
            self.reinstallation.step = None;
        }
        let busy = self.taking_snapshot || self.log.applied < self.log.applying;
        let begun = self.reinstallation.step == Some(Reinstall::Begun);
        if begun && !busy && self.restoring.is_none() {
            self.reinstallation.step = Some(Reinstall::Writing);
            self.take_snapshot();
        }
    }

    /// The old state was written, or could not be written.
    pub(super) fn set_old_state_aside(&mut self, meta: Option<&SnapshotMeta>) {
        if self.reinstallation.state_written(self.log.applied)
            && let Some(meta) = meta
        {
            self.add_snapshot_task(SnapshotTask::SetAside(meta.clone()));
        }
    }

    /// Requests, as the leader, that `to` receives a snapshot of the entry `from` or of a later one. Takes one first if there is
    /// none. Returns the entry of the snapshot that is being sent; none if the call must be repeated.
    ///
    /// # Errors
    /// If this node is not the leader, or `to` is not one of its peers.
    pub fn send_snapshot(
        &mut self,
        now: Duration,
        to: &NodeId,
        from: Index,
    ) -> Result<Option<Index>, SendSnapshotError> {
        self.now = self.now.max(now);
        let leader = self.role.as_leader().ok_or(SendSnapshotError::NotLeader)?;
        let unknown = || SendSnapshotError::UnknownNode { node: to.clone() };
        let peer = leader.peers.get(to).ok_or_else(unknown)?;
        if let ProgressState::Snapshot(transfer) = &peer.state
            && transfer.meta.last.index >= from
        {
            return Ok(Some(transfer.meta.last.index));
        }
        // Without new commands, an empty entry allows a later snapshot.
        if self.log.last().index < from && self.check_room_for(CommandClass::Control).is_ok() {
            self.append_own(0, Payload::Noop);
        }
        // A node that replaces its own state must not send it to others.
        if self.reinstallation.step.is_some() || self.log.applied < from {
            return Ok(None);
        }
        let newest = self.snapshot.as_ref().map(|meta| meta.last.index);
        if let Some(index) = newest.filter(|index| *index >= from) {
            self.start_snapshot_transfer(to);
            return Ok(Some(index));
        }
        if self.now >= self.snapshot_retry_at {
            self.take_snapshot();
        }
        Ok(None)
    }
}
