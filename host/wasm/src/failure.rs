//! Why a machine stops.

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::MachineError;
use thiserror::Error;

use crate::guest::failure::GuestCallError;
use crate::guest::limits::LimitsError;
use crate::records::digest::Sha256;
use crate::records::envelope::EnvelopeError;
use crate::records::failure::GuestFailure;
use crate::records::snapshot_error::MachineSnapshotError;
use crate::settings::SettingsFault;

/// The machine can't continue, and the node stops. None of these is the outcome of a command.
#[derive(Debug, Error)]
pub enum MachineFailure {
    /// The limits are invalid.
    #[error("the limits of the machine are invalid: {0}")]
    Limits(#[from] LimitsError),
    /// The settings of the cluster can't be applied on this node.
    #[error(transparent)]
    Settings(#[from] SettingsFault),
    /// An entry was delivered twice or out of order.
    #[error(
        "entry {found} was delivered after entry {applied}; this is a bug of the host, please report it"
    )]
    OutOfOrder {
        /// The delivered entry.
        found: Index,
        /// The last applied entry.
        applied: Index,
    },
    /// The log belongs to another module. If this node continued, its state would diverge from the others.
    #[error(
        "this log belongs to the state machine with SHA-256 {settled}, but this node was started with {own}, which never ran in its cluster; start it with --state-machine and the module of its cluster, or correct --data-dir"
    )]
    OtherModule {
        /// The module that the log belongs to.
        settled: Sha256,
        /// The module of this node.
        own: Sha256,
    },
    /// The log contains a command of a later version.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// The guest's stack overflowed. The possible depth depends on compiler and processor, so this can't be an outcome.
    #[error(
        "the guest's stack overflowed at entry {index}; if all nodes stop there, pass the entry in the same way on each: `oarlock recover --skip-entry {index}`, or with a repaired module `oarlock recover --at-entry {index} --successor FILE`. From cluster level 1 on such a command fails and no node stops: `oarlock settings raise-level`"
    )]
    StackOverflow {
        /// The entry.
        index: Index,
    },
    /// A decision of an operator was made about another entry with the same index.
    #[error(
        "the decision about entry {index} was made for commands with digest {decided}, but the entry has {found}; make the decision again on this data directory with `oarlock recover`"
    )]
    OtherEntry {
        /// The entry.
        index: Index,
        /// Digest of the commands that were decided on.
        decided: Sha256,
        /// Digest of the commands in the log.
        found: Sha256,
    },
    /// A state was reached without a decision that this node has, or with another one.
    #[error(
        "this node has a decision about entry {index}, but the snapshot was taken by a node that executed the entry in another way; all nodes need the same decision: compare `oarlock recover` of their data directories"
    )]
    DecisionDiffers {
        /// The entry.
        index: Index,
    },
    /// The successor of a module can't take over its state.
    #[error(
        "the successor {sha256} can't take over the state at entry {index}: {message}; decide on another one with `oarlock recover`, or skip the entry"
    )]
    Successor {
        /// The entry.
        index: Index,
        /// Digest of the successor.
        sha256: Sha256,
        /// What failed.
        message: String,
    },
    /// The operating system has no memory for a guest that is within its limit.
    #[error(
        "this machine has no memory left for the guest, which is within its limit; give the machine more memory, then start the node again"
    )]
    NodeOutOfMemory,
    /// A new instance could not be created.
    #[error("the guest could not be started again: {message}")]
    Rebuild {
        /// The error.
        message: String,
    },
    /// A call that succeeded before failed in a replay.
    #[error(
        "entry {index} could not be replayed after a failure: {message}; the guest is not deterministic, repair it"
    )]
    Replay {
        /// The entry.
        index: Index,
        /// How it failed.
        message: String,
    },
    /// A call had other outcomes in a replay.
    #[error(
        "entry {index} had other outcomes when it was replayed after a failure; the guest is not deterministic, repair it"
    )]
    NotDeterministic {
        /// The entry.
        index: Index,
    },
    /// The guest did not write its state.
    #[error("the guest did not write a snapshot: {message}; repair its `snapshot`")]
    GuestSnapshot {
        /// The guest's message, or how it failed.
        message: String,
    },
    /// The guest did not restore its state.
    #[error(
        "the guest did not restore a snapshot: {message}; repair its `restore`, with the guest SDK its `migrate`"
    )]
    GuestRestore {
        /// The guest's message, or how it failed.
        message: String,
    },
    /// The cluster has switched to a module that does not run on this node.
    #[error(
        "the cluster has switched to a module that does not run on this node: {message}; remove the cause, then start the node again"
    )]
    Upgrade {
        /// The cause.
        message: String,
    },
    /// No snapshot is possible while a new module is built from the journal.
    #[error(
        "no snapshot is taken during an upgrade without the old module's snapshot; it is retried after the upgrade"
    )]
    SnapshotDuringUpgrade,
    /// A snapshot is corrupt, or belongs to another machine.
    #[error(transparent)]
    Snapshot(#[from] MachineSnapshotError),
}

impl MachineFailure {
    /// The failure of this node behind a failed call, if it is one: other nodes may not have had it at the same call,
    /// so no replicated result may depend on it. `None`: the guest failed, as it does on every node.
    pub(crate) fn of_node(error: &GuestCallError, index: Index) -> Option<Self> {
        match error {
            GuestCallError::NodeOutOfMemory => Some(Self::NodeOutOfMemory),
            GuestCallError::Guest(GuestFailure::StackOverflow) => {
                Some(Self::StackOverflow { index })
            }
            // Only queries have a client.
            GuestCallError::ClientGone => Some(Self::Rebuild {
                message: error.to_string(),
            }),
            GuestCallError::Guest(_) => None,
        }
    }
}

impl From<MachineFailure> for MachineError {
    fn from(failure: MachineFailure) -> Self {
        match failure {
            MachineFailure::Snapshot(MachineSnapshotError::Io(error)) => Self::Snapshot(error),
            failure => Self::Failed(Box::new(failure)),
        }
    }
}
