//! The header of a snapshot file.

use bytes::{Buf, Bytes};

use super::members;
use super::record::{
    CHECKSUM_BYTES, LENGTH_BYTES, RecordError, checked, finished, put_length, seal,
};
use crate::entry::SnapshotMeta;
use crate::ids::{Index, LogId, Term};
use crate::raft::membership::Membership;

/// First bytes of a snapshot file.
const SNAPSHOT_MAGIC: [u8; 8] = *b"OARLSNAP";
/// Version of a snapshot file without a configuration.
const SNAPSHOT: u32 = 1;
/// The newest version of a snapshot file: the record of a configuration follows the fields of version 1.
const SNAPSHOT_OF_MEMBERS: u32 = 2;
/// Length in bytes of a header without a configuration; the state machine's bytes follow.
pub(in crate::storage) const SNAPSHOT_HEADER_BYTES: usize = 52;
/// Length in bytes of the longest header.
pub(in crate::storage) const MAX_SNAPSHOT_HEADER_BYTES: usize =
    SNAPSHOT_HEADER_BYTES + members::MAX_BYTES;

/// Encodes the header of a snapshot file. A header without a configuration has version 1.
pub(in crate::storage) fn encode_snapshot_header(meta: &SnapshotMeta) -> Vec<u8> {
    let version = match meta.membership {
        None => SNAPSHOT,
        Some(_) => SNAPSHOT_OF_MEMBERS,
    };
    let mut header = Vec::with_capacity(SNAPSHOT_HEADER_BYTES);
    header.extend_from_slice(&SNAPSHOT_MAGIC);
    header.extend_from_slice(&version.to_be_bytes());
    header.extend_from_slice(&meta.last.term.0.to_be_bytes());
    header.extend_from_slice(&meta.last.index.0.to_be_bytes());
    header.extend_from_slice(&meta.time_ms.to_be_bytes());
    header.extend_from_slice(&meta.length.to_be_bytes());
    header.extend_from_slice(&meta.checksum.to_be_bytes());
    seal(&[], &mut header);
    if let Some(membership) = &meta.membership {
        let mut record = Vec::new();
        put_length(&mut record, members::length(membership));
        members::put(&mut record, membership);
        // The checksum covers the fields too: the configuration of another snapshot is detected as corrupt.
        seal(&header, &mut record);
        header.append(&mut record);
    }
    header
}

/// Length of a snapshot file's header in bytes; the state machine's bytes follow.
pub(in crate::storage) fn snapshot_header_bytes(meta: &SnapshotMeta) -> u64 {
    let members = meta.membership.as_ref().map_or(0, |membership| {
        LENGTH_BYTES + members::length(membership) + CHECKSUM_BYTES
    });
    (SNAPSHOT_HEADER_BYTES + members) as u64
}

/// Decodes the header of a snapshot file from the file's first bytes, which may be longer than the header.
pub(in crate::storage) fn decode_snapshot_header(
    bytes: &[u8],
) -> Result<SnapshotMeta, RecordError> {
    let (header, rest) = bytes
        .split_at_checked(SNAPSHOT_HEADER_BYTES)
        .ok_or(RecordError::CutShort)?;
    if header[..SNAPSHOT_MAGIC.len()] != SNAPSHOT_MAGIC {
        return Err(RecordError::Magic);
    }
    let mut body = &checked(&[], header)?[SNAPSHOT_MAGIC.len()..];
    let version = body.try_get_u32()?;
    let last = LogId::new(Term(body.try_get_u64()?), Index(body.try_get_u64()?));
    let mut meta = SnapshotMeta {
        last,
        time_ms: body.try_get_u64()?,
        length: body.try_get_u64()?,
        checksum: body.try_get_u32()?,
        membership: None,
    };
    match version {
        SNAPSHOT => {}
        SNAPSHOT_OF_MEMBERS => meta.membership = Some(decode_members(header, rest)?),
        found => {
            return Err(RecordError::TooNew {
                found,
                known: SNAPSHOT_OF_MEMBERS,
            });
        }
    }
    Ok(meta)
}

fn decode_members(header: &[u8], rest: &[u8]) -> Result<Membership, RecordError> {
    let length = (&mut &*rest).try_get_u32()? as usize;
    let record = rest
        .get(..length.saturating_add(LENGTH_BYTES + CHECKSUM_BYTES))
        .ok_or(RecordError::CutShort)?;
    let mut body = Bytes::copy_from_slice(&checked(header, record)?[LENGTH_BYTES..]);
    let membership = members::get(&mut body)?;
    finished(&body)?;
    Ok(membership)
}
