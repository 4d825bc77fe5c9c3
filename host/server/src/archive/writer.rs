//! Adds bases and entries to an archive. Everything is durable when a method returns.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use task_queue_raft::ids::Index;
use task_queue_raft::storage::entry_record;

use super::contents::{ArchiveContents, BASE, SEGMENT, file_name};
use super::error::{ArchiveError, failed};
use super::format::{
    ArchivePosition, BLOCK_BYTES, END, ENTRIES, SegmentDescription, block, end_body, head,
};
use super::segment::{SegmentReader, follow};
use crate::backup::Manifest;

const LOCK: &str = "archive.lock";
/// Ends the names of files that are being written.
const UNFINISHED: &str = ".new";

/// An entry as it came from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArchivedEntry {
    pub(crate) index: u64,
    pub(crate) record: Bytes,
}

/// The archive in a directory, of which this process is the only writer.
#[derive(Debug)]
pub(crate) struct ArchiveWriter {
    dir: PathBuf,
    _lock: File,
    /// A segment with this many bytes is complete.
    segment_bytes: u64,
    /// Id and lineage of the cluster. `None`: the archive is empty.
    cluster: Option<(String, String)>,
    /// The last entry.
    last: ArchivePosition,
    /// The last entry comes from a base, and the entry before is not in the archive.
    is_after_base: bool,
    open: Option<OpenSegment>,
    /// Bytes that were removed from the end of the last segment at the start.
    removed_bytes: u64,
}

/// The segment to which entries are added.
#[derive(Debug)]
struct OpenSegment {
    path: PathBuf,
    file: File,
    length: u64,
    digest: Sha256,
    next_block: u64,
}

impl ArchiveWriter {
    /// Opens the archive in `dir`, which is created if it does not exist. Removes what a crash has left.
    ///
    /// # Errors
    /// Another process writes it, or a file is damaged or missing.
    pub(crate) fn open(dir: &Path, segment_bytes: u64) -> Result<Self, ArchiveError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let lock = lock(dir)?;
        remove_unfinished(dir)?;
        let contents = ArchiveContents::read(dir)?;
        let last = contents.last().unwrap_or_default();
        let cluster = contents.cluster();
        let newest = contents.segments.last();
        let ends_with_segment = newest.is_some_and(|segment| segment.last.index == last.index);
        let (open, removed_bytes) = match newest {
            Some(segment) => OpenSegment::reopen(&segment.path)?,
            None => (None, 0),
        };
        let mut writer = Self {
            dir: dir.to_owned(),
            _lock: lock,
            segment_bytes,
            cluster: cluster.map(|(id, lineage)| (id.to_owned(), lineage.to_owned())),
            last,
            is_after_base: !ends_with_segment,
            open,
            removed_bytes,
        };
        if writer.is_after_base {
            // The process ended after it had taken a base, and before it began the next segment.
            let of_segment = newest.map(|segment| segment.last).unwrap_or_default();
            writer.seal(of_segment)?;
        }
        Ok(writer)
    }

    /// Whether it contains nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.cluster.is_none()
    }

    /// The last entry.
    pub(crate) fn last(&self) -> ArchivePosition {
        self.last
    }

    /// Lineage of the cluster; empty in an empty archive.
    pub(crate) fn lineage(&self) -> &str {
        self.cluster.as_ref().map_or("", |(_, lineage)| lineage)
    }

    /// Bytes that a crash had left at the end of the last segment.
    pub(crate) fn removed_bytes(&self) -> u64 {
        self.removed_bytes
    }

    /// Where a base is written before [`Self::add_base`].
    pub(crate) fn unfinished_base(&self) -> PathBuf {
        self.dir.join(format!("base{UNFINISHED}"))
    }

    /// Adds the base that was written to [`Self::unfinished_base`] and checked. The entries between the last one and the base are not
    /// in the archive then.
    ///
    /// # Errors
    /// The base is of another cluster or older than the archive, or the disk returns an error.
    pub(crate) fn add_base(&mut self, manifest: &Manifest) -> Result<(), ArchiveError> {
        let from = self.unfinished_base();
        let foreign = |what: String| ArchiveError::Foreign {
            path: from.clone(),
            what,
        };
        if !self.is_empty() && self.lineage() != manifest.lineage {
            return Err(foreign(format!(
                "it is of lineage {}, and the archive is of lineage {}",
                manifest.lineage,
                self.lineage()
            )));
        }
        if manifest.index < self.last.index {
            return Err(foreign(format!(
                "it has the entries up to {}, and the archive has those up to {}",
                manifest.index, self.last.index
            )));
        }
        let last = self.last;
        if manifest.index > last.index {
            self.seal(last)?;
        }
        let to = self.dir.join(file_name(BASE, manifest.index));
        publish(&from, &to)?;
        self.cluster = Some((manifest.cluster_id.clone(), manifest.lineage.clone()));
        if manifest.index > last.index {
            self.is_after_base = true;
            self.last = ArchivePosition {
                index: manifest.index,
                term: manifest.term,
                time_ms: manifest.time_ms,
            };
        }
        Ok(())
    }

    /// Adds the entries that follow the last one.
    ///
    /// # Errors
    /// They do not follow it, a record is damaged, or the disk returns an error. After an error of the disk, open the archive again.
    pub(crate) fn append(&mut self, entries: &[ArchivedEntry]) -> Result<(), ArchiveError> {
        let positions = self.positions(entries)?;
        let mut body = Vec::new();
        for (at, ArchivedEntry { index, record }) in entries.iter().enumerate() {
            if !body.is_empty() && body.len() + record.len() > BLOCK_BYTES {
                self.write_block(&body, positions[at - 1])?;
                body.clear();
            }
            // A record has at most 256 MiB.
            let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
            body.extend_from_slice(&index.to_be_bytes());
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(record);
        }
        match positions.last() {
            Some(last) => self.write_block(&body, *last),
            None => Ok(()),
        }
    }

    /// Checks entries that are to be added. Returns the position of each.
    fn positions(&self, entries: &[ArchivedEntry]) -> Result<Vec<ArchivePosition>, ArchiveError> {
        let mut last = self.last;
        let positions = entries.iter().map(
            |ArchivedEntry { index, record }| -> Result<_, ArchiveError> {
                let after = last.index;
                let wrong = |what: String| ArchiveError::NoSuccessor { after, what };
                let entry = entry_record::decode(Index(*index), record, Path::new("the stream"));
                let entry = entry.map_err(|error| wrong(error.to_string()))?;
                last = follow(last, &entry).map_err(wrong)?;
                Ok(last)
            },
        );
        positions.collect()
    }

    /// Writes a block that ends with the entry `last`.
    fn write_block(&mut self, body: &[u8], last: ArchivePosition) -> Result<(), ArchiveError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin_segment()?,
        };
        open.write(ENTRIES, body)?;
        let is_complete = open.length >= self.segment_bytes;
        self.open = Some(open);
        self.last = last;
        self.is_after_base = false;
        if is_complete {
            self.seal(last)?;
        }
        Ok(())
    }

    /// Ends the open segment, whose last entry is `last`.
    fn seal(&mut self, last: ArchivePosition) -> Result<(), ArchiveError> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let sha256 = open.digest.clone().finalize();
        open.write(END, &end_body(last, &sha256.into()))
    }

    fn begin_segment(&self) -> Result<OpenSegment, ArchiveError> {
        let (cluster_id, lineage) = self.cluster.clone().unwrap_or_default();
        let description = SegmentDescription {
            cluster_id,
            lineage,
            before: self.last,
            after_base: self.is_after_base,
        };
        let path = self.dir.join(file_name(SEGMENT, self.last.index + 1));
        let unfinished = path.with_extension(&UNFINISHED[1..]);
        let head = head(&description).map_err(|error| ArchiveError::Io {
            doing: "describe",
            path: path.clone(),
            source: error.into(),
        })?;
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(&head)?;
            file.sync_all()?;
            Ok(file)
        };
        let file = write().map_err(failed("write", &unfinished))?;
        publish(&unfinished, &path)?;
        let mut digest = Sha256::new();
        digest.update(&head);
        Ok(OpenSegment {
            path,
            file,
            length: head.len() as u64,
            digest,
            next_block: 0,
        })
    }
}

