//! Why the demo ends before its end.

use crate::command::OutputClosed;
use crate::exit::Failure;

/// Why the demo ends early.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The reader has closed standard output.
    Closed,
    /// A step failed.
    Failed(Failure),
}

impl From<OutputClosed> for Stop {
    fn from(_: OutputClosed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
