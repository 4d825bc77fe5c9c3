//! Outcomes of commands, queries and upgrade records, as the client receives them.

use bytes::Bytes;
use task_queue_raft::ids::Index;
use thiserror::Error;

use crate::records::digest::Sha256;
use crate::records::envelope::EnvelopeError;
use crate::records::failure::GuestFailure;
use crate::records::settings_outcome::SettingsOutcome;

/// The outcome of one command: the reply type of [`WasmMachine`](crate::WasmMachine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The guest executed the command; this is its reply.
    Accepted(Bytes),
    /// The guest rejected the command, and nothing changed; this is the rejection in the guest's encoding.
    Rejected(Bytes),
    /// The reply follows later, as a [`Completion`](crate::Completion) of this token.
    Deferred(u64),
    /// The guest failed, and nothing changed. The command's idempotency key is not used up, so the same request may be
    /// sent again, for example after an upgrade that repairs the guest.
    Failed(GuestFailure),
    /// The idempotency key was already used with another body. Nothing changed.
    KeyReused,
    /// The log contains bytes that are not an envelope. Nothing changed.
    Malformed(EnvelopeError),
    /// The entry was not a command but an upgrade record.
    Upgrade(UpgradeOutcome),
    /// The entry was not a command but a change of the settings.
    Settings(SettingsOutcome),
}

/// Why a query has no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GuestQueryError {
    /// The guest rejected the query; this is the rejection in the guest's encoding.
    #[error("the guest rejected the query: {}", String::from_utf8_lossy(.0))]
    Refused(Bytes),
    /// The guest failed.
    #[error("the query failed: {0}")]
    Failed(#[source] GuestFailure),
    /// The guest has no queries.
    #[error("this guest has no queries; export the interface `queries` from it")]
    NotSupported,
    /// The queue of queries is full.
    #[error("{waiting} queries are waiting, which is the limit; try again shortly")]
    Overloaded {
        /// Number of waiting queries.
        waiting: u64,
    },
    /// The query needs more fuel than its class allows, and must be sent again as a long one.
    #[error("the query needs more fuel than short ones may use")]
    NotShort,
    /// The client has gone, so the query was ended.
    #[error("the client of the query has gone")]
    Abandoned,
    /// The guest could not be restored after an earlier failure.
    #[error("the guest is not available: {reason}; see the node's log")]
    Unavailable {
        /// The error that prevents it.
        reason: String,
    },
}

/// The outcome of an upgrade record. Equal on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeOutcome {
    /// The upgrade has begun. The index of this entry identifies it.
    Begun,
    /// The bytes were added to the module.
    ChunkAdded,
    /// The module is complete: every node now prepares it.
    Staged,
    /// The node's report was recorded.
    ReportNoted,
    /// The new module runs from here on.
    Activated,
    /// The upgrade has ended without a switch.
    Closed,
    /// The record was refused and changed nothing.
    Refused(UpgradeRefusal),
}

impl UpgradeOutcome {
    /// The kind as one byte, for the state hash.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Begun => 0,
            Self::ChunkAdded => 1,
            Self::Staged => 2,
            Self::ReportNoted => 3,
            Self::Activated => 4,
            Self::Closed => 5,
            Self::Refused(_) => 6,
        }
    }
}

/// Why an upgrade record changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UpgradeRefusal {
    /// Another upgrade is in progress; only one runs at a time.
    #[error(
        "the upgrade to {sha256}, begun at entry {upgrade}, is in progress; wait until it ends or times out"
    )]
    InProgress {
        /// The entry that began the upgrade in progress.
        upgrade: Index,
        /// Digest of its module.
        sha256: Sha256,
    },
    /// The module is the active one.
    #[error("the module {sha256} already runs; there is nothing to do")]
    Active {
        /// Its digest.
        sha256: Sha256,
    },
    /// The module is empty or over the size limit.
    #[error(
        "the module takes {bytes} bytes, but 1 to {limit} are allowed; build it for release, or raise the module size limit on every node"
    )]
    Size {
        /// Size in bytes.
        bytes: u64,
        /// Largest allowed size in bytes.
        limit: u64,
    },
    /// That upgrade has ended, or never began.
    #[error(
        "the upgrade begun at entry {upgrade} is not in progress; its history shows how it ended"
    )]
    NotInProgress {
        /// The entry that the record names as the beginning of the upgrade.
        upgrade: Index,
    },
    /// The chunk does not follow the bytes received so far.
    #[error("the next chunk of the module must start at byte {expected}; send that one")]
    Offset {
        /// Offset of the next byte.
        expected: u64,
    },
    /// The module is incomplete, or no node has reported ready.
    #[error("the upgrade can't be activated yet: {missing}; wait for it")]
    NotReady {
        /// The missing condition.
        missing: &'static str,
    },
    /// The upgrade is a dry run.
    #[error("this upgrade is a dry run, which never switches; begin one without --dry-run")]
    DryRun,
}
