//! The version of the rules that decide the outcome of a call, besides module, state and limits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How guests are executed. A replicated setting: all nodes of a cluster use the same version at the same entry.
///
/// A change of the rules is a new version. A host refuses to apply entries under a version that it does not know.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[non_exhaustive]
pub enum GuestSemantics {
    /// Version 0: the rules of cluster level 0. The stack of the machine limits recursion; an overflow stops the node.
    #[default]
    Native,
    /// Version 1: recursive functions are instrumented at load. A call that exceeds
    /// [`stack_bytes`](crate::MachineLimits::stack_bytes) fails as [`TooDeep`](crate::GuestFailure::TooDeep), on every
    /// node alike.
    BoundedStack,
}

impl GuestSemantics {
    /// The latest version that this host knows.
    pub const LATEST: Self = Self::BoundedStack;

    /// The version as a number, for formats and messages.
    #[must_use]
    pub const fn version(self) -> u32 {
        match self {
            Self::Native => 0,
            Self::BoundedStack => 1,
        }
    }

    /// The rules of a version; `None` if this host does not know it.
    #[must_use]
    pub const fn of_version(version: u32) -> Option<Self> {
        match version {
            0 => Some(Self::Native),
            1 => Some(Self::BoundedStack),
            _ => None,
        }
    }
}

impl fmt::Display for GuestSemantics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version().fmt(f)
    }
}

#[cfg(test)]
mod tests;
