//! Exit codes, and the errors that lead to them. An error text has three parts: what happened, why, and what to do.

use std::fmt;
use std::process::ExitCode;

/// The error of a command. Its text is printed on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Refused or failed: exit code 1.
    Failed(String),
    /// Wrong usage: exit code 2.
    Usage(String),
    /// No leader, or no node reachable: exit code 3.
    Unreachable(String),
    /// Carried out, with a result that needs attention: exit code 4.
    Attention(String),
}

impl Failure {
    /// Exit code 1.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// Exit code 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// Exit code 3.
    pub(crate) fn unreachable(message: impl fmt::Display) -> Self {
        Self::Unreachable(message.to_string())
    }

    /// Exit code 4.
    pub(crate) fn attention(message: impl fmt::Display) -> Self {
        Self::Attention(message.to_string())
    }

    /// The same with a note at the end of its message.
    pub(crate) fn noted(self, note: impl fmt::Display) -> Self {
        let noted = |message| format!("{message}; {note}");
        match self {
            Self::Failed(message) => Self::Failed(noted(message)),
            Self::Usage(message) => Self::Usage(noted(message)),
            Self::Unreachable(message) => Self::Unreachable(noted(message)),
            Self::Attention(message) => Self::Attention(noted(message)),
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Attention(_) => 4,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message)
            | Self::Usage(message)
            | Self::Unreachable(message)
            | Self::Attention(message) => f.write_str(message),
        }
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.code())
    }
}
