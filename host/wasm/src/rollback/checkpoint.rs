//! Checkpoints: snapshots of the guest as the base of a replay. With memory images a checkpoint is written on another
//! thread, from a copy of the guest.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::failure::MachineFailure;
use crate::guest::engine::THREAD_STACK_BYTES;
use crate::guest::failure::GuestCallError;
use crate::guest::instance::Instance;
use crate::guest::limits::MachineLimits;
use crate::images::map::HeldClone;
use crate::records::chunks::SnapshotChunks;

/// A snapshot of the guest, and the guest version that wrote it.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) written_by: u32,
    pub(super) chunks: SnapshotChunks,
}

impl Checkpoint {
    /// Has an instance write its state. The inner error is the guest's own.
    pub(super) fn write(
        instance: &mut Instance,
        at: Moment,
        written_by: u32,
    ) -> Result<Result<Self, String>, GuestCallError> {
        let written = instance.snapshot(at)?;
        Ok(written.map(|chunks| Self { written_by, chunks }))
    }

    /// Restores the checkpoint in an instance in the initial state.
    pub(super) fn restore_in(&self, instance: &mut Instance) -> Result<(), MachineFailure> {
        let restored = instance.restore(self.written_by, &self.chunks);
        let message = match restored {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(message)) => message,
            // There is no entry to report: a state is restored between two.
            Err(error) => match MachineFailure::of_node(&error, Index::ZERO) {
                Some(MachineFailure::StackOverflow { .. }) => {
                    let message = error.to_string();
                    return Err(MachineFailure::Rebuild { message });
                }
                Some(failure) => return Err(failure),
                None => error.to_string(),
            },
        };
        Err(MachineFailure::GuestRestore { message })
    }
}

/// The failure of a call of `snapshot`.
pub(super) fn snapshot_failure(error: &GuestCallError, index: Index) -> MachineFailure {
    MachineFailure::of_node(error, index).unwrap_or_else(|| MachineFailure::GuestSnapshot {
        message: error.to_string(),
    })
}

/// A position in the sequence of a guest's calls. It stays valid when the journal drops calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Incremented when the guest gets a state that is not the one before plus some calls.
    lineage: u64,
    /// Number of calls before this position, in this lineage.
    calls: u64,
}

/// The last checkpoint, and the one that another thread is writing.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// `None`: the initial state.
    latest: Option<Checkpoint>,
    /// The beginning of the journal.
    position: Position,
    /// Whether checkpoints are written on another thread where possible.
    pub(super) is_async: bool,
    writer: Option<CheckpointWriter>,
    mailbox: Mailbox,
}

impl Checkpoints {
    pub(super) fn latest(&self) -> Option<&Checkpoint> {
        self.latest.as_ref()
    }

    pub(super) fn set_latest(&mut self, checkpoint: Option<Checkpoint>) {
        self.latest = checkpoint;
    }

    /// Sets the latest checkpoint, and returns the one before.
    pub(super) fn replace(&mut self, checkpoint: Checkpoint) -> Option<Checkpoint> {
        self.latest.replace(checkpoint)
    }

    /// Memory that rebuilding the state needs in addition to the state itself, in bytes. Four times the snapshot, because
    /// the guest may hold it in a buffer that grows by doubling, and a quarter of the memory limit, because a rebuilt heap
    /// may have another layout. If the limit was lowered, also the difference, because the state may be larger than the
    /// present limit.
    pub(super) fn headroom(&self, limits: &MachineLimits) -> u64 {
        let snapshot = self
            .latest
            .as_ref()
            .map_or(0, |latest| latest.chunks.bytes());
        let lowered_by = limits.memory_lowered_by();
        let highest = limits.memory_bytes.saturating_add(lowered_by);
        let rebuild = snapshot.saturating_mul(4).saturating_add(highest / 4);
        rebuild.saturating_add(lowered_by)
    }

    /// Records that the journal has dropped its first `calls` calls.
    pub(super) fn advance(&mut self, calls: usize) {
        self.position.calls += calls as u64;
    }

    /// Records that the guest has a state that its journal does not lead to. Checkpoints in progress become useless.
    pub(super) fn start_lineage(&mut self) {
        self.position.lineage += 1;
    }

    /// The destination of a checkpoint that is written from a copy of the guest, after `calls` calls of the journal.
    pub(super) fn destination(&self, calls: usize) -> Destination {
        Destination {
            position: Position {
                calls: self.position.calls + calls as u64,
                ..self.position
            },
            mailbox: self.mailbox.clone(),
        }
    }

    /// Takes the checkpoint that another thread has finished last, or its failure.
    pub(super) fn take_finished(&mut self) -> Option<Result<FinishedCheckpoint, MachineFailure>> {
        self.mailbox.take()
    }

