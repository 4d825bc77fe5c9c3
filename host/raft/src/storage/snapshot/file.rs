//! The format of one snapshot file: its name, its header, its checksum.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::entry::SnapshotMeta;
use crate::ids::{Index, LogId, Term};
use crate::storage::StorageError;
use crate::storage::files::failed;
use crate::storage::schema::{self, MAX_SNAPSHOT_HEADER_BYTES, SNAPSHOT_HEADER_BYTES};

/// The error for a corrupt snapshot file.
pub(super) fn corrupt(path: &Path, reason: String) -> StorageError {
    StorageError::Corrupt {
        record: path.display().to_string(),
        reason,
    }
}

/// The file name of the snapshot of the entry `last`: `<index>-<term>.<extension>`.
pub(super) fn file_name(last: LogId, extension: &str) -> String {
    format!("{:020}-{:020}.{extension}", last.index, last.term)
}

/// The entry in a file name with this extension; `None` for any other name.
pub(super) fn parse_name(path: &Path, extension: &str) -> Option<LogId> {
    let (name, found) = path.file_name()?.to_str()?.split_once('.')?;
    let (index, term) = name.split_once('-')?;
    let id = LogId::new(Term(term.parse().ok()?), Index(index.parse().ok()?));
    // Only the exact name that this program writes: the same numbers without leading zeros are another file.
    let own = format!("{:020}-{:020}", id.index, id.term);
    (found == extension && name == own).then_some(id)
}

/// Reads and checks the header of a complete snapshot; checks the length of the file against it.
pub(super) fn read_header(file: &mut File, path: &Path) -> Result<SnapshotMeta, StorageError> {
    let actual = file.metadata().map_err(failed("cannot read", path))?.len();
    let mut header = Vec::new();
    if actual < SNAPSHOT_HEADER_BYTES as u64 {
        return Err(corrupt(
            path,
            format!("it has {actual} bytes, less than a header"),
        ));
    }
    file.take(MAX_SNAPSHOT_HEADER_BYTES as u64)
        .read_to_end(&mut header)
        .map_err(failed("cannot read", path))?;
    let meta = schema::decode_snapshot_header(&header)
        .map_err(|error| error.of(path.display().to_string(), path))?;
    let starts = schema::snapshot_header_bytes(&meta);
    let expected = starts.saturating_add(meta.length);
    if actual != expected {
        return Err(corrupt(
            path,
            format!("it has {actual} bytes; {expected} are expected"),
        ));
    }
    file.seek(SeekFrom::Start(starts))
        .map_err(failed("cannot read", path))?;
    Ok(meta)
}

/// CRC-32C of the next `length` bytes, or up to the end of the file if that comes first.
pub(super) fn checksum(file: &mut File, length: u64) -> io::Result<u32> {
    const STEP: usize = 1 << 16;
    let mut buffer = vec![0; STEP];
    let mut left = file.take(length);
    let mut checksum = 0;
    loop {
        match left.read(&mut buffer)? {
            0 => return Ok(checksum),
            read => checksum = crc32c::crc32c_append(checksum, &buffer[..read]),
        }
    }
}
