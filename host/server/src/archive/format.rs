//! The bytes of a segment. Numbers are big-endian.

use serde::{Deserialize, Serialize};
use task_queue_raft::storage::entry_record::MAX_RECORD_BYTES;

pub(super) const MAGIC: &[u8; 8] = b"OARLENTR";
pub(super) const VERSION: u32 = 1;
/// Magic, version and length of the description.
pub(super) const HEAD_BYTES: usize = 16;
pub(super) const MAX_DESCRIPTION_BYTES: usize = 64 << 10;
pub(super) const CHECKSUM_BYTES: usize = 4;
/// Kind, number and length.
pub(super) const BLOCK_HEAD_BYTES: usize = 13;
/// Index and length of a record.
pub(super) const ENTRY_HEAD_BYTES: usize = 12;
/// Most bytes of entries in one block, after its first entry.
pub(super) const BLOCK_BYTES: usize = 4 << 20;
/// The longest body of a block: one entry of any size, and others.
pub(super) const MAX_BODY_BYTES: u64 = MAX_RECORD_BYTES + BLOCK_BYTES as u64 + (1 << 20);

pub(super) const ENTRIES: u8 = 1;
pub(super) const END: u8 = 2;
/// Body of the last block: index, term and time of the last entry, SHA-256.
pub(super) const END_BODY_BYTES: usize = 8 + 8 + 8 + 32;
/// The whole last block.
pub(super) const END_BLOCK_BYTES: usize = BLOCK_HEAD_BYTES + END_BODY_BYTES + CHECKSUM_BYTES;

/// An entry, as a place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArchivePosition {
    /// Its index.
    pub(crate) index: u64,
    /// Its term.
    pub(crate) term: u64,
    /// Its time, in milliseconds since 1970.
    pub(crate) time_ms: u64,
}

/// The description of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentDescription {
    /// The cluster.
    pub(crate) cluster_id: String,
    /// Its history, in hex.
    pub(crate) lineage: String,
    /// The entry before the first one.
    pub(crate) before: ArchivePosition,
    /// The entry before the first one is the last one of a base, and the entries before that are not in the archive.
    pub(crate) after_base: bool,
}

/// The first bytes of a segment.
pub(super) fn head(description: &SegmentDescription) -> serde_json::Result<Vec<u8>> {
    let text = serde_json::to_vec(description)?;
    // Names of clusters have at most 1,024 bytes.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut head = Vec::with_capacity(HEAD_BYTES + text.len() + CHECKSUM_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_be_bytes());
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&text);
    head.extend_from_slice(&crc32c::crc32c(&head).to_be_bytes());
    Ok(head)
}

/// A block.
pub(super) fn block(kind: u8, number: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut block = Vec::with_capacity(BLOCK_HEAD_BYTES + body.len() + CHECKSUM_BYTES);
    block.push(kind);
    block.extend_from_slice(&number.to_be_bytes());
    block.extend_from_slice(&length.to_be_bytes());
    block.extend_from_slice(body);
    block.extend_from_slice(&crc32c::crc32c(&block).to_be_bytes());
    block
}

/// The body of the last block.
pub(super) fn end_body(last: ArchivePosition, sha256: &[u8; 32]) -> Vec<u8> {
    let mut body = Vec::with_capacity(END_BODY_BYTES);
    for number in [last.index, last.term, last.time_ms] {
        body.extend_from_slice(&number.to_be_bytes());
    }
    body.extend_from_slice(sha256);
    body
}

/// The last entry and the digest in the body of the last block.
pub(super) fn read_end_body(body: &[u8]) -> Option<(ArchivePosition, [u8; 32])> {
    let (numbers, digest) = body.split_last_chunk::<32>()?;
    let number = |at: usize| {
        Some(u64::from_be_bytes(
            numbers.get(at..at + 8)?.try_into().ok()?,
        ))
    };
    (body.len() == END_BODY_BYTES).then_some(())?;
    let last = ArchivePosition {
        index: number(0)?,
        term: number(8)?,
        time_ms: number(16)?,
    };
    Some((last, *digest))
}

/// A block at the begin of some bytes.
pub(super) struct FoundBlock<'b> {
    pub(super) kind: u8,
    pub(super) number: u64,
    pub(super) body: &'b [u8],
    /// Length of the whole block.
    pub(super) length: usize,
}

/// What the head of a block tells: kind, number and length of its body. `None` if it can't be one.
pub(super) fn block_head(head: &[u8]) -> Option<(u8, u64, u64)> {
    let head = head.first_chunk::<BLOCK_HEAD_BYTES>()?;
    let kind = head[0];
    let number = head[1..9].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let length = head[9..].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let is_known = (kind == ENTRIES && length <= MAX_BODY_BYTES)
        || (kind == END && length == END_BODY_BYTES as u64);
    is_known.then_some((kind, number, length))
}

/// The block with which `bytes` begin, if it is complete and its checksum is right.
pub(super) fn find_block(bytes: &[u8]) -> Option<FoundBlock<'_>> {
    let (kind, number, length) = block_head(bytes)?;
    let end = BLOCK_HEAD_BYTES.checked_add(usize::try_from(length).ok()?)?;
    let checksum = bytes.get(end..end.checked_add(CHECKSUM_BYTES)?)?;
    let covered = &bytes[..end];
    (crc32c::crc32c(covered).to_be_bytes() == checksum).then_some(FoundBlock {
        kind,
        number,
        body: &covered[BLOCK_HEAD_BYTES..],
        length: end + CHECKSUM_BYTES,
    })
}
