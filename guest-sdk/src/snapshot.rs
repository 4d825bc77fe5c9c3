//! Snapshots: the state as bytes. The format is in [`format`](mod@format).
//!
//! Length and checksum are at the end, so the state is written in one pass with one chunk in memory, and read in the same way: it is
//! decoded while it arrives, because a memory of 4 GiB can't hold a large state twice. Both are verified at the end. Nothing uses the
//! state before, and a corrupt snapshot is refused as a whole.

mod crc;
pub(crate) mod error;
mod format;
mod identity;
pub(crate) mod old_state;
mod own;
mod parse;
mod read;
mod stream;
mod write;

pub use error::{MigrateError, RestoreError, SnapshotError};
pub use identity::{GuestIdentity, GuestPair};
pub use old_state::OldState;
#[cfg(not(target_family = "wasm"))]
pub(crate) use own::own_identity;
pub(crate) use own::own_layout;
pub(crate) use read::read;
pub(crate) use write::write;

#[cfg(test)]
mod tests;
