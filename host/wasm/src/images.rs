//! Memory images: rollback after a failed call for guests whose state is in linear memory alone.
//!
//! [`fit`] decides which guests those are; [`map`] is the memory that can be frozen. Images need Linux, whose page
//! table shows which pages were written. On other systems guests are rolled back by replay.

use std::fmt;

pub(crate) mod fit;
#[cfg(target_os = "linux")]
pub(crate) mod map;
#[cfg(not(target_os = "linux"))]
mod no_map;
#[cfg(not(target_os = "linux"))]
pub(crate) mod map {
    pub(crate) use super::no_map::{
        NoHeldClone as HeldClone, NoImage as Image, NoMapping as Mapping, creator, made_by,
    };
}

/// How a guest is rolled back after a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackMethod {
    /// By an image of its memory, and replay of the few calls since.
    Images,
    /// By its last checkpoint, and replay of the calls since.
    Replay {
        /// Why images are not possible.
        because: String,
    },
}

impl RollbackMethod {
    /// The name in the API: `images` or `replay`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Replay { .. } => "replay",
        }
    }
}

impl fmt::Display for RollbackMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Images => f.write_str("memory images"),
            Self::Replay { because } => write!(f, "replay ({because})"),
        }
    }
}

#[cfg(test)]
mod tests;
