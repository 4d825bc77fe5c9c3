//! Every byte that a node keeps: the records of the log database and the header of a snapshot file.
//!
//! All numbers are big-endian. Every record begins with its version and ends with the CRC-32C of its key and of
//! everything before the checksum; that much holds for all versions, so that damage is told from novelty.
//! `host/docs/formats.md` has the tables.

mod members;
#[cfg(test)]
mod tests;

use std::path::Path;

use bytes::{Buf, Bytes, TryGetError};
use thiserror::Error;

use super::{Memory, StorageError};
use crate::raft::membership::Membership;
use crate::types::{Command, Entry, HardState, Index, LogId, NodeId, Payload, SnapshotMeta, Term};

/// The version of the log database as a whole: which tables and records there are. From 2 on there is a record of
/// whether the store holds all that its node has promised: a program that does not know it must not vote by it.
pub(super) const FORMAT: u32 = 2;
/// A log database without that record.
pub(super) const FORMAT_WITHOUT_MEMORY: u32 = 1;
/// The newest version of a record.
const RECORD: u8 = 1;
/// The longest entry record, in bytes.
pub(super) const MAX_ENTRY_BYTES: u64 = 256 << 20;
/// The longest name of a node or a cluster, in bytes.
const MAX_NAME_BYTES: u64 = 1024;

const CHECKSUM_BYTES: usize = 4;
const LENGTH_BYTES: usize = 4;
/// Length of a command without its data: session, sequence and length.
const COMMAND_BYTES: u64 = 20;
const NOOP: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// First bytes of a snapshot file.
const SNAPSHOT_MAGIC: [u8; 8] = *b"OARLSNAP";
/// A snapshot file whose header says nothing of the members.
const SNAPSHOT: u32 = 1;
/// The newest version of a snapshot file: a record of the members follows the fields of the first one.
const SNAPSHOT_OF_MEMBERS: u32 = 2;
/// Length of a snapshot file's header without members; the state machine's bytes follow.
pub(super) const SNAPSHOT_HEADER_BYTES: usize = 52;
/// The longest header of a snapshot file.
pub(super) const MAX_SNAPSHOT_HEADER_BYTES: usize = SNAPSHOT_HEADER_BYTES + members::MAX_BYTES;

/// What is wrong with a record.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum RecordError {
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it is not a snapshot file")]
    Magic,
    #[error("it ends too soon")]
    CutShort,
    #[error("{0} bytes too many follow it")]
    LeftOver(usize),
    #[error("it has a part of kind {0}, which doesn't exist")]
    Kind(u8),
    #[error("a name in it is not UTF-8")]
    Name,
    #[error("it has version {found}, and this program reads up to {known}")]
    TooNew { found: u32, known: u32 },
}

impl RecordError {
    /// Says which record it is, and in which file.
    pub(super) fn of(self, record: impl Into<String>, path: &Path) -> StorageError {
        match self {
            Self::TooNew { found, known } => StorageError::TooNew {
                path: path.to_owned(),
                found,
                known,
            },
            damage => StorageError::Corrupt {
                record: record.into(),
                reason: damage.to_string(),
            },
        }
    }
}

impl From<TryGetError> for RecordError {
    fn from(_: TryGetError) -> Self {
        Self::CutShort
    }
}

/// Whose data it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node that writes here.
    pub node_id: NodeId,
    /// The cluster that it is in.
    pub cluster_id: String,
}

/// What a store is made as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Birth {
    /// Its number, which no other store has; 0 for one that has none.
    pub incarnation: u64,
    /// Whether it holds all that its node has promised.
    pub memory: Memory,
}

/// Writes the record of an entry into `record`, in place of what is there.
pub(super) fn encode_entry(entry: &Entry, record: &mut Vec<u8>) -> Result<(), StorageError> {
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
    }
    seal(&entry_key(entry.id.index), record);
    Ok(())
}

/// Reads the record of the entry at `index`.
pub(super) fn decode_entry(index: Index, record: &[u8]) -> Result<Entry, RecordError> {
    let mut body = unseal(&entry_key(index), record)?;
    let term = Term(body.try_get_u64()?);
    let time_ms = body.try_get_u64()?;
    let payload = match body.try_get_u8()? {
        NOOP => Payload::Noop,
        COMMANDS => Payload::Commands(get_commands(&mut body)?),
        MEMBERSHIP => Payload::Membership(members::get(&mut body)?),
        kind => return Err(RecordError::Kind(kind)),
    };
    finished(&body)?;
    Ok(Entry {
        id: LogId::new(term, index),
        time_ms,
        payload,
    })
}

