//! The state as bytes.
//!
//! ```text
//! offset  bytes  content, numbers little-endian
//!      0      8  "OARLOCKG"
//!      8      4  form of the snapshot, 1
//!     12      4  version of the guest that wrote it
//!     16      n  the state in postcard's encoding
//!  16+n       8  n
//!  24+n       4  CRC-32C of everything before it
//! ```
//!
//! Length and checksum stand at the end, so the state is written in one pass with one chunk in memory. It
//! is read whole and decoded only after both agree, so a damaged snapshot is refused, never half-read.

mod crc;
mod error;
mod read;
mod write;

pub use error::{MigrateError, RestoreError, SnapshotError};
pub use read::OldState;
pub(crate) use read::read;
pub(crate) use write::write;

const MAGIC: [u8; 8] = *b"OARLOCKG";
const FORM: u32 = 1;
const HEADER_BYTES: usize = 16;
const TRAILER_BYTES: usize = 12;

/// Most bytes that one chunk holds, as the WIT advises.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Largest snapshot that is read, in bytes: a module has 4 GiB of memory, and the bytes and the state made
/// of them have to fit side by side.
const MAX_SNAPSHOT_BYTES: usize = 2 << 30;

#[cfg(test)]
mod tests;
