//! The record of a log entry.

use bytes::{Buf, Bytes};

use super::members;
use super::record::{
    RecordError, check_size, finished, get_bytes, opened, put_length, seal, start, unseal,
};
use crate::entry::{ClusterRecord, Command, Entry, Payload};
use crate::ids::{Index, Lineage, LogId, Term};
use crate::raft::membership::Membership;
use crate::storage::StorageError;

/// The longest entry record, in bytes.
pub(in crate::storage) const MAX_ENTRY_BYTES: u64 = 256 << 20;
/// Length of a command without its data: session, sequence and length.
const COMMAND_BYTES: u64 = 20;
const NOOP: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;
const CLUSTER: u8 = 3;

/// Length of a cluster record without its settings and its configuration: level, lineage and length of the settings.
const CLUSTER_BYTES: u64 = 24;

/// What every start keeps of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::storage) struct CheckedEntry {
    pub(in crate::storage) id: LogId,
    /// The configuration, if the entry contains one.
    pub(in crate::storage) membership: Option<Membership>,
    /// The record of the cluster, if the entry contains one.
    pub(in crate::storage) cluster: Option<ClusterRecord>,
}

/// Encodes an entry into `record`, replacing its content.
pub(in crate::storage) fn encode_entry(
    entry: &Entry,
    record: &mut Vec<u8>,
) -> Result<(), StorageError> {
    check_entry_size(entry)?;
    start(record);
    record.extend_from_slice(&entry.id.term.0.to_be_bytes());
    record.extend_from_slice(&entry.time_ms.to_be_bytes());
    match &entry.payload {
        Payload::Noop => record.push(NOOP),
        Payload::Commands(commands) => {
            record.push(COMMANDS);
            put_length(record, commands.len());
            for command in commands {
                record.extend_from_slice(&command.session.to_be_bytes());
                record.extend_from_slice(&command.sequence.to_be_bytes());
                put_length(record, command.data.len());
                record.extend_from_slice(&command.data);
            }
        }
        Payload::Membership(membership) => {
            record.push(MEMBERSHIP);
            members::put(record, membership);
        }
        Payload::Cluster(cluster) => put_cluster(record, cluster),
    }
    seal(&entry_key(entry.id.index), record);
    Ok(())
}

/// Decodes the record of the entry at `index`.
pub(in crate::storage) fn decode_entry(index: Index, record: &[u8]) -> Result<Entry, RecordError> {
    let mut body = unseal(&entry_key(index), record)?;
    let term = Term(body.try_get_u64()?);
    let time_ms = body.try_get_u64()?;
    let payload = match body.try_get_u8()? {
        NOOP => Payload::Noop,
        COMMANDS => Payload::Commands(get_commands(&mut body)?),
        MEMBERSHIP => Payload::Membership(members::get(&mut body)?),
        CLUSTER => Payload::Cluster(Box::new(get_cluster(&mut body)?)),
        kind => return Err(RecordError::Kind(kind)),
    };
    finished(&body)?;
    Ok(Entry {
        id: LogId::new(term, index),
        time_ms,
        payload,
    })
}

/// Checks the record of the entry at `index` as strictly as [`decode_entry`], and returns only what a start keeps of it. Every start reads the whole log with this function, so it copies no command.
pub(in crate::storage) fn check_entry(
    index: Index,
    record: &[u8],
) -> Result<CheckedEntry, RecordError> {
    let mut body = opened(&entry_key(index), record)?;
    let id = LogId::new(Term(body.try_get_u64()?), index);
    let _time_ms = body.try_get_u64()?;
    let mut checked = CheckedEntry {
        id,
        membership: None,
        cluster: None,
    };
    match body.try_get_u8()? {
        NOOP => {}
        COMMANDS => check_commands(&mut body)?,
        MEMBERSHIP => {
            let mut body = Bytes::copy_from_slice(body);
            checked.membership = Some(members::get(&mut body)?);
            finished(&body)?;
            return Ok(checked);
        }
        CLUSTER => {
            let mut body = Bytes::copy_from_slice(body);
            let cluster = get_cluster(&mut body)?;
            finished(&body)?;
            checked.membership = Some(cluster.membership.clone());
            checked.cluster = Some(cluster);
            return Ok(checked);
        }
        kind => return Err(RecordError::Kind(kind)),
    }
    finished(body)?;
    Ok(checked)
}

/// The key of an entry. The checksum covers it: a record under the key of another entry is corrupt.
pub(super) fn entry_key(index: Index) -> [u8; 8] {
    index.0.to_be_bytes()
}

/// Refuses an entry whose record is over [`MAX_ENTRY_BYTES`].
pub(in crate::storage) fn check_entry_size(entry: &Entry) -> Result<(), StorageError> {
    check_size(record_bytes(entry), MAX_ENTRY_BYTES, || {
        format!("entry {}", entry.id.index)
    })
}

/// Length of an entry's record in bytes: version, term, time, kind, payload and checksum.
pub(super) fn record_bytes(entry: &Entry) -> u64 {
    const ENTRY: u64 = 22;
    const COUNT: u64 = 4;
    match &entry.payload {
        Payload::Noop => ENTRY,
        Payload::Commands(commands) => {
            let data: u64 = commands
                .iter()
                .map(|command| command.data.len() as u64)
                .sum();
            ENTRY + COUNT + COMMAND_BYTES * commands.len() as u64 + data
        }
        Payload::Membership(membership) => ENTRY + members::length(membership) as u64,
        Payload::Cluster(cluster) => {
            let members = members::length(&cluster.membership) as u64;
            ENTRY + CLUSTER_BYTES + cluster.settings.len() as u64 + members
        }
    }
}

fn put_cluster(record: &mut Vec<u8>, cluster: &ClusterRecord) {
    record.push(CLUSTER);
    record.extend_from_slice(&cluster.level.to_be_bytes());
    record.extend_from_slice(&cluster.lineage.0.to_be_bytes());
    put_length(record, cluster.settings.len());
    record.extend_from_slice(&cluster.settings);
    members::put(record, &cluster.membership);
}

fn get_cluster(body: &mut Bytes) -> Result<ClusterRecord, RecordError> {
    Ok(ClusterRecord {
        level: body.try_get_u32()?,
        lineage: Lineage(body.try_get_u128()?),
        settings: get_bytes(body)?,
        membership: members::get(body)?,
    })
}

fn get_commands(body: &mut Bytes) -> Result<Vec<Command>, RecordError> {
    let count = get_count(body)?;
    (0..count)
        .map(|_| {
            let session = body.try_get_u64()?;
            let sequence = body.try_get_u64()?;
            Ok(Command {
                session,
                sequence,
                data: get_bytes(body)?,
            })
        })
        .collect()
}

/// Checks and skips the commands that [`get_commands`] would decode.
fn check_commands(body: &mut &[u8]) -> Result<(), RecordError> {
    for _ in 0..get_count(body)? {
        let _session = body.try_get_u64()?;
        let _sequence = body.try_get_u64()?;
        let length = body.try_get_u32()? as usize;
        *body = body.get(length..).ok_or(RecordError::CutShort)?;
    }
    Ok(())
}

/// Decodes the number of commands. It is checked against the remaining bytes before memory is reserved.
fn get_count(body: &mut impl Buf) -> Result<usize, RecordError> {
    let count = body.try_get_u32()? as usize;
    if count > body.remaining() / COMMAND_BYTES as usize {
        return Err(RecordError::CutShort);
    }
    Ok(count)
}