/// Checks the record of the entry at `index` as [`decode_entry`] does, and keeps what a log is opened for: its id, and
/// the members where it says who they are. A long log is read whole at every start, so no command is copied.
pub(super) fn check_entry(
    index: Index,
    record: &[u8],
) -> Result<(LogId, Option<Membership>), RecordError> {
    let mut body = opened(&entry_key(index), record)?;
    let id = LogId::new(Term(body.try_get_u64()?), index);
    let _time_ms = body.try_get_u64()?;
    match body.try_get_u8()? {
        NOOP => {}
        COMMANDS => check_commands(&mut body)?,
        MEMBERSHIP => {
            let mut body = Bytes::copy_from_slice(body);
            let members = members::get(&mut body)?;
            finished(&body)?;
            return Ok((id, Some(members)));
        }
        kind => return Err(RecordError::Kind(kind)),
    }
    finished(body)?;
    Ok((id, None))
}

/// Writes a record of term and vote.
pub(super) fn encode_hard_state(key: &str, state: &HardState) -> Result<Vec<u8>, StorageError> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&state.term.0.to_be_bytes());
    record.push(u8::from(state.vote.is_some()));
    if let Some(vote) = &state.vote {
        put_name(&mut record, "the name of a node", vote.as_str())?;
    }
    seal(key.as_bytes(), &mut record);
    Ok(record)
}

/// Reads a record of term and vote.
pub(super) fn decode_hard_state(key: &str, record: &[u8]) -> Result<HardState, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let term = Term(body.try_get_u64()?);
    let vote = match body.try_get_u8()? {
        0 => None,
        1 => Some(NodeId::from(get_name(&mut body)?)),
        kind => return Err(RecordError::Kind(kind)),
    };
    finished(&body)?;
    Ok(HardState { term, vote })
}

/// Writes a record that names an entry.
pub(super) fn encode_log_id(key: &str, id: LogId) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&id.term.0.to_be_bytes());
    record.extend_from_slice(&id.index.0.to_be_bytes());
    seal(key.as_bytes(), &mut record);
    record
}

/// Reads a record that names an entry.
pub(super) fn decode_log_id(key: &str, record: &[u8]) -> Result<LogId, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let id = LogId::new(Term(body.try_get_u64()?), Index(body.try_get_u64()?));
    finished(&body)?;
    Ok(id)
}

/// Writes the record that says whose database this is, and in which format.
pub(super) fn encode_identity(
    key: &str,
    format: u32,
    identity: &Identity,
) -> Result<Vec<u8>, StorageError> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&format.to_be_bytes());
    put_name(&mut record, "the name of a node", identity.node_id.as_str())?;
    put_name(&mut record, "the name of a cluster", &identity.cluster_id)?;
    seal(key.as_bytes(), &mut record);
    Ok(record)
}

/// Reads the record that says in which format this database is, and whose it is; refuses a newer format.
pub(super) fn decode_identity(key: &str, record: &[u8]) -> Result<(u32, Identity), RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let format = body.try_get_u32()?;
    if format > FORMAT {
        return Err(RecordError::TooNew {
            found: format,
            known: FORMAT,
        });
    }
    let node_id = NodeId::from(get_name(&mut body)?);
    let cluster_id = get_name(&mut body)?;
    finished(&body)?;
    let identity = Identity {
        node_id,
        cluster_id,
    };
    Ok((format, identity))
}

/// Writes the record that says which store this is, and whether it holds all that its node has promised.
pub(super) fn encode_memory(key: &str, birth: Birth) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&birth.incarnation.to_be_bytes());
    record.push(match birth.memory {
        Memory::Whole => 0,
        Memory::Empty => 1,
        Memory::Lost => 2,
    });
    seal(key.as_bytes(), &mut record);
    record
}

/// Reads the record that says which store this is, and whether it holds all that its node has promised.
pub(super) fn decode_memory(key: &str, record: &[u8]) -> Result<Birth, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let incarnation = body.try_get_u64()?;
    let memory = match body.try_get_u8()? {
        0 => Memory::Whole,
        1 => Memory::Empty,
        2 => Memory::Lost,
        kind => return Err(RecordError::Kind(kind)),
    };
    finished(&body)?;
    Ok(Birth {
        incarnation,
        memory,
    })
}

/// Writes the header of a snapshot file. Where it knows no members, it is that of the first version.
pub(super) fn encode_snapshot_header(meta: &SnapshotMeta) -> Vec<u8> {
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
        // Bound to the fields before it: the members of another snapshot are damage.
        seal(&header, &mut record);
        header.append(&mut record);
    }
    header
}

