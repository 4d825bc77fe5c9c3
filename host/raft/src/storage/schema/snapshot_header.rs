//! The header of a snapshot file.

use bytes::{Buf, Bytes};

use super::members;
use super::record::{
    CHECKSUM_BYTES, LENGTH_BYTES, RecordError, checked, finished, put_length, seal,
};
use crate::entry::{ClusterState, SnapshotMeta};
use crate::ids::{Index, Lineage, LogId, Term};

/// First bytes of a snapshot file.
const SNAPSHOT_MAGIC: [u8; 8] = *b"OARLSNAP";
/// Version of a snapshot file without a configuration.
const SNAPSHOT: u32 = 1;
/// The record of a configuration follows the fields of version 1.
const SNAPSHOT_OF_MEMBERS: u32 = 2;
/// The newest version of a snapshot file: in that record, level and lineage of the cluster are before the configuration. Only for
/// a cluster above level 0.
const SNAPSHOT_OF_CLUSTER: u32 = 3;
/// Length of level and lineage.
const CLUSTER_BYTES: usize = 4 + 16;
/// Length in bytes of a header without a configuration; the state machine's bytes follow.
pub(in crate::storage) const SNAPSHOT_HEADER_BYTES: usize = 52;
/// Length in bytes of the longest header.
pub(in crate::storage) const MAX_SNAPSHOT_HEADER_BYTES: usize =
    SNAPSHOT_HEADER_BYTES + CLUSTER_BYTES + members::MAX_BYTES;

/// Encodes the header of a snapshot file. A header without a configuration has version 1.
pub(in crate::storage) fn encode_snapshot_header(meta: &SnapshotMeta) -> Vec<u8> {
    let version = version_of(meta);
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
        put_length(
            &mut record,
            cluster_bytes(version) + members::length(membership),
        );
        if version == SNAPSHOT_OF_CLUSTER {
            record.extend_from_slice(&meta.cluster.level.to_be_bytes());
            record.extend_from_slice(&meta.cluster.lineage.0.to_be_bytes());
        }
        members::put(&mut record, membership);
        // The checksum covers the fields too: the configuration of another snapshot is detected as corrupt.
        seal(&header, &mut record);
        header.append(&mut record);
    }
    header
}

fn version_of(meta: &SnapshotMeta) -> u32 {
    match meta.membership {
        None => SNAPSHOT,
        Some(_) if meta.cluster.level == 0 => SNAPSHOT_OF_MEMBERS,
        Some(_) => SNAPSHOT_OF_CLUSTER,
    }
}

fn cluster_bytes(version: u32) -> usize {
    if version == SNAPSHOT_OF_CLUSTER {
        CLUSTER_BYTES
    } else {
        0
    }
}

/// Length of a snapshot file's header in bytes; the state machine's bytes follow.
pub(in crate::storage) fn snapshot_header_bytes(meta: &SnapshotMeta) -> u64 {
    let members = meta.membership.as_ref().map_or(0, |membership| {
        let cluster = cluster_bytes(version_of(meta));
        LENGTH_BYTES + cluster + members::length(membership) + CHECKSUM_BYTES
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
        cluster: ClusterState::default(),
    };
    match version {
        SNAPSHOT => {}
        SNAPSHOT_OF_MEMBERS | SNAPSHOT_OF_CLUSTER => {
            let mut body = decode_record(header, rest)?;
            if version == SNAPSHOT_OF_CLUSTER {
                meta.cluster.level = body.try_get_u32()?;
                meta.cluster.lineage = Lineage(body.try_get_u128()?);
            }
            meta.membership = Some(members::get(&mut body)?);
            finished(&body)?;
        }
        found => {
            return Err(RecordError::TooNew {
                found,
                known: SNAPSHOT_OF_CLUSTER,
            });
        }
    }
    Ok(meta)
}

/// The content of the record after the header.
fn decode_record(header: &[u8], rest: &[u8]) -> Result<Bytes, RecordError> {
    let length = (&mut &*rest).try_get_u32()? as usize;
    let record = rest
        .get(..length.saturating_add(LENGTH_BYTES + CHECKSUM_BYTES))
        .ok_or(RecordError::CutShort)?;
    Ok(Bytes::copy_from_slice(
        &checked(header, record)?[LENGTH_BYTES..],
    ))
}
