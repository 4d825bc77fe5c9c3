//! Writes a snapshot file while the snapshot is received.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::file::checksum;
use crate::entry::SnapshotMeta;
use crate::storage::files::{failed, publish, remove, sync_dir, unwritten};
use crate::storage::{Received, StorageError, schema};

/// A snapshot in transfer: its file, open at the end. All bytes so far are durable.
#[derive(Debug)]
pub(super) struct IncomingSnapshot {
    meta: SnapshotMeta,
    path: PathBuf,
    file: File,
    next_offset: u64,
    checksum: u32,
}

impl IncomingSnapshot {
    /// Starts a transfer: writes the header, and replaces an existing file.
    pub(super) fn begin(path: PathBuf, meta: &SnapshotMeta) -> Result<Self, StorageError> {
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(&schema::encode_snapshot_header(meta))?;
            Ok(file)
        };
        let file: File = write().map_err(unwritten("cannot begin", &path))?;
        file.sync_all().map_err(failed("cannot sync", &path))?;
        if let Some(dir) = path.parent() {
            sync_dir(dir)?;
        }
        Ok(Self {
            meta: meta.clone(),
            path,
            file,
            next_offset: 0,
            checksum: 0,
        })
    }

    /// Continues a transfer of the same snapshot from an earlier run. `None` if there is none, or if its file is not
    /// valid.
    pub(super) fn resume(path: PathBuf, meta: &SnapshotMeta) -> Result<Option<Self>, StorageError> {
        let mut file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("cannot open", &path)(error)),
        };
        let mut read = || {
            let length = file.metadata()?.len();
            let expected = schema::encode_snapshot_header(meta);
            let starts = expected.len() as u64;
            let mut header = vec![0; expected.len()];
            if length < starts || length - starts > meta.length {
                return Ok(None);
            }
            file.read_exact(&mut header)?;
            if header != expected {
                return Ok(None);
            }
            let next_offset = length - starts;
            Ok(Some((next_offset, checksum(&mut file, next_offset)?)))
        };
        let found = read().map_err(failed("cannot read", &path))?;
        Ok(found.map(|(next_offset, checksum)| Self {
            meta: meta.clone(),
            path,
            file,
            next_offset,
            checksum,
        }))
    }

    /// The snapshot in transfer.
    pub(super) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Bytes of the state machine that are stored.
    pub(super) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Appends the next bytes and syncs them.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), StorageError> {
        // If the disk is full, a part may be written. Its bytes are right, and the next attempt continues after them.
        let written = self.file.write_all(data);
        written.map_err(unwritten("cannot write", &self.path))?;
        let synced = self.file.sync_data();
        synced.map_err(failed("cannot sync", &self.path))?;
        self.checksum = crc32c::crc32c_append(self.checksum, data);
        self.next_offset += data.len() as u64;
        Ok(())
    }

    /// Completes the transfer: renames the file if the checksum is right, else discards it.
    pub(super) fn finish(self, complete: &Path) -> Result<Received, StorageError> {
        if self.checksum != self.meta.checksum {
            self.discard()?;
            return Ok(Received::Corrupt);
        }
        // Bytes of an earlier run may not be synced yet.
        self.file
            .sync_all()
            .map_err(failed("cannot sync", &self.path))?;
        publish(&self.path, complete)?;
        Ok(Received::Complete)
    }

    /// Removes the file.
    pub(super) fn discard(self) -> Result<(), StorageError> {
        remove(&self.path)
    }
}
