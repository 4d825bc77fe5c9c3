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

mod manifest;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use manifest::{BackupMember, Manifest};
pub(crate) use read::BackupReader;
pub(crate) use write::BackupWriter;

const MAGIC: &[u8; 8] = b"OARLBKUP";
const VERSION: u32 = 1;
/// Magic, version and length of the manifest.
const HEAD_BYTES: usize = 16;
const MAX_MANIFEST_BYTES: usize = 1 << 20;
const DIGEST_BYTES: usize = 32;
