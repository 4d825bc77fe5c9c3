//! An archive: backups of a cluster and the committed entries after them, in a directory.
//!
//! ```text
//! <dir>/
//! ├── archive.lock                  the process that writes the archive holds a lock on it
//! ├── base-<index>.backup           a backup, up to this entry; 20 digits
//! └── entries-<first index>.log     a segment: entries from this one on; 20 digits
//! ```
//! Entries come in blocks. Each is durable before the next one is written, and has a number and a checksum. So the last block may be
//! cut off by a crash, and no other one. A segment that is complete ends with a block that has the SHA-256 of all bytes before.
//! `host/docs/formats.md` has the bytes.
//!
//! | module | content |
//! |---|---|
//! | [`format`] | the bytes of a segment |
//! | [`segment`] | reads a segment and checks it |
//! | [`contents`] | what a directory contains, and which points can be restored |
//! | [`writer`] | adds bases and entries |
//! | [`error`] | why an archive can't be used |

mod contents;
mod error;
mod format;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use contents::{ArchiveContents, RestorableRange, is_archive};
pub(crate) use error::ArchiveError;
pub(crate) use format::ArchivePosition;
pub(crate) use segment::SegmentReader;
pub(crate) use writer::{ArchiveWriter, ArchivedEntry};
