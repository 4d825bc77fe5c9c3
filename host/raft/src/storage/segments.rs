//! The log of entries: recycled files of fixed size, the segments.
//!
//! A segment is written completely before its first use, so an append changes no metadata of the file system: it is one write
//! and one `fdatasync`. Segments whose entries are purged are used again. What was written is recognized by the content:
//!
//! - Each **sector** has a checksum over its bytes and its place, and a tag: sequence of the segment, and number of the write.
//!   So it is intact and of a certain write, or older, or corrupt.
//! - Each **write** contains the checksum of the write before it: a chain. A write is there completely or not at all.
//! - A write is started after the one before it is durable. So a write proves that the one before it was acknowledged.
//!
//! | module | what it has |
//! |---|---|
//! | `log` | append, read, purge |
//! | `scan` | reads the whole log at the start, and tells a torn write from a corrupt one |
//! | `index` | where each entry is |
//! | `record` | the bytes of a write |
//! | [`sector`] | the bytes of a sector |
//! | `segment` | a segment in use, and its header |
//! | `pool` | segments that are not in use, and the thread that prepares the next one |
//! | `files` | the files below, and a directory of them |

mod files;
mod index;
mod log;
mod pool;
mod record;
mod scan;
pub mod sector;
mod segment;
#[cfg(test)]
pub(super) mod tests;

pub use self::files::{SegmentDirectory, SegmentFile, SegmentFiles};
pub(super) use self::log::{LogAppend, SegmentLog};
pub use self::pool::{SegmentPreparation, SegmentRules};
