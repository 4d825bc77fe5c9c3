//! Replaces the state of a machine that has diverged with the leader's state.
//!
//! Only the state machine is replaced. Log, term and vote are intact, so the node still votes and acknowledges, and no copy
//! of a committed entry is lost. The steps:
//!
//! 1. The node applies no more entries. Once the machine has applied what it already received, its state is written as a
//!    snapshot and [set aside](crate::raft::ready::SnapshotTask::SetAside) for inspection.
//! 2. The node sends the leader an [`AdminRequest`](crate::message::AdminRequest) for a snapshot of a later entry. The
//!    leader takes one if it has none, and sends it.
//! 3. The snapshot is installed and restored like any other, and the entries after it are applied.
//!
//! An older snapshot is not enough: the log may no longer contain the entries after it, and the applied index would
//! decrease. A snapshot of the same entry would have the name of the node's own snapshot, and could not be distinguished
//! from it. The CRC of data that ends with its own CRC is a constant, so two snapshots of one length have the same
//! checksum.

use crate::ids::Index;

/// The step that a reinstallation has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reinstall {
    /// The machine still applies entries that it received before.
    Begun,
    /// The state of the machine is being written as a snapshot.
    Writing,
    /// Waits for a snapshot of this entry or of a later one from the leader.
    Wants(Index),
    /// The machine restores the leader's snapshot of this entry.
    Restoring(Index),
}

/// The reinstallation of this node's machine, if one is in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Reinstallation {
    pub(super) step: Option<Reinstall>,
    /// Number of completed reinstallations since the node started.
    pub(super) completed: u64,
    /// The entry of the snapshot that the last one has installed.
    pub(super) installed: Index,
}

impl Reinstallation {
    /// Whether the machine's state is obsolete: no entry is applied to it, and no peer receives it.
    pub(super) fn awaits_state(&self) -> bool {
        !matches!(self.step, None | Some(Reinstall::Restoring(_)))
    }

    /// The first entry of which a snapshot replaces the machine's state; none before the old state is written. From then on
    /// no own snapshot is taken: it could overwrite the one from the leader.
    pub(super) fn wanted_from(&self) -> Option<Index> {
        match self.step {
            Some(Reinstall::Wants(from)) => Some(from),
            _ => None,
        }
    }

    /// The old state was written, or could not be written. Returns whether this reinstallation had requested it.
    pub(super) fn state_written(&mut self, applied: Index) -> bool {
        let writing = self.step == Some(Reinstall::Writing);
        if writing {
            self.step = Some(Reinstall::Wants(applied.next()));
        }
        writing
    }

    /// A snapshot is installed: it replaces the machine's state, at any step.
    pub(super) fn restoring(&mut self, index: Index) {
        if self.step.is_some() {
            self.step = Some(Reinstall::Restoring(index));
        }
    }

    /// The machine has restored or applied all entries up to `applied`.
    pub(super) fn applied(&mut self, applied: Index) {
        let done =
            |step: &mut Reinstall| matches!(step, Reinstall::Restoring(index) if *index <= applied);
        if let Some(Reinstall::Restoring(index)) = self.step.take_if(done) {
            self.completed += 1;
            self.installed = index;
        }
    }
}
