//! The record of an entry outside of a node: in an archive of the log, and on the way to it. The same bytes as in the log store.

use std::path::Path;

use super::{StorageError, schema};
use crate::entry::Entry;
use crate::ids::Index;

/// The longest record, in bytes.
pub const MAX_RECORD_BYTES: u64 = schema::MAX_ENTRY_BYTES;

/// Encodes an entry into `record`, replacing its content. The checksum at the end covers the index as well.
///
/// # Errors
/// The record would have more than [`MAX_RECORD_BYTES`].
pub fn encode(entry: &Entry, record: &mut Vec<u8>) -> Result<(), StorageError> {
    schema::encode_entry(entry, record)
}

/// Decodes the record of the entry at `index`. `path` is the file that has it, for the error.
///
/// # Errors
/// The record is corrupt, belongs to another index, or a later release wrote it.
pub fn decode(index: Index, record: &[u8], path: &Path) -> Result<Entry, StorageError> {
    schema::decode_entry(index, record).map_err(|error| error.of(format!("entry {index}"), path))
}
