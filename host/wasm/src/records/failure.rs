//! How a guest fails: the part of a failure that outcomes contain.

use thiserror::Error;

/// A guest failed in a command, a query or a start. Everything that it did in that call is rolled back.
///
/// [`Self::StackOverflow`] is never the outcome of a command. How deep a guest can recurse depends on compiler and
/// processor, so two nodes could differ: a node on which it happens while it applies an entry stops instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GuestFailure {
    /// The guest trapped: a panic, an access out of bounds, a division by zero, …
    #[error("the guest trapped: {message}; look for a bug in the guest")]
    Trap {
        /// What the guest wrote about its error, if anything, and the engine's message. For people only: it is not
        /// part of the replicated state.
        message: String,
    },
    /// The guest used all the fuel of the call.
    #[error(
        "the guest ran out of fuel: the call did too much work; do less in one command, or raise the fuel limit on every node"
    )]
    OutOfFuel,
    /// The guest requested more memory than its limit, and did not recover.
    #[error(
        "the guest ran out of memory; keep less state in it, or raise the memory limit on every node"
    )]
    OutOfMemory,
    /// The same while a node reports low memory: the state is full. To the log it is [`Self::OutOfMemory`].
    #[error(
        "the state of the guest is full: it has used its memory, and this command needs more; remove state, or raise the memory limit with `oarlock settings set`"
    )]
    StateFull,
    /// The machine's stack overflowed in the guest.
    #[error(
        "the guest's stack overflowed: it recursed too deep; look for recursion without an end"
    )]
    StackOverflow,
    /// The guest recursed deeper than its stack limit allows. The depth is counted in the guest's code, so it is the
    /// same on every node.
    #[error(
        "the guest recursed too deep: its calls need more than {limit} bytes of stack; look for recursion without an end, nest the input less, or raise the stack limit with `oarlock settings set`"
    )]
    TooDeep {
        /// The stack limit in bytes.
        limit: u64,
    },
    /// The outcomes do not match the commands.
    #[error(
        "the guest returned invalid outcomes: {reason}; build it against this version of the contract"
    )]
    BadOutcomes {
        /// What is wrong with them.
        reason: String,
    },
    /// A command, or something that the guest wrote, is over its limit.
    #[error(
        "{what} takes {bytes} bytes, but {limit} is the limit; make it smaller, or raise the limit on every node"
    )]
    TooLarge {
        /// The item: a reply, a command, …
        what: &'static str,
        /// Size in bytes.
        bytes: u64,
        /// Largest allowed size in bytes.
        limit: u64,
    },
    /// The guest exceeded a limit on a number of items.
    #[error("there are more than {limit} {what}; use fewer, or raise the limit on every node")]
    TooMany {
        /// The items: events of a command, …
        what: &'static str,
        /// Largest allowed number.
        limit: u64,
    },
    /// An operator decided that the entry with this command is skipped, because every node stopped at it.
    #[error(
        "an operator decided to skip this command, because every node stopped at it; nothing was changed, don't send it again before the guest is repaired"
    )]
    Skipped,
}

impl GuestFailure {
    /// The error code of the HTTP API: `trap`, `out_of_fuel`, `out_of_memory` or `state_full`. A failure without a code of its own in
    /// the contract counts as a trap.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfFuel => "out_of_fuel",
            Self::OutOfMemory => "out_of_memory",
            Self::StateFull => "state_full",
            Self::Trap { .. }
            | Self::StackOverflow
            | Self::TooDeep { .. }
            | Self::BadOutcomes { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Skipped => "trap",
        }
    }

    /// The kind as one byte, for the state hash. The hash does not cover the message.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Trap { .. } => 1,
            Self::OutOfFuel => 2,
            Self::OutOfMemory | Self::StateFull => 3,
            Self::StackOverflow => 4,
            Self::BadOutcomes { .. } => 5,
            Self::TooLarge { .. } => 6,
            Self::TooMany { .. } => 7,
            Self::TooDeep { .. } => 8,
            Self::Skipped => 9,
        }
    }
}