/// Length of a snapshot file's header: where the state machine's bytes begin.
pub(super) fn snapshot_header_bytes(meta: &SnapshotMeta) -> u64 {
    let members = meta.membership.as_ref().map_or(0, |membership| {
        LENGTH_BYTES + members::length(membership) + CHECKSUM_BYTES
    });
    (SNAPSHOT_HEADER_BYTES + members) as u64
}

/// Reads the header of a snapshot file from the file's first bytes, which may be more than the header.
pub(super) fn decode_snapshot_header(bytes: &[u8]) -> Result<SnapshotMeta, RecordError> {
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

/// The key of an entry as its checksum covers it: a record in another one's place is damage.
fn entry_key(index: Index) -> [u8; 8] {
    index.0.to_be_bytes()
}

/// Refuses an entry whose record would be too long.
pub(super) fn check_entry_size(entry: &Entry) -> Result<(), StorageError> {
    check_size(record_bytes(entry), MAX_ENTRY_BYTES, || {
        format!("entry {}", entry.id.index)
    })
}

/// Length of an entry's record: version, term, time, kind and checksum, and the commands with their number.
fn record_bytes(entry: &Entry) -> u64 {
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
    }
}

fn check_size(bytes: u64, limit: u64, what: impl FnOnce() -> String) -> Result<(), StorageError> {
    if bytes > limit {
        Err(StorageError::TooLarge {
            what: what(),
            bytes,
            limit,
        })
    } else {
        Ok(())
    }
}

fn start(record: &mut Vec<u8>) {
    record.clear();
    record.push(RECORD);
}

fn seal(key: &[u8], record: &mut Vec<u8>) {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(key), record);
    record.extend_from_slice(&checksum.to_be_bytes());
}

/// What a right checksum covers.
fn checked<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let (covered, checksum) = record
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(RecordError::CutShort)?;
    if crc32c::crc32c_append(crc32c::crc32c(key), covered) != u32::from_be_bytes(*checksum) {
        return Err(RecordError::Checksum);
    }
    Ok(covered)
}

/// The record between version and checksum, both found right, to be kept.
fn unseal(key: &[u8], record: &[u8]) -> Result<Bytes, RecordError> {
    Ok(Bytes::copy_from_slice(opened(key, record)?))
}

/// The record between version and checksum, both found right.
fn opened<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], RecordError> {
    let mut body = checked(key, record)?;
    match body.try_get_u8()? {
        RECORD => Ok(body),
        found => Err(RecordError::TooNew {
            found: found.into(),
            known: RECORD.into(),
        }),
    }
}

fn finished(body: &[u8]) -> Result<(), RecordError> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(RecordError::LeftOver(body.len()))
    }
}

fn put_length(record: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length)
        .unwrap_or_else(|_| unreachable!("sizes were checked against limits far below 4 GiB"));
    record.extend_from_slice(&length.to_be_bytes());
}

fn get_bytes(body: &mut Bytes) -> Result<Bytes, RecordError> {
    let length = body.try_get_u32()? as usize;
    if length > body.len() {
        return Err(RecordError::CutShort);
    }
    Ok(body.split_to(length))
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

/// Passes over the commands that [`get_commands`] would take.
fn check_commands(body: &mut &[u8]) -> Result<(), RecordError> {
    for _ in 0..get_count(body)? {
        let _session = body.try_get_u64()?;
        let _sequence = body.try_get_u64()?;
        let length = body.try_get_u32()? as usize;
        *body = body.get(length..).ok_or(RecordError::CutShort)?;
    }
    Ok(())
}

/// How many commands follow. A count that can't be true must not reserve memory.
fn get_count(body: &mut impl Buf) -> Result<usize, RecordError> {
    let count = body.try_get_u32()? as usize;
    if count > body.remaining() / COMMAND_BYTES as usize {
        return Err(RecordError::CutShort);
    }
    Ok(count)
}

fn put_name(record: &mut Vec<u8>, what: &str, name: &str) -> Result<(), StorageError> {
    check_size(name.len() as u64, MAX_NAME_BYTES, || what.to_owned())?;
    put_length(record, name.len());
    record.extend_from_slice(name.as_bytes());
    Ok(())
}

fn get_name(body: &mut Bytes) -> Result<String, RecordError> {
    String::from_utf8(get_bytes(body)?.into()).map_err(|_| RecordError::Name)
}
