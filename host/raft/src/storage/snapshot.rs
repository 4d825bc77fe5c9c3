//! Snapshots on disk: one file per snapshot, a header with a checksum and then the bytes of the state machine.
//!
//! `<index>-<term>.snap` is a complete snapshot. `….tmp` is being taken; it is removed when the store is opened.
//! `….part` is being received; the transfer continues after a restart. A file gets its final name only when its bytes
//! are durable.

mod file;
mod incoming;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use self::file::{checksum, corrupt, file_name, parse_name, read_header};
use self::incoming::IncomingSnapshot;
use self::writer::SnapshotFileWriter;
use super::files::{create_dir, failed, keep, remove, sync_dir};
use super::{Received, SnapshotStore, SnapshotWriter, StorageError, schema};
use crate::entry::{ClusterState, SnapshotMeta};
use crate::ids::LogId;
use crate::raft::membership::Membership;

/// Default limit of a snapshot, in bytes of the state machine.
pub const DEFAULT_MAX_BYTES: u64 = 16 << 30;

const DIRECTORY: &str = "snapshots";
/// The directory of quarantined snapshots, in the same parent directory.
const QUARANTINE: &str = "quarantine";
/// The most snapshots that are kept there.
const MAX_QUARANTINED: usize = 4;
const COMPLETE: &str = "snap";
const PART: &str = "part";
const UNFINISHED: &str = "tmp";

/// The snapshots in the data directory of a node.
#[derive(Debug)]
pub struct SnapshotFiles {
    dir: PathBuf,
    max_bytes: u64,
    /// Number of snapshots taken since the start: makes the names of unfinished files unique.
    taken: AtomicU64,
    transfer: Mutex<Option<IncomingSnapshot>>,
}

