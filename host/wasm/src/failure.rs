//! How a guest fails.

use thiserror::Error;
use wasmtime::Trap;

/// A guest failed at a command, a query or a start. Whatever it had done in that call is undone.
///
/// [`Self::StackOverflow`] is never the outcome of a command: how deep a guest can recurse depends on compiler and
/// processor, so two nodes could differ; a node that meets one while applying stops instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GuestFailure {
    /// It trapped: a panic, an access out of bounds, a division by zero, …
    #[error("the guest trapped: {message}; look for a bug in the guest")]
    Trap {
        /// What the engine says, and the guest's last line at level error, if it logged one. For people: it is not
        /// part of the replicated state.
        message: String,
    },
    /// It used more fuel than it was given.
    #[error(
        "the guest ran out of fuel: it did too much work at once; do less in a command or raise the limit of fuel"
    )]
    OutOfFuel,
    /// It asked for more memory than it may have, and did not get over the refusal.
    #[error(
        "the guest ran out of memory; keep less state in it or raise the limit of memory on every node"
    )]
    OutOfMemory,
    /// It recursed too deep.
    #[error(
        "the guest's stack overflowed: it recursed too deep; look for recursion without an end"
    )]
    StackOverflow,
    /// Its outcomes don't belong to the commands that it was given.
    #[error(
        "the guest's outcomes make no sense: {reason}; it is not built to this version of the contract"
    )]
    BadOutcomes {
        /// What is wrong with them.
        reason: String,
    },
    /// Something that it wrote, or a command for it, is over its limit.
    #[error(
        "{what} takes {bytes} bytes, but {limit} is the limit; make it smaller or raise the limit on every node"
    )]
    TooLarge {
        /// What it is: a reply, a command, …
        what: &'static str,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// It did something more often than it may.
    #[error("there are more than {limit} {what}; have fewer or raise the limit on every node")]
    TooMany {
        /// What it is: events of a command, …
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
}

impl GuestFailure {
    /// The code of a reply over HTTP: `trap`, `out_of_fuel` or `out_of_memory`. What has no code of its own in the
    /// contract counts as a trap.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfFuel => "out_of_fuel",
            Self::OutOfMemory => "out_of_memory",
            Self::Trap { .. }
            | Self::StackOverflow
            | Self::BadOutcomes { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. } => "trap",
        }
    }

    /// The kind as one byte, for the state hash: the words are for people and not part of it.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Trap { .. } => 1,
            Self::OutOfFuel => 2,
            Self::OutOfMemory => 3,
            Self::StackOverflow => 4,
            Self::BadOutcomes { .. } => 5,
            Self::TooLarge { .. } => 6,
            Self::TooMany { .. } => 7,
        }
    }
}

/// Why a call into a guest did not succeed: the guest's fault, or this node's.
#[derive(Debug, Error)]
pub(crate) enum GuestCallError {
    #[error(transparent)]
    Guest(GuestFailure),
    /// The system had no memory left although the guest was within its limit.
    #[error(
        "this machine has no memory left for the guest, which is within its limit; give the machine more memory or lower the limit on every node"
    )]
    NodeOutOfMemory,
}

/// What is known of a failed call beside the engine's error.
pub(crate) struct Circumstances {
    /// The limiter refused memory or table elements in this call.
    pub(crate) memory_denied: bool,
    /// The system refused memory that the limiter had granted.
    pub(crate) node_denied: bool,
    /// The guest's last words at level error.
    pub(crate) last_words: Option<String>,
}

/// Tells the kinds of failure apart.
///
/// A guest whose allocation fails turns that into `unreachable`, so a refusal in this call makes any trap an
/// [`GuestFailure::OutOfMemory`], except running out of fuel, which comes first and says what it is.
pub(crate) fn classify(error: &wasmtime::Error, circumstances: Circumstances) -> GuestCallError {
    if circumstances.node_denied {
        return GuestCallError::NodeOutOfMemory;
    }
    if let Some(failure) = error.downcast_ref::<GuestFailure>() {
        return GuestCallError::Guest(failure.clone());
    }
    GuestCallError::Guest(match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => GuestFailure::OutOfFuel,
        Some(Trap::StackOverflow) => GuestFailure::StackOverflow,
        _ if circumstances.memory_denied => GuestFailure::OutOfMemory,
        Some(trap) => GuestFailure::Trap {
            message: with_last_words(&trap.to_string(), circumstances.last_words),
        },
        None => GuestFailure::Trap {
            message: with_last_words(&format!("{error:#}"), circumstances.last_words),
        },
    })
}

fn with_last_words(message: &str, last_words: Option<String>) -> String {
    match last_words {
        Some(words) => format!("{message} ({words})"),
        None => message.to_owned(),
    }
}
