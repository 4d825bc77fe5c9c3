//! Snapshots on disk: one file each, a checked header and then the bytes of the state machine.
//!
//! `<index>-<term>.snap` is whole. `….tmp` is being taken and goes when the store is opened again; `….part` is
//! being received and goes on where it stopped. A file gets its final name only once its bytes are durable.

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
use crate::raft::membership::Membership;
use crate::types::{LogId, SnapshotMeta};

/// The longest snapshot that a store takes unless told otherwise, in bytes of the state machine.
pub const DEFAULT_MAX_BYTES: u64 = 16 << 30;

const DIRECTORY: &str = "snapshots";
/// Where those are that were set aside, beside it.
const ASIDE: &str = "quarantine";
/// So many are kept there.
const MOST_ASIDE: usize = 4;
const WHOLE: &str = "snap";
const PART: &str = "part";
const UNFINISHED: &str = "tmp";

/// Snapshots in the directory of a node.
#[derive(Debug)]
pub struct SnapshotFiles {
    dir: PathBuf,
    max_bytes: u64,
    /// Numbers the files that are being taken, so that two never share one.
    taken: AtomicU64,
    transfer: Mutex<Option<IncomingSnapshot>>,
    /// The snapshot whose last byte was sent to somebody.
    sent: Mutex<Option<LogId>>,
}

impl SnapshotFiles {
    /// Opens the snapshots in `dir/snapshots`, which is made where it is missing.
    ///
    /// # Errors
    /// Where the directory can't be made or read, or what a crash left can't be removed.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let dir = Self::place(dir);
        create_dir(&dir)?;
        let store = Self {
            dir,
            max_bytes: DEFAULT_MAX_BYTES,
            taken: AtomicU64::new(0),
            transfer: Mutex::new(None),
            sent: Mutex::new(None),
        };
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

    /// Where the snapshots of the node in `dir` are.
    #[must_use]
    pub fn place(dir: &Path) -> PathBuf {
        dir.join(DIRECTORY)
    }

    /// Takes no snapshot of more than `max_bytes` of the state machine; [`DEFAULT_MAX_BYTES`] unless this is called.
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

    /// Which entries there are files of this kind for. Files with other names are nobody's business.
    fn list(&self, extension: &str) -> Result<Vec<LogId>, StorageError> {
        Ok(self
            .paths()?
            .iter()
            .filter_map(|path| parse_name(path, extension))
            .collect())
    }

    /// Opens the whole snapshot `meta`, right behind its header. One of the same entry with other bytes, as
    /// another node may have made it, is not it.
    fn find(&self, meta: &SnapshotMeta) -> Result<(File, PathBuf), StorageError> {
        let path = self.path(meta.last, WHOLE);
        let mut file = File::open(&path).map_err(failed("cannot open", &path))?;
        let found = read_header(&mut file, &path)?;
        if found != *meta {
            let other = io::Error::new(
                io::ErrorKind::NotFound,
                "it was replaced by another snapshot of that entry",
            );
            return Err(failed("cannot open", &path)(other));
        }
        Ok((file, path))
    }

    fn is_whole(&self, meta: &SnapshotMeta) -> Result<bool, StorageError> {
        match self.find(meta) {
            Ok(_) => Ok(true),
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            // Receiving it again is the cure.
            Err(StorageError::Corrupt { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All of it was sent, and somebody begins anew: perhaps because its checksum was wrong there. Then nobody could
    /// ever be given it, and this node should not go on with it either.
    fn check_if_sent_again(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        path: &Path,
    ) -> Result<(), StorageError> {
        if offset == 0 && self.sent().take_if(|sent| *sent == meta.last).is_some() {
            self.open_checked(meta, path)?;
        }
        Ok(())
    }

    /// Opens a snapshot whose bytes are all read and found right.
    fn open_checked(&self, meta: &SnapshotMeta, path: &Path) -> Result<File, StorageError> {
        let (mut file, _) = self.find(meta)?;
        let checksum = checksum(&mut file, meta.length).map_err(failed("cannot read", path))?;
        if checksum != meta.checksum {
            return Err(corrupt(path, "its checksum is wrong".to_owned()));
        }
        Ok(file)
    }

    fn sent(&self) -> MutexGuard<'_, Option<LogId>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transfer(&self) -> MutexGuard<'_, Option<IncomingSnapshot>> {
        // A transfer is taken out while it is worked on, so after a panic there is none, and it is opened anew.
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transfer that is under way, from memory or from what an earlier run left.
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

    /// Begins a transfer. There is one at a time: what other ones left is removed.
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
            .list(WHOLE)?
            .into_iter()
            .max_by_key(|last| (last.index, last.term))
        else {
            return Ok(None);
        };
        let path = self.path(last, WHOLE);
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
    ) -> Result<Box<dyn SnapshotWriter>, StorageError> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path(last, &format!("{number}.{UNFINISHED}"));
        let meta = SnapshotMeta {
            last,
            time_ms,
            length: 0,
            checksum: 0,
            membership: membership.cloned(),
        };
        let writer =
            SnapshotFileWriter::create(unfinished, self.path(last, WHOLE), meta, self.max_bytes)?;
        Ok(Box::new(writer))
    }

    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn Read + Send>, StorageError> {
        let path = self.path(meta.last, WHOLE);
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
        self.check_if_sent_again(meta, offset, &path)?;
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
        if length as u64 == left {
            *self.sent() = Some(meta.last);
        }
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
        if self.is_whole(meta)? {
            return Ok(Received::Whole);
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
                return Ok(Received::Damaged);
            }
            transfer.append(data)?;
        }
        if transfer.next_offset() < meta.length {
            let next_offset = transfer.next_offset();
            *slot = Some(transfer);
            return Ok(Received::Partial { next_offset });
        }
        transfer.finish(&self.path(meta.last, WHOLE))
    }

    fn quarantine(&self, meta: &SnapshotMeta) -> Result<(), StorageError> {
        let (_, path) = self.find(meta)?;
        let aside = self.dir.with_file_name(ASIDE);
        create_dir(&aside)?;
        // One of the same entry is of an earlier time, and this one is of now.
        remove(&aside.join(path.file_name().unwrap_or_default()))?;
        keep(&path, &aside)?;
        let kept = list_dir(&aside)?;
        let mut kept: Vec<_> = kept
            .iter()
            .filter_map(|path| Some((parse_name(path, WHOLE)?, path)))
            .collect();
        kept.sort_unstable_by_key(|(last, _)| (last.index, last.term));
        let superfluous = kept.len().saturating_sub(MOST_ASIDE);
        for (_, path) in &kept[..superfluous] {
            remove(path)?;
        }
        sync_dir(&aside)
    }

    fn retain(&self, keep: &SnapshotMeta) -> Result<(), StorageError> {
        let mut slot = self.transfer();
        for last in self
            .list(WHOLE)?
            .into_iter()
            .filter(|last| last.index < keep.last.index)
        {
            remove(&self.path(last, WHOLE))?;
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

/// Refuses a snapshot that is longer than a store takes.
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
