//! What becomes of a command or a query, as a client sees it.

use bytes::Bytes;
use thiserror::Error;

use crate::envelope::EnvelopeError;
use crate::failure::GuestFailure;
use crate::upgrade::UpgradeOutcome;

/// What became of a command: the reply type of [`WasmMachine`](crate::WasmMachine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// The guest carried it out; this is its reply.
    Accepted(Bytes),
    /// The guest refused it, and it changed nothing; these are its words.
    Rejected(Bytes),
    /// The reply comes later, as a [`Completion`](crate::Completion) of this token.
    Deferred(u64),
    /// The guest failed at it, and it changed nothing. The key, if it had one, is not spent: the command was not
    /// carried out, so the same request may be tried again, by a repaired guest say.
    Failed(GuestFailure),
    /// Its idempotency key was spent on another body, and it changed nothing.
    KeyReused,
    /// The log holds bytes that are no envelope, and they changed nothing.
    Malformed(EnvelopeError),
    /// It was no command but a word of an upgrade.
    Upgrade(UpgradeOutcome),
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GuestQueryError {
    /// The guest refused it; these are its words.
    #[error("the guest refused the query: {}", String::from_utf8_lossy(.0))]
    Refused(Bytes),
    /// The guest failed at it.
    #[error("the query failed: {0}")]
    Failed(#[source] GuestFailure),
    /// The guest answers no queries.
    #[error("this guest answers no queries; export the interface `queries` from it")]
    NotSupported,
    /// More queries wait than may.
    #[error("{waiting} queries wait for an answer already, which is the limit; try again shortly")]
    Overloaded {
        /// How many wait.
        waiting: u64,
    },
    /// The guest could not be brought back after an earlier failure.
    #[error("the guest is not available: {reason}; look at the node's log")]
    Unavailable {
        /// What went wrong.
        reason: String,
    },
}
