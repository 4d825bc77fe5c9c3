//! Snapshots: the state as bytes. The format is in [`format`](mod@format).
//!
//! Length and checksum are at the end, so the state is written in one pass with one chunk in memory. A snapshot is
//! decoded only after all of it was read and both were verified. A corrupt snapshot is refused as a whole.

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