impl SnapshotFiles {
    /// Opens the snapshots in `dir/snapshots`; creates the directory if it is missing. Removes unfinished files.
    ///
    /// # Errors
    /// The directory can't be created or read, or an unfinished file can't be removed.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let dir = Self::directory(dir);
        create_dir(&dir)?;
        let store = Self::at(dir);
        for path in store.paths()? {
            if path
                .extension()
                .is_some_and(|extension| extension == UNFINISHED)
            {
                remove(&path)?;
            }
        }
        Ok(store)
    }

    /// The snapshots in the data directory `dir`, to read them. Changes nothing, also where a node uses the directory.
    #[must_use]
    pub fn to_read(dir: &Path) -> Self {
        Self::at(Self::directory(dir))
    }

    /// The directory of snapshots in the data directory `dir`.
    #[must_use]
    pub fn directory(dir: &Path) -> PathBuf {
        dir.join(DIRECTORY)
    }

    fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            max_bytes: DEFAULT_MAX_BYTES,
            taken: AtomicU64::new(0),
            transfer: Mutex::new(None),
        }
    }

    /// Limits a snapshot to `max_bytes` of the state machine. The default is [`DEFAULT_MAX_BYTES`]; a longer snapshot is
    /// refused with an error.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    fn path(&self, last: LogId, extension: &str) -> PathBuf {
        self.dir.join(file_name(last, extension))
    }

    fn paths(&self) -> Result<Vec<PathBuf>, StorageError> {
        list_dir(&self.dir)
    }

    /// The entries that have a file with this extension. Files with other names are ignored.
    fn list(&self, extension: &str) -> Result<Vec<LogId>, StorageError> {
        Ok(self
            .paths()?
            .iter()
            .filter_map(|path| parse_name(path, extension))
            .collect())
    }

    /// Opens the complete snapshot `meta`, at the end of its header. A snapshot of the same entry with other bytes, made
    /// by another node, does not match.
    fn find(&self, meta: &SnapshotMeta) -> Result<(File, PathBuf), StorageError> {
        let path = self.path(meta.last, COMPLETE);
        let mut file = File::open(&path).map_err(failed("cannot open", &path))?;
        let found = read_header(&mut file, &path)?;
        if found != *meta {
            let other = io::Error::new(
                io::ErrorKind::NotFound,
                "it was replaced by another snapshot of the same entry",
            );
            return Err(failed("cannot open", &path)(other));
        }
        Ok((file, path))
    }

    fn is_complete(&self, meta: &SnapshotMeta) -> Result<bool, StorageError> {
        match self.find(meta) {
            Ok(_) => Ok(true),
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            // Receiving the snapshot again replaces the corrupt file.
            Err(StorageError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a snapshot after reading all of its bytes and checking the checksum.
    fn open_checked(&self, meta: &SnapshotMeta, path: &Path) -> Result<File, StorageError> {
        let (mut file, _) = self.find(meta)?;
        let checksum = checksum(&mut file, meta.length).map_err(failed("cannot read", path))?;
        if checksum != meta.checksum {
            return Err(corrupt(path, "its checksum is wrong".to_owned()));
        }
        Ok(file)
    }

    fn transfer(&self) -> MutexGuard<'_, Option<IncomingSnapshot>> {
        // A transfer is taken out of the slot while it is used. After a panic the slot is empty; it is loaded again.
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transfer in progress, from memory or from the file of an earlier run.
    fn resume(
        &self,
        slot: &mut Option<IncomingSnapshot>,
        meta: &SnapshotMeta,
    ) -> Result<Option<IncomingSnapshot>, StorageError> {
        match slot.take() {
            Some(transfer) if transfer.meta() == meta => Ok(Some(transfer)),
            other => {
                let found = IncomingSnapshot::resume(self.path(meta.last, PART), meta)?;
                if found.is_none() {
                    *slot = other;
                }
                Ok(found)
            }
        }
    }

    /// Starts a transfer. There is one at a time: the files of other transfers are removed.
    fn begin(&self, meta: &SnapshotMeta) -> Result<IncomingSnapshot, StorageError> {
        for last in self.list(PART)? {
            remove(&self.path(last, PART))?;
        }
        IncomingSnapshot::begin(self.path(meta.last, PART), meta)
    }
}

impl SnapshotStore for SnapshotFiles {
    fn newest(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        let Some(last) = self
            .list(COMPLETE)?
            .into_iter()
            .max_by_key(|last| (last.index, last.term))
        else {
            return Ok(None);
        };
        let path = self.path(last, COMPLETE);
        let mut file = File::open(&path).map_err(failed("cannot open", &path))?;
        let meta = read_header(&mut file, &path)?;
        if meta.last != last {
            return Err(corrupt(
                &path,
                format!("it holds the snapshot of entry {}", meta.last),
            ));
        }
        Ok(Some(meta))
    }

    fn create(
        &self,
        last: LogId,
        time_ms: u64,
        membership: Option<&Membership>,
        cluster: ClusterState,
    ) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path(last, &format!("{number}.{UNFINISHED}"));
        let meta = SnapshotMeta {
            last,
            time_ms,
            length: 0,
            checksum: 0,
            membership: membership.cloned(),
            cluster,
        };
        let writer = SnapshotFileWriter::create(
            unfinished,
            self.path(last, COMPLETE),
            meta,
            self.max_bytes,
        )?;
        Ok(Box::new(writer))
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn Read + Send>, StorageError> {
        let path = self.path(meta.last, COMPLETE);
        let mut file = self.open_checked(meta, &path)?;
        file.seek(SeekFrom::Start(schema::snapshot_header_bytes(meta)))
            .map_err(failed("cannot read", &path))?;
        Ok(Box::new(BufReader::new(file).take(meta.length)))
    }

    fn read_chunk(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Bytes, StorageError> {
        let (mut file, path) = self.find(meta)?;
        let left = meta.length.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(max_bytes);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut chunk = vec![0; length];
        file.seek(SeekFrom::Start(
            schema::snapshot_header_bytes(meta).saturating_add(offset),
        ))
        .and_then(|_| file.read_exact(&mut chunk))
        .map_err(failed("cannot read", &path))?;
        Ok(chunk.into())
    }

    fn receive(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        data: &[u8],
    ) -> Result<Received, StorageError> {
        check_length(meta, self.max_bytes)?;
        let mut slot = self.transfer();
        if self.is_complete(meta)? {
            return Ok(Received::Complete);
        }
        let mut transfer = match self.resume(&mut slot, meta)? {
            Some(transfer) => transfer,
            None if offset == 0 => self.begin(meta)?,
            None => return Ok(Received::Partial { next_offset: 0 }),
        };
        let here = transfer.next_offset();
        if here < meta.length {
            if offset != here {
                *slot = Some(transfer);
                return Ok(Received::Partial { next_offset: here });
            }
            if data.len() as u64 > meta.length - here {
                transfer.discard()?;
                return Ok(Received::Corrupt);
            }
            transfer.append(data)?;
        }
        if transfer.next_offset() < meta.length {
            let next_offset = transfer.next_offset();
            *slot = Some(transfer);
            return Ok(Received::Partial { next_offset });
        }
        transfer.finish(&self.path(meta.last, COMPLETE))
    }

    fn quarantine(&self, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let (_, path) = self.find(meta)?;
        let aside = self.dir.with_file_name(QUARANTINE);
        create_dir(&aside)?;
        // Replaces an earlier snapshot of the same entry.
        remove(&aside.join(path.file_name().unwrap_or_default()))?;
        keep(&path, &aside)?;
        let kept = list_dir(&aside)?;
        let mut kept: Vec<_> = kept
            .iter()
            .filter_map(|path| Some((parse_name(path, COMPLETE)?, path)))
            .collect();
        kept.sort_unstable_by_key(|(last, _)| (last.index, last.term));
        let superfluous = kept.len().saturating_sub(MAX_QUARANTINED);
        for (_, path) in &kept[..superfluous] {
            remove(path)?;
        }
        sync_dir(&aside)
    }

    fn retain(&self, keep: &SnapshotMeta) -> Result<(), StorageError> {
        let mut slot = self.transfer();
        for last in self
            .list(COMPLETE)?
            .into_iter()
            .filter(|last| last.index < keep.last.index)
        {
            remove(&self.path(last, COMPLETE))?;
        }
        for last in self
            .list(PART)?
            .into_iter()
            .filter(|last| last.index <= keep.last.index)
        {
            remove(&self.path(last, PART))?;
        }
        if slot
            .as_ref()
            .is_some_and(|transfer| transfer.meta().last.index <= keep.last.index)
        {
            *slot = None;
        }
        Ok(())
    }
}

/// Refuses a snapshot over the limit of the store.
pub(super) fn check_length(meta: &SnapshotMeta, limit: u64) -> Result<(), StorageError> {
    if meta.length > limit {
        let what = format!("the snapshot of entry {}", meta.last);
        return Err(StorageError::TooLarge {
            what,
            bytes: meta.length,
            limit,
        });
    }
    Ok(())
}

fn list_dir(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let list = || {
        fs::read_dir(dir)?
            .map(|item| item.map(|item| item.path()))
            .collect()
    };
    io::Result::<Vec<_>>::from(list()).map_err(failed("cannot list", dir))
}
