//! The format of a guest's snapshot.
//!
//! ```text
//! offset  bytes  content, numbers little-endian
//!      0      8  "OARLOCKG"
//!      8      4  version of this format, 2
//!     12      4  version of the guest that wrote it
//!     16      1  a, length of the guest's name
//!     17      a  the guest's name
//!             1  b, length of the layout's fingerprint; 0 if it is unknown
//!             b  the fingerprint
//!             8  c, length of the SDK's own state
//!             c  the SDK's own state, opaque to this format
//!             n  the guest's state, encoded with postcard
//!             8  n
//!             4  CRC-32C of all bytes before it
//! ```
//!
//! Format 1 has the same first 16 bytes, with a 1 at offset 8. The state follows at offset 16. So the name, the layout and
//! the SDK's own state are unknown. It is written only for a state that came with it, while the SDK has no state of its own.

pub(super) const MAGIC: [u8; 8] = *b"OARLOCKG";
pub(super) const FORMAT_1: u32 = 1;
pub(super) const FORMAT_2: u32 = 2;

/// Bytes before the name, or before the state of format 1.
pub(super) const START_BYTES: usize = 16;
/// Bytes after the state.
pub(super) const TRAILER_BYTES: usize = 12;

/// Most bytes of one chunk. The WIT recommends this size.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Most bytes of a state of an older version. A module has at most 4 GiB of memory, which must hold both the bytes and the
/// decoded state. A state of this version is decoded as it arrives and has no such limit.
pub(super) const MAX_OLD_STATE_BYTES: usize = 2 << 30;
