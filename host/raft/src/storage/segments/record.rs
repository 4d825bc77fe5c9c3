//! The bytes of a write: entries, and what is removed from the log before them.
//!
//! ```text
//! offset  bytes  content
//!      0      1  version, 1
//!      1      1  kind: 0 entries, 1 reset: the log is empty and continues after `purged`
//!      2      4  sequence of the segment
//!      6      8  number of the write, one more than that of the write before
//!     14      4  checksum of the write before
//!     18     16  purged: term and index of the entry up to which the log is purged
//!     34     16  before: term and index of the entry before the first one of this write
//!     50      8  entries from this index on are removed first; 0: none
//!     58      4  count of entries
//!     62      4  n, length of the entries
//!     66      n  each: u64 index, u64 term, u32 length, record of the entry
//!   66+n      4  CRC-32C of the checksum of the write before, then of all bytes before this one
//! ```
//!
//! A write begins with a sector. Its bytes are the contents of its sectors, one after the other.

use bytes::Buf;

use super::sector::CONTENT_BYTES;
use crate::entry::Entry;
use crate::ids::{Index, LogId, Term};
use crate::storage::schema::RecordError;
use crate::storage::{StorageError, schema};

const VERSION: u8 = 1;
const ENTRIES: u8 = 0;
const RESET: u8 = 1;
/// Length of the bytes before the entries.
pub(super) const HEAD_BYTES: usize = 66;
const CHECKSUM_BYTES: usize = 4;
/// The longest write, in bytes.
const MAX_WRITE_BYTES: u64 = 1 << 30;

/// The fixed part of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteHead {
    pub(super) sequence: u32,
    pub(super) number: u64,
    /// Checksum of the write before.
    pub(super) previous: u32,
    pub(super) purged: LogId,
    /// The last entry that is left after entries were removed, and before those of this write are added.
    pub(super) before: LogId,
    /// The log is empty after this write, and continues after `purged`.
    pub(super) reset: bool,
    /// Entries from here on are removed first.
    pub(super) truncate_from: Option<Index>,
    pub(super) count: u32,
    /// Length of the entries.
    pub(super) bytes: u32,
}

impl WriteHead {
    /// Sectors of the write.
    pub(super) fn sectors(&self) -> u32 {
        sectors_of(HEAD_BYTES + self.bytes as usize + CHECKSUM_BYTES)
    }

    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let mut rest = head.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            let (field, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            field.copy_from_slice(bytes);
            rest = after;
        };
        put(&[VERSION, if self.reset { RESET } else { ENTRIES }]);
        put(&self.sequence.to_be_bytes());
        put(&self.number.to_be_bytes());
        put(&self.previous.to_be_bytes());
        for id in [self.purged, self.before] {
            put(&id.term.0.to_be_bytes());
            put(&id.index.0.to_be_bytes());
        }
        put(&self.truncate_from.unwrap_or_default().0.to_be_bytes());
        put(&self.count.to_be_bytes());
        put(&self.bytes.to_be_bytes());
        head
    }

    /// Decodes the head from the first bytes of a write.
    pub(super) fn decode(mut body: &[u8]) -> Result<Self, RecordError> {
        let version = body.try_get_u8()?;
        if version != VERSION {
            return Err(RecordError::TooNew {
                found: version.into(),
                known: VERSION.into(),
            });
        }
        let reset = match body.try_get_u8()? {
            ENTRIES => false,
            RESET => true,
            kind => return Err(RecordError::Kind(kind)),
        };
        let sequence = body.try_get_u32()?;
        let number = body.try_get_u64()?;
        let previous = body.try_get_u32()?;
        let mut id = || -> Result<LogId, RecordError> {
            let term = Term(body.try_get_u64()?);
            Ok(LogId::new(term, Index(body.try_get_u64()?)))
        };
        let (purged, before) = (id()?, id()?);
        let from = Index(body.try_get_u64()?);
        Ok(Self {
            sequence,
            number,
            previous,
            purged,
            before,
            reset,
            truncate_from: (from != Index::ZERO).then_some(from),
            count: body.try_get_u32()?,
            bytes: body.try_get_u32()?,
        })
    }
}

/// The sectors that so many bytes of content take.
pub(super) fn sectors_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(CONTENT_BYTES)).unwrap_or(u32::MAX)
}

