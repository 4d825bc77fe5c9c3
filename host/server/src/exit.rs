//! How a command ends: the exit codes of the contract, and errors that say what, why and what to do.

use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was asked to. Its words go to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was refused or it failed: exit code 1.
    Failed(String),
    /// It was called in a way that makes no sense: exit code 2.
    Usage(String),
    /// There is no leader, or no node could be reached: exit code 3.
    Unreachable(String),
}

impl Failure {
    /// Exit code 1. The words say what happened, why, and what to do next.
    pub(crate) fn failed(words: impl fmt::Display) -> Self {
        Self::Failed(words.to_string())
    }

    /// Exit code 2, likewise.
    pub(crate) fn usage(words: impl fmt::Display) -> Self {
        Self::Usage(words.to_string())
    }

    /// Exit code 3, likewise.
    pub(crate) fn unreachable(words: impl fmt::Display) -> Self {
        Self::Unreachable(words.to_string())
    }

    /// The exit code of the contract.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(words) | Self::Usage(words) | Self::Unreachable(words) => {
                f.write_str(words)
            }
        }
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.code())
    }
}
