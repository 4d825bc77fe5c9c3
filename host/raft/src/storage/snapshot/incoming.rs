//! A snapshot that is being received.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::file::checksum;
use crate::storage::files::{failed, publish, remove, sync_dir, unwritten};
use crate::storage::{Received, StorageError, schema};
use crate::types::SnapshotMeta;

/// The file of a transfer, open at its end. All of its bytes so far are durable.
#[derive(Debug)]
pub(super) struct IncomingSnapshot {
    meta: SnapshotMeta,
    path: PathBuf,
    file: File,
    next_offset: u64,
    checksum: u32,
}

impl IncomingSnapshot {
    /// Begins one with its header, in place of what is there.
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

    /// Goes on with what an earlier run left of this very snapshot, if anything.
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

    /// Which snapshot it is.
    pub(super) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// How many bytes of the state machine are here.
    pub(super) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Adds the next bytes and makes them durable.
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), StorageError> {
        // Where the disk is full, a part of it may be there. It is the right one, and the next attempt counts it in.
        let written = self.file.write_all(data);
        written.map_err(unwritten("cannot write", &self.path))?;
        let synced = self.file.sync_data();
        synced.map_err(failed("cannot sync", &self.path))?;
        self.checksum = crc32c::crc32c_append(self.checksum, data);
        self.next_offset += data.len() as u64;
        Ok(())
    }

    /// Puts it with the whole ones if its checksum is right, and throws it away if not.
    pub(super) fn finish(self, whole: &Path) -> Result<Received, StorageError> {
        if self.checksum != self.meta.checksum {
            self.discard()?;
            return Ok(Received::Damaged);
        }
        // What an earlier run wrote may have reached the file and not the disk.
        self.file
            .sync_all()
            .map_err(failed("cannot sync", &self.path))?;
        publish(&self.path, whole)?;
        Ok(Received::Whole)
    }

    /// Throws it away.
    pub(super) fn discard(self) -> Result<(), StorageError> {
        remove(&self.path)
    }
}
