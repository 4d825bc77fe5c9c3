//! Reads a segment, block by block, and checks it.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use task_queue_raft::entry::Entry;
use task_queue_raft::ids::Index;
use task_queue_raft::storage::entry_record;

use super::error::{ArchiveError, failed};
use super::format::{
    ArchivePosition, BLOCK_HEAD_BYTES, CHECKSUM_BYTES, END, END_BLOCK_BYTES, ENTRY_HEAD_BYTES,
    HEAD_BYTES, MAGIC, MAX_DESCRIPTION_BYTES, SegmentDescription, VERSION, block_head, find_block,
    read_end_body,
};

const READ_BYTES: usize = 256 << 10;
/// More than the blocks of a segment.
const MAX_BLOCKS: u64 = 1 << 32;

/// A segment that is read from its begin to its end. An entry is returned only if its block, its place and its record are right.
pub(crate) struct SegmentReader {
    from: BufReader<File>,
    path: PathBuf,
    length: u64,
    description: SegmentDescription,
    /// Bytes of the head and of the blocks read so far.
    offset: u64,
    digest: Sha256,
    next_block: u64,
    last: ArchivePosition,
    is_sealed: bool,
}

impl SegmentReader {
    /// Opens a segment, and checks its head.
    ///
    /// # Errors
    /// The file is not a segment, or its head is damaged.
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(failed("read", path))?;
        let length = file.metadata().map_err(failed("read", path))?.len();
        let mut from = BufReader::with_capacity(READ_BYTES, file);
        let (description, head) = read_head(&mut from, path)?;
        let mut digest = Sha256::new();
        digest.update(&head);
        Ok(Self {
            last: description.before,
            from,
            path: path.to_owned(),
            length,
            description,
            offset: head.len() as u64,
            digest,
            next_block: 0,
            is_sealed: false,
        })
    }

    /// What the segment is.
    pub(crate) fn description(&self) -> &SegmentDescription {
        &self.description
    }

    /// The last entry that was read, or the one before the first.
    pub(crate) fn last(&self) -> ArchivePosition {
        self.last
    }

    /// Whether the block at its end was read: nothing is added to the segment any more.
    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Bytes of what was read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Number of the next block.
    pub(super) fn next_block(&self) -> u64 {
        self.next_block
    }

    /// Digest of what was read.
    pub(super) fn digest(&self) -> Sha256 {
        self.digest.clone()
    }

    /// The entries of the next block; `None` after the last one.
    ///
    /// # Errors
    /// [`ArchiveError::IncompleteEnd`] if the rest of the file contains no complete block, otherwise the damage.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Entry>>, ArchiveError> {
        let left = self.length - self.offset;
        if self.is_sealed {
            return if left == 0 {
                Ok(None)
            } else {
                Err(self.damaged("bytes follow its end"))
            };
        }
        if left == 0 {
            return Ok(None);
        }
        let Some(bytes) = self.read_block(left)? else {
            return Err(self.bad_block(left)?);
        };
        let Some(block) = find_block(&bytes).filter(|block| block.number == self.next_block) else {
            return Err(self.bad_block(left)?);
        };
        if block.kind == END {
            self.check_end(block.body)?;
            self.is_sealed = true;
            self.offset += bytes.len() as u64;
            // What follows is an error.
            return self.next();
        }
        let entries = self.entries(block.body)?;
        self.digest.update(&bytes);
        self.offset += bytes.len() as u64;
        self.next_block += 1;
        Ok(Some(entries))
    }

    /// Reads to the end and checks everything.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(crate) fn read_all(&mut self) -> Result<(), ArchiveError> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// The bytes of the next block, if its head is plausible.
    fn read_block(&mut self, left: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let mut bytes = vec![0; BLOCK_HEAD_BYTES];
        if left < BLOCK_HEAD_BYTES as u64 {
            return Ok(None);
        }
        let path = self.path.clone();
        let unread = || failed("read", &path);
        self.from.read_exact(&mut bytes).map_err(unread())?;
        let Some((_, _, length)) = block_head(&bytes) else {
            return Ok(None);
        };
        let rest = length + CHECKSUM_BYTES as u64;
        if rest > left - BLOCK_HEAD_BYTES as u64 {
            return Ok(None);
        }
        let read = (&mut self.from).take(rest).read_to_end(&mut bytes);
        let read = read.map_err(unread())?;
        Ok((read as u64 == rest).then_some(bytes))
    }

    /// A block at the offset can't be used. A crash can only cut off the last one: if a later one is complete, it is damage.
    fn bad_block(&mut self, left: u64) -> Result<ArchiveError, ArchiveError> {
        let mut rest = Vec::new();
        let unread = |path: &Path| failed("read", path);
        let seek = self.from.seek(SeekFrom::Start(self.offset));
        seek.map_err(unread(&self.path))?;
        self.from
            .read_to_end(&mut rest)
            .map_err(unread(&self.path))?;
        // Heads first: a checksum of everything that looks like a head would take long.
        let later = self.next_block + 1..self.next_block + MAX_BLOCKS;
        let is_later = |at: usize| {
            let head = block_head(&rest[at..]);
            head.is_some_and(|(_, number, _)| later.contains(&number))
                && find_block(&rest[at..]).is_some()
        };
        if (1..rest.len()).any(is_later) {
            return Ok(self.damaged("a block is not what was written, and later ones are"));
        }
        Ok(ArchiveError::IncompleteEnd {
            path: self.path.clone(),
            bytes: left,
        })
    }

    fn check_end(&self, body: &[u8]) -> Result<(), ArchiveError> {
        let (last, sha256) =
            read_end_body(body).ok_or_else(|| self.damaged("its end is not valid"))?;
        if last != self.last {
            return Err(self.damaged("its end names another entry than its last one"));
        }
        if self.digest.clone().finalize()[..] != sha256 {
            return Err(self.damaged("its SHA-256 is wrong"));
        }
        Ok(())
    }

    fn entries(&mut self, mut body: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
        let mut entries = Vec::new();
        while !body.is_empty() {
            let (index, record, rest) =
                split_record(body).ok_or_else(|| self.damaged("an entry is cut short"))?;
            body = rest;
            let entry = entry_record::decode(Index(index), record, &self.path);
            let entry = entry.map_err(|error| self.damaged(error.to_string()))?;
            self.last = follow(self.last, &entry).map_err(|what| self.damaged(what))?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn damaged(&self, what: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged {
            path: self.path.clone(),
            offset: self.offset,
            what: what.into(),
        }
    }
}

/// Index and bytes of the first record, and what follows it.
fn split_record(body: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (head, rest) = body.split_first_chunk::<ENTRY_HEAD_BYTES>()?;
    let (index, length) = head.split_first_chunk::<8>()?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let record = rest.get(..length)?;
    Some((u64::from_be_bytes(*index), record, &rest[length..]))
}

/// The position after an entry.
///
/// # Errors
/// The entry can't follow `last`: why.
pub(super) fn follow(last: ArchivePosition, entry: &Entry) -> Result<ArchivePosition, String> {
    let next = ArchivePosition {
        index: entry.id.index.0,
        term: entry.id.term.0,
        time_ms: entry.time_ms,
    };
    if next.index != last.index + 1 {
        return Err(format!("entry {} follows entry {}", next.index, last.index));
    }
    if next.term < last.term {
        return Err(format!(
            "entry {} has term {}, less than the one before",
            next.index, next.term
        ));
    }
    // What the state machine sees: a time that never decreases.
    Ok(ArchivePosition {
        time_ms: next.time_ms.max(last.time_ms),
        ..next
    })
}

fn read_head(
    from: &mut impl Read,
    path: &Path,
) -> Result<(SegmentDescription, Vec<u8>), ArchiveError> {
    let damaged = |what: &str| ArchiveError::Damaged {
        path: path.to_owned(),
        offset: 0,
        what: what.to_owned(),
    };
    let mut take = |bytes: &mut [u8]| {
        from.read_exact(bytes).map_err(|error| {
            if error.kind() == ErrorKind::UnexpectedEof {
                damaged("its head is cut short")
            } else {
                failed("read", path)(error)
            }
        })
    };
    let mut head = vec![0; HEAD_BYTES];
    take(&mut head)?;
    if head[..MAGIC.len()] != *MAGIC {
        return Err(ArchiveError::NotASegment(path.to_owned()));
    }
    let number = |at: usize| {
        head[at..at + 4]
            .iter()
            .fold(0, |n, b| n << 8 | u32::from(*b))
    };
    let (version, length) = (number(8), number(12) as usize);
    if version != VERSION {
        return Err(ArchiveError::TooNew {
            path: path.to_owned(),
            found: version,
            known: VERSION,
        });
    }
    if length > MAX_DESCRIPTION_BYTES {
        return Err(damaged("the length of its description is wrong"));
    }
    head.resize(HEAD_BYTES + length + CHECKSUM_BYTES, 0);
    take(&mut head[HEAD_BYTES..])?;
    let (covered, checksum) = head.split_at(HEAD_BYTES + length);
    if crc32c::crc32c(covered).to_be_bytes() != checksum {
        return Err(damaged("the checksum of its head is wrong"));
    }
    let description = serde_json::from_slice(&covered[HEAD_BYTES..]);
    let description = description.map_err(|_| damaged("its description is not valid"))?;
    Ok((description, head))
}

/// The last entry of a sealed segment, from its last block only. `None` if the file does not end with one.
pub(super) fn sealed_end(path: &Path) -> Result<Option<ArchivePosition>, ArchiveError> {
    let mut file = File::open(path).map_err(failed("read", path))?;
    let length = file.metadata().map_err(failed("read", path))?.len();
    if length < END_BLOCK_BYTES as u64 {
        return Ok(None);
    }
    let mut bytes = [0; END_BLOCK_BYTES];
    let start = SeekFrom::Start(length - END_BLOCK_BYTES as u64);
    file.seek(start)
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(failed("read", path))?;
    let block = find_block(&bytes).filter(|block| block.kind == END && block.length == bytes.len());
    Ok(block
        .and_then(|block| read_end_body(block.body))
        .map(|(last, _)| last))
}
