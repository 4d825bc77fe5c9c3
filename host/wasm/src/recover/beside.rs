//! Snapshots that are written beside apply: of a copy over the image, on another thread. What is written becomes the
//! guest's checkpoint as well, once it is there.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Checkpoint, of_this_node};
use crate::chunks::SnapshotChunks;
use crate::engine::THREAD_STACK_BYTES;
use crate::images::map::HeldClone;
use crate::instance::Instance;
use crate::machine::MachineFailure;

/// A state that was caught and is to be written.
pub(crate) enum Caught {
    /// It was written at once.
    Written(SnapshotChunks),
    /// It is a copy that others don't change.
    QueryReplica(Box<CopyOfState>),
}

/// A copy of a guest that does not change while it is held.
pub(crate) struct CopyOfState {
    pub(super) instance: Instance,
    pub(super) held: HeldClone,
    pub(super) version: u32,
    pub(super) mark: Mark,
    pub(super) mailbox: Mailbox,
}

/// A place among a guest's calls, which outlives what is forgotten of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Rises when the guest gets a state that is not the one before and some calls.
    pub(super) lineage: u64,
    /// Calls before it in this lineage.
    pub(super) calls: u64,
}

/// A checkpoint that was written beside.
pub(super) struct Arrived {
    pub(super) checkpoint: Checkpoint,
    pub(super) fuel: u64,
    pub(super) mark: Mark,
}

/// Where the last one is put.
#[derive(Clone, Default)]
pub(super) struct Mailbox(Arc<Mutex<Option<Result<Arrived, MachineFailure>>>>);

impl Mailbox {
    fn put(&self, arrived: Result<Arrived, MachineFailure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(arrived);
    }

    pub(super) fn take(&self) -> Option<Result<Arrived, MachineFailure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A thread that writes a checkpoint.
pub(super) struct Writer(JoinHandle<()>);

impl Writer {
    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for its end. One that panicked has put nothing into the mailbox, and the next one is tried.
    pub(super) fn wait(self) {
        let _ = self.0.join();
    }
}

impl Caught {
    /// Writes the state.
    ///
    /// # Errors
    /// The guest can't write it.
    pub(crate) fn write(self) -> Result<SnapshotChunks, MachineFailure> {
        match self {
            Self::Written(chunks) => Ok(chunks),
            Self::QueryReplica(copy) => {
                let mailbox = copy.mailbox.clone();
                let arrived = copy.write()?;
                let chunks = arrived.checkpoint.chunks.clone();
                mailbox.put(Ok(arrived));
                Ok(chunks)
            }
        }
    }
}

impl CopyOfState {
    /// Writes a checkpoint on a thread of its own, and puts it, or how it failed, into the mailbox.
    pub(super) fn write_beside(self) -> io::Result<Writer> {
        let write = move || {
            let mailbox = self.mailbox.clone();
            mailbox.put(self.write());
        };
        let thread = std::thread::Builder::new()
            .name("oarlock-checkpoint".to_owned())
            .stack_size(THREAD_STACK_BYTES);
        thread.spawn(write).map(Writer)
    }

    fn write(self) -> Result<Arrived, MachineFailure> {
        let Self {
            mut instance,
            held,
            version,
            mark,
            ..
        } = self;
        let at = held.at();
        let message = match instance.snapshot(at) {
            Ok(Ok(chunks)) => {
                let checkpoint = Checkpoint {
                    written_by: version,
                    chunks,
                };
                return Ok(Arrived {
                    checkpoint,
                    fuel: instance.fuel_spent(),
                    mark,
                });
            }
            Ok(Err(refusal)) => refusal,
            Err(error) => match of_this_node(&error, at.index) {
                Some(failure) => return Err(failure),
                None => error.to_string(),
            },
        };
        Err(MachineFailure::GuestSnapshot { message })
    }
}