    /// Number of calls of the journal that a finished checkpoint contains. `None`: there is a later checkpoint already,
    /// or the state has been replaced.
    pub(super) fn calls_in(&self, finished: &FinishedCheckpoint) -> Option<usize> {
        let (own, its) = (self.position, finished.position);
        let calls = its.calls.checked_sub(own.calls)?;
        (its.lineage == own.lineage).then(|| usize::try_from(calls).unwrap_or(usize::MAX))
    }

    /// Adopts a finished checkpoint.
    pub(super) fn adopt(&mut self, finished: FinishedCheckpoint) {
        self.position.calls = finished.position.calls;
        self.latest = Some(finished.checkpoint);
    }

    pub(super) fn set_writer(&mut self, writer: CheckpointWriter) {
        self.writer = Some(writer);
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writer.is_some()
    }

    /// Joins the writer if it has finished, or in any case if `must_wait`. Returns whether it was joined.
    pub(super) fn join_writer(&mut self, must_wait: bool) -> bool {
        let done = self
            .writer
            .take_if(|writer| must_wait || writer.is_finished());
        let was_joined = done.is_some();
        if let Some(writer) = done {
            writer.join();
        }
        was_joined
    }
}

/// Where a checkpoint goes, and which calls it contains.
#[derive(Clone)]
pub(super) struct Destination {
    position: Position,
    mailbox: Mailbox,
}

/// A checkpoint that another thread has written.
pub(super) struct FinishedCheckpoint {
    pub(super) checkpoint: Checkpoint,
    /// Fuel that writing it used.
    pub(super) fuel: u64,
    position: Position,
}

/// The last finished checkpoint, or its failure.
#[derive(Clone, Default)]
struct Mailbox(Arc<Mutex<Option<Result<FinishedCheckpoint, MachineFailure>>>>);

impl Mailbox {
    fn put(&self, finished: Result<FinishedCheckpoint, MachineFailure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(finished);
    }

    fn take(&self) -> Option<Result<FinishedCheckpoint, MachineFailure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A thread that writes a checkpoint.
pub(super) struct CheckpointWriter(JoinHandle<()>);

impl CheckpointWriter {
    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the thread. If it panicked, the mailbox stays empty, and the next checkpoint is attempted.
    fn join(self) {
        let _ = self.0.join();
    }
}

/// A copy of a guest, which keeps its state while it exists.
pub(super) struct StateCopy {
    pub(super) instance: Instance,
    pub(super) held: HeldClone,
    pub(super) version: u32,
    pub(super) destination: Destination,
}

impl StateCopy {
    /// Writes a checkpoint on a new thread. It goes to the destination, or its failure does.
    pub(super) fn write_on_thread(self) -> io::Result<CheckpointWriter> {
        let write = move || {
            let mailbox = self.destination.mailbox.clone();
            mailbox.put(self.write());
        };
        let thread = std::thread::Builder::new()
            .name("oarlock-checkpoint".to_owned())
            .stack_size(THREAD_STACK_BYTES);
        thread.spawn(write).map(CheckpointWriter)
    }

    fn write(self) -> Result<FinishedCheckpoint, MachineFailure> {
        let Self {
            mut instance,
            held,
            version,
            destination,
        } = self;
        let at = held.at();
        match Checkpoint::write(&mut instance, at, version) {
            Ok(Ok(checkpoint)) => Ok(FinishedCheckpoint {
                checkpoint,
                fuel: instance.fuel_spent(),
                position: destination.position,
            }),
            Ok(Err(message)) => Err(MachineFailure::GuestSnapshot { message }),
            Err(error) => Err(snapshot_failure(&error, at.index)),
        }
    }
}

/// A captured state, to be written as a snapshot on any thread.
pub(crate) struct CapturedState(Captured);

enum Captured {
    /// Written already.
    Written(SnapshotChunks),
    /// A copy over the memory image.
    Copy(Box<StateCopy>),
}

impl CapturedState {
    pub(super) fn written(chunks: SnapshotChunks) -> Self {
        Self(Captured::Written(chunks))
    }

    pub(super) fn copy(copy: StateCopy) -> Self {
        Self(Captured::Copy(Box::new(copy)))
    }

    /// Writes the state. If it was a copy, the result also becomes the guest's next checkpoint.
    ///
    /// # Errors
    /// The guest can't write its state.
    pub(crate) fn write(self) -> Result<SnapshotChunks, MachineFailure> {
        match self.0 {
            Captured::Written(chunks) => Ok(chunks),
            Captured::Copy(copy) => {
                let mailbox = copy.destination.mailbox.clone();
                let finished = copy.write()?;
                let chunks = finished.checkpoint.chunks.clone();
                mailbox.put(Ok(finished));
                Ok(chunks)
            }
        }
    }
}
