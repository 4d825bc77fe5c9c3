//! A backup: one file with the state of a cluster after one entry of its log.
//!
//! ```text
//! 8 bytes   magic, OARLBKUP
//! 4 bytes   version of the format, 1
//! 4 bytes   length of the manifest, at most 1 MiB
//!           the manifest: JSON
//!           the state machine's bytes, as in a snapshot: state, keys, deferred commands, settings and the module
//! 32 bytes  SHA-256 of all bytes before
//! ```
//! Numbers are big-endian. Nothing of a file is used before its digest has been checked.

mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use format::{BackupMember, Manifest};
pub(crate) use read::{BackupError, BackupReader};
pub(crate) use write::BackupWriter;