/// A write that is not finished: its entries are encoded, and its head is not known yet.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    bytes: Vec<u8>,
    /// Offset and length of the record of each entry.
    records: Vec<(u32, u32)>,
    scratch: Vec<u8>,
}

impl WriteBuffer {
    /// Encodes entries; replaces what was there before.
    pub(super) fn fill(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        self.records.clear();
        for entry in entries {
            schema::encode_entry(entry, &mut self.scratch)?;
            let length = to_u32(self.scratch.len());
            let head = [
                entry.id.index.0.to_be_bytes(),
                entry.id.term.0.to_be_bytes(),
            ];
            self.bytes.extend_from_slice(head.as_flattened());
            self.bytes.extend_from_slice(&length.to_be_bytes());
            self.records.push((to_u32(self.bytes.len()), length));
            self.bytes.extend_from_slice(&self.scratch);
            if self.bytes.len() as u64 > MAX_WRITE_BYTES {
                return Err(StorageError::TooLarge {
                    what: "one write of the log".to_owned(),
                    bytes: self.bytes.len() as u64,
                    limit: MAX_WRITE_BYTES,
                });
            }
        }
        Ok(())
    }

    /// Sectors that the finished write takes.
    pub(super) fn sectors(&self) -> u32 {
        sectors_of(self.bytes.len() + CHECKSUM_BYTES)
    }

    /// Length of the entries.
    pub(super) fn entry_bytes(&self) -> u32 {
        to_u32(self.bytes.len() - HEAD_BYTES)
    }

    /// Offset and length of the record of each entry, within the write.
    pub(super) fn records(&self) -> &[(u32, u32)] {
        &self.records
    }

    /// Sets the head; returns the bytes of the write and its checksum.
    pub(super) fn finish(&mut self, head: &WriteHead) -> (&[u8], u32) {
        self.bytes[..HEAD_BYTES].copy_from_slice(&head.encode());
        let checksum = checksum_of(head.previous, &self.bytes);
        self.bytes.extend_from_slice(&checksum.to_be_bytes());
        (&self.bytes, checksum)
    }

    /// Gives back the memory of an unusually large write.
    pub(super) fn shrink(&mut self) {
        const KEPT: usize = 4 << 20;
        for buffer in [&mut self.bytes, &mut self.scratch] {
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
    }
}

/// A write that was read completely.
#[derive(Debug)]
pub(super) struct WriteBody<'a> {
    entries: &'a [u8],
    /// Its checksum.
    pub(super) checksum: u32,
    /// The checksum is right.
    pub(super) is_intact: bool,
}

impl<'a> WriteBody<'a> {
    /// Takes the bytes of a write apart; `None` if they are too short for its head.
    pub(super) fn open(head: &WriteHead, bytes: &'a [u8]) -> Option<Self> {
        let end = HEAD_BYTES + head.bytes as usize;
        let covered = bytes.get(..end)?;
        let mut stored = bytes.get(end..end + CHECKSUM_BYTES)?;
        let checksum = stored.try_get_u32().ok()?;
        Some(Self {
            entries: &covered[HEAD_BYTES..],
            checksum,
            is_intact: checksum == checksum_of(head.previous, covered),
        })
    }

    /// The entries: id, offset of the record within the write, record.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = Result<(LogId, u32, &'a [u8]), RecordError>> {
        let all = self.entries;
        let mut rest = all;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let next = take_entry(&mut rest).map(|(id, record)| {
                let end = all.len() - rest.len();
                (id, to_u32(HEAD_BYTES + end - record.len()), record)
            });
            if next.is_err() {
                rest = &[];
            }
            Some(next)
        })
    }
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Result<(LogId, &'a [u8]), RecordError> {
    let index = Index(rest.try_get_u64()?);
    let term = Term(rest.try_get_u64()?);
    let length = rest.try_get_u32()? as usize;
    let (record, after) = rest.split_at_checked(length).ok_or(RecordError::CutShort)?;
    *rest = after;
    Ok((LogId::new(term, index), record))
}

fn checksum_of(previous: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&previous.to_be_bytes()), bytes)
}

fn to_u32(length: usize) -> u32 {
    u32::try_from(length)
        .unwrap_or_else(|_| unreachable!("a write is checked against a limit below 4 GiB"))
}