impl OpenSegment {
    /// Opens a segment to add to it, and removes what a crash has left at its end. `None` if it is complete.
    fn reopen(path: &Path) -> Result<(Option<Self>, u64), ArchiveError> {
        let mut reader = SegmentReader::open(path)?;
        let removed_bytes = match reader.read_all() {
            Ok(()) => 0,
            Err(ArchiveError::IncompleteEnd { bytes, .. }) => bytes,
            Err(error) => return Err(error),
        };
        if reader.is_sealed() {
            return Ok((None, 0));
        }
        let file = OpenOptions::new().write(true).open(path);
        let mut file = file.map_err(failed("write", path))?;
        let length = reader.offset();
        let mut cut = || {
            if removed_bytes > 0 {
                file.set_len(length)?;
                file.sync_all()?;
            }
            file.seek(SeekFrom::Start(length))
        };
        cut().map_err(failed("cut", path))?;
        let open = Self {
            path: path.to_owned(),
            file,
            length,
            digest: reader.digest(),
            next_block: reader.next_block(),
        };
        Ok((Some(open), removed_bytes))
    }

    fn write(&mut self, kind: u8, body: &[u8]) -> Result<(), ArchiveError> {
        let block = block(kind, self.next_block, body);
        self.file
            .write_all(&block)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))?;
        self.digest.update(&block);
        self.length += block.len() as u64;
        self.next_block += 1;
        Ok(())
    }
}

/// Locks the directory for this process until the file is closed.
fn lock(dir: &Path) -> Result<File, ArchiveError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.open(&path).map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ArchiveError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

fn remove_unfinished(dir: &Path) -> Result<(), ArchiveError> {
    for item in fs::read_dir(dir).map_err(failed("list", dir))? {
        let path = item.map_err(failed("list", dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_own = name.starts_with("base") || name.starts_with(SEGMENT.0);
        if is_own && name.ends_with(UNFINISHED) {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Gives a durable file its name, durably.
fn publish(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    fs::rename(from, to)
        .and_then(|()| File::open(dir.unwrap_or(Path::new(".")))?.sync_all())
        .map_err(failed("write", to))
}
