//! The rules under which a module is compiled: its code depends on them.

use crate::guest::limits::MachineLimits;
use crate::guest::semantics::GuestSemantics;
use crate::records::digest::Sha256;

/// What determines the code of a module, besides its bytes and the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// [`GuestSemantics::Native`].
    Native,
    /// [`GuestSemantics::BoundedStack`] with this stack limit.
    BoundedStack {
        /// The limit in bytes.
        bytes: u64,
    },
}

impl Rules {
    pub(crate) fn of(limits: &MachineLimits) -> Self {
        match limits.semantics {
            GuestSemantics::Native => Self::Native,
            GuestSemantics::BoundedStack => Self::BoundedStack {
                bytes: limits.stack_bytes,
            },
        }
    }

    /// Identifies the code of the module with this digest under these rules.
    pub(crate) fn code_of(self, module: Sha256) -> Sha256 {
        match self {
            Self::Native => module,
            Self::BoundedStack { bytes } => {
                let version = GuestSemantics::BoundedStack.version();
                Sha256::of(format!("{module} under semantics {version}, stack {bytes}").as_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests;
