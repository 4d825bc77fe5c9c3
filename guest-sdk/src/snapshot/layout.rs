//! The layout of a guest's snapshot.
//!
//! ```text
//! offset  bytes  content, numbers little-endian
//!      0      8  "OARLOCKG"
//!      8      4  version of this layout, 1
//!     12      4  version of the guest that wrote it
//!     16      n  the state, encoded with postcard
//!  16+n       8  n
//!  24+n       4  CRC-32C of all bytes before it
//! ```

pub(super) const MAGIC: [u8; 8] = *b"OARLOCKG";
pub(super) const LAYOUT_VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const TRAILER_BYTES: usize = 12;

/// Most bytes of one chunk. The WIT recommends this size.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Most bytes of a snapshot that is read. A module has at most 4 GiB of memory, which must hold both the bytes and the
/// decoded state.
pub(super) const MAX_SNAPSHOT_BYTES: usize = 2 << 30;
