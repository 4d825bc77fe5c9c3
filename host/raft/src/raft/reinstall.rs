//! A machine that came to another state than the others' gets a leader's in its place.
//!
//! Only the machine is replaced: log, term and vote are as good as they were, so the node keeps voting and acknowledging,
//! and no copy of what was committed is lost. It happens in steps:
//!
//! 1. nothing more is applied; once the machine is done with what it was handed, its state is written as a snapshot and
//!    [set aside](crate::storage::SnapshotStore::quarantine) for whoever wants to look at it;
//! 2. a snapshot that reaches further is wanted. The node asks for it by an [`AdminRequest`](crate::message::AdminRequest), and the
//!    leader takes one if it has none and sends it;
//! 3. it is installed and restored as any other, and the entries behind it are applied.
//!
//! An older snapshot would do as well, but the log may no longer reach back to it; as it is, what is applied never goes
//! back. One of the same entry would lie where the node's own does, and can't be told from it: a CRC over bytes that end
//! with their own CRC is the same whatever they are, so two states of one length have snapshots of one checksum.

use std::time::Duration;

use crate::entry::{Entry, Payload, SnapshotMeta};
use crate::ids::{Index, NodeId};
use crate::message::SendSnapshotError;
use crate::raft::progress::ProgressState;
use crate::raft::ready::SnapshotTask;
use crate::raft::{Core, Role};

/// A log that grows to so many times its bound while nothing is applied is the end of a reinstallation.
const MOST_LOGS: u64 = 2;

/// How far the replacement of a machine's state has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reinstall {
    /// The machine is still at work.
    Begun,
    /// What it holds is being written.
    Writing,
    /// A leader's snapshot of this entry, or of a later one, takes its place.
    Wants(Index),
    /// That is being restored.
    Restoring(Index),
}

impl Core {
    /// Replaces the state of the machine by a leader's, whatever it is. A node that is no member, or the only one that
    /// votes, has nobody to get one from, and goes on.
    pub fn reinstall(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.reinstall.is_none() && self.is_among_others() {
            self.reinstall = Some(Reinstall::Begun);
        }
    }

    /// How far that is, if it is under way.
    #[must_use]
    pub fn reinstalling(&self) -> Option<Reinstall> {
        self.reinstall
    }

    /// How often that was done since the node was started.
    #[must_use]
    pub fn reinstalled(&self) -> u64 {
        self.reinstalled
    }

    /// Whether the machine's state is of no more use: nothing is applied to it and nobody is given it.
    pub(super) fn awaits_state(&self) -> bool {
        !matches!(self.reinstall, None | Some(Reinstall::Restoring(_)))
    }

    /// Whether entries that were read back are to be applied now.
    pub(super) fn applies_next(&self, entries: &[Entry]) -> bool {
        let next = self.log.applying.next();
        !self.awaits_state() && entries.first().is_some_and(|entry| entry.id.index == next)
    }

    /// Whether the machine's state has been written, and is of no more use: another snapshot could overwrite the one that
    /// is to replace it.
    pub(super) fn has_written_its_last(&self) -> bool {
        matches!(self.reinstall, Some(Reinstall::Wants(_)))
    }

    /// Whether this snapshot is to replace the machine's state, though all of its entries are here.
    pub(super) fn wants_state_of(&self, meta: &SnapshotMeta) -> bool {
        matches!(self.reinstall, Some(Reinstall::Wants(from)) if meta.last.index >= from)
    }

    fn is_among_others(&self) -> bool {
        let mut voters = self.membership().voters();
        self.membership().contains(&self.config.id) && voters.any(|id| *id != self.config.id)
    }

    /// Goes on from step to step. Said wherever the core says what is to be done.
    pub(super) fn gather_reinstall(&mut self) {
        let too_long = self.log.len() > MOST_LOGS * self.config.max_log_entries;
        if self.awaits_state() && (too_long || !self.is_among_others()) {
            // Nobody sends it, and the log can't be cut. The machine goes on with the state that it has.
            self.reinstall = None;
        }
        let busy = self.snapshot_under_way || self.log.applied < self.log.applying;
        if self.reinstall == Some(Reinstall::Begun) && !busy && self.restoring.is_none() {
            self.reinstall = Some(Reinstall::Writing);
            self.take_snapshot();
        }
    }

    /// What the machine held is written, or can't be.
    pub(super) fn reinstall_written(&mut self, meta: Option<&SnapshotMeta>) {
        if self.reinstall == Some(Reinstall::Writing) {
            if let Some(meta) = meta {
                self.snapshot_task(SnapshotTask::SetAside(meta.clone()));
            }
            self.reinstall = Some(Reinstall::Wants(self.log.applied.next()));
        }
    }

    /// A snapshot is installed: whatever the machine held is replaced by it.
    pub(super) fn reinstall_restores(&mut self, meta: &SnapshotMeta) {
        if self.reinstall.is_some() {
            self.reinstall = Some(Reinstall::Restoring(meta.last.index));
        }
    }

    /// The machine has come so far.
    pub(super) fn reinstall_applied(&mut self, applied: Index) {
        let done = |stage: &mut Reinstall| matches!(stage, Reinstall::Restoring(index) if *index <= applied);
        if self.reinstall.take_if(done).is_some() {
            self.reinstalled += 1;
        }
    }

    /// As the leader: sends `to` a snapshot of the entry `from` or of a later one, and takes one first if there is
    /// none. Returns which one is on its way, or none as long as it is not.
    ///
    /// # Errors
    /// Where this node does not lead, or `to` is none of its peers.
    pub fn send_snapshot(
        &mut self,
        now: Duration,
        to: &NodeId,
        from: Index,
    ) -> Result<Option<Index>, SendSnapshotError> {
        self.now = self.now.max(now);
        if self.role != Role::Leader {
            return Err(SendSnapshotError::NotLeader);
        }
        let unknown = || SendSnapshotError::UnknownNode { node: to.clone() };
        let peer = self.peers.get(to).ok_or_else(unknown)?;
        if let ProgressState::Snapshot(transfer) = &peer.state
            && transfer.meta.last.index >= from
        {
            return Ok(Some(transfer.meta.last.index));
        }
        // In a cluster where nothing happens there is nothing to take a snapshot of.
        if self.log.last().index < from && self.check_room().is_ok() {
            self.append_own(0, Payload::Noop);
        }
        // One whose own state is in doubt gives nobody a copy.
        if self.reinstall.is_some() || self.log.applied < from {
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
