//! What a machine says of itself to other threads.

use std::sync::{Arc, Mutex, PoisonError};

use task_queue_raft::state_machine::Moment;

use crate::module::{GuestModule, Sha256};

/// A machine after the last entry that it applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// The guest's name for itself.
    pub name: String,
    /// The guest's version of itself.
    pub version: u32,
    /// Digest of the module.
    pub sha256: Sha256,
    /// What changes with each entry.
    pub counts: Counts,
}

/// The part of a status that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The last entry that was applied.
    pub applied: Moment,
    /// The running hash over everything applied so far; displayed in hexadecimal. Equal on all nodes at an index.
    pub state_hash: Sha256,
    /// Events that the guest published since the beginning of the log. Equal on all nodes.
    pub events: u64,
    /// Commands and wake-ups at which the guest failed, since the beginning of the log. Equal on all nodes.
    pub failures: u64,
    /// Idempotency keys that are remembered.
    pub keys: u64,
    /// Deferred commands without an answer.
    pub deferred: u64,
    /// When the guest wants to be woken, in milliseconds of replicated time; 0: never. The leader then proposes
    /// [`Envelope::wake`](crate::Envelope::wake).
    pub wake_at_ms: u64,
    /// Linear memory of the guest on this node, in bytes; 0 while it is rebuilt.
    pub memory_bytes: u64,
    /// How often this node built a state again after a failure.
    pub rollbacks: u64,
}

/// Reads the status of a machine that runs on another thread. Cheap to clone; the lock behind it is only held to copy
/// a few numbers, so neither side ever waits for a guest.
#[derive(Clone, Debug)]
pub struct StatusHandle {
    module: GuestModule,
    counts: Arc<Mutex<Counts>>,
}

impl StatusHandle {
    pub(crate) fn new(module: GuestModule) -> Self {
        Self {
            module,
            counts: Arc::default(),
        }
    }

    /// The status now.
    #[must_use]
    pub fn get(&self) -> MachineStatus {
        let description = self.module.description();
        MachineStatus {
            name: description.name.clone(),
            version: description.version,
            sha256: self.module.sha256(),
            // A thread that panicked here left plain numbers, which are as good as before.
            counts: *self.counts.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(crate) fn set(&self, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}
