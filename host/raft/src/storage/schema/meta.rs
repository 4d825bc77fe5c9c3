//! The records of the log database that are not entries: identity, term and vote, purge position, state of the store.

use std::time::Duration;

use bytes::Buf;

use super::record::{RecordError, finished, get_name, put_length, put_name, seal, start, unseal};
use crate::entry::HardState;
use crate::identity::{MetPeer, RunHistory};
use crate::ids::{Index, LogId, NodeId, StoreId, Term};
use crate::storage::{StorageError, StoreState};

/// The version of the database as a whole: which tables and records there are. Since version 4 the entries are in segments. A
/// program that looks for them in the database must refuse version 4.
pub(in crate::storage) const FORMAT: u32 = 4;
/// The last version in which the database contains the entries. It is read, and migrated.
pub(in crate::storage) const FORMAT_WITH_ENTRIES: u32 = 3;
/// The version of a database without a record of the store's state.
pub(in crate::storage) const FORMAT_WITHOUT_STORE_INIT: u32 = 1;

/// The node and cluster that a store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the node.
    pub node_id: NodeId,
    /// Id of the cluster; empty for a node that has not joined one yet.
    pub cluster_id: String,
}

/// The properties of a new store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreInit {
    /// Id of the store, drawn at random when it is created; 0 for a store without an id.
    pub store_id: StoreId,
    /// Whether the store contains all votes and acknowledgements of its node.
    pub state: StoreState,
}

/// Encodes term and vote.
pub(in crate::storage) fn encode_hard_state(
    key: &str,
    state: &HardState,
) -> Result<Vec<u8>, StorageError> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&state.term.0.to_be_bytes());
    record.push(u8::from(state.vote.is_some()));
    if let Some(vote) = &state.vote {
        put_name(&mut record, "the node id", vote.as_str())?;
    }
    seal(key.as_bytes(), &mut record);
    Ok(record)
}

/// Decodes term and vote.
pub(in crate::storage) fn decode_hard_state(
    key: &str,
    record: &[u8],
) -> Result<HardState, RecordError> {
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

/// Encodes the id of an entry, as a database with entries contains it.
#[cfg(any(test, feature = "testing"))]
pub(in crate::storage) fn encode_log_id(key: &str, id: LogId) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&id.term.0.to_be_bytes());
    record.extend_from_slice(&id.index.0.to_be_bytes());
    seal(key.as_bytes(), &mut record);
    record
}

/// Decodes the id of an entry.
pub(in crate::storage) fn decode_log_id(key: &str, record: &[u8]) -> Result<LogId, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let id = LogId::new(Term(body.try_get_u64()?), Index(body.try_get_u64()?));
    finished(&body)?;
    Ok(id)
}

/// Encodes the identity of the store and the format of the database.
pub(in crate::storage) fn encode_identity(
    key: &str,
    format: u32,
    identity: &Identity,
) -> Result<Vec<u8>, StorageError> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&format.to_be_bytes());
    put_name(&mut record, "the node id", identity.node_id.as_str())?;
    put_name(&mut record, "the cluster id", &identity.cluster_id)?;
    seal(key.as_bytes(), &mut record);
    Ok(record)
}

/// Decodes the identity of the store and the format of the database; refuses a newer format.
pub(in crate::storage) fn decode_identity(
    key: &str,
    record: &[u8],
) -> Result<(u32, Identity), RecordError> {
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

/// Encodes the store id and the state of the store.
pub(in crate::storage) fn encode_store_init(key: &str, init: StoreInit) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&init.store_id.0.to_be_bytes());
    record.push(match init.state {
        StoreState::Complete => 0,
        StoreState::New => 1,
        StoreState::Incomplete => 2,
    });
    seal(key.as_bytes(), &mut record);
    record
}

/// Decodes the store id and the state of the store.
pub(in crate::storage) fn decode_store_init(
    key: &str,
    record: &[u8],
) -> Result<StoreInit, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let store_id = StoreId(body.try_get_u64()?);
    let state = match body.try_get_u8()? {
        0 => StoreState::Complete,
        1 => StoreState::New,
        2 => StoreState::Incomplete,
        kind => return Err(RecordError::Kind(kind)),
    };
    finished(&body)?;
    Ok(StoreInit { store_id, state })
}

/// Encodes the runs of a store.
pub(in crate::storage) fn encode_runs(key: &str, runs: &RunHistory) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&runs.number.to_be_bytes());
    put_length(&mut record, runs.recent.len());
    for run in &runs.recent {
        record.extend_from_slice(&run.to_be_bytes());
    }
    seal(key.as_bytes(), &mut record);
    record
}

/// Decodes the runs of a store.
pub(in crate::storage) fn decode_runs(key: &str, record: &[u8]) -> Result<RunHistory, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let number = body.try_get_u64()?;
    let recent = get_numbers(&mut body)?;
    finished(&body)?;
    Ok(RunHistory { number, recent })
}

/// Encodes the memory of the peers that a node has met.
pub(in crate::storage) fn encode_met(
    key: &str,
    met: &[(NodeId, MetPeer)],
) -> Result<Vec<u8>, StorageError> {
    let mut record = Vec::new();
    start(&mut record);
    put_length(&mut record, met.len());
    for (id, peer) in met {
        put_name(&mut record, "the node id", id.as_str())?;
        for number in [peer.store_id.0, peer.number, peer.run] {
            record.extend_from_slice(&number.to_be_bytes());
        }
        put_length(&mut record, peer.replaced.len());
        for store_id in &peer.replaced {
            record.extend_from_slice(&store_id.0.to_be_bytes());
        }
    }
    seal(key.as_bytes(), &mut record);
    Ok(record)
}

/// Decodes the memory of the peers that a node has met.
pub(in crate::storage) fn decode_met(
    key: &str,
    record: &[u8],
) -> Result<Vec<(NodeId, MetPeer)>, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let mut met = Vec::new();
    for _ in 0..body.try_get_u32()? {
        let id = NodeId::from(get_name(&mut body)?);
        let peer = MetPeer {
            store_id: StoreId(body.try_get_u64()?),
            number: body.try_get_u64()?,
            run: body.try_get_u64()?,
            replaced: get_numbers(&mut body)?.into_iter().map(StoreId).collect(),
        };
        met.push((id, peer));
    }
    finished(&body)?;
    Ok(met)
}

/// Encodes the length of a lease, rounded up to milliseconds.
pub(in crate::storage) fn encode_lease(key: &str, lease: Duration) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    let ms = u64::try_from(lease.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    record.extend_from_slice(&ms.to_be_bytes());
    seal(key.as_bytes(), &mut record);
    record
}

/// Encodes the id of the log: which directory of segments belongs to the database.
pub(in crate::storage) fn encode_log_name(key: &str, log_id: u64) -> Vec<u8> {
    let mut record = Vec::new();
    start(&mut record);
    record.extend_from_slice(&log_id.to_be_bytes());
    seal(key.as_bytes(), &mut record);
    record
}

/// Decodes the id of the log.
pub(in crate::storage) fn decode_log_name(key: &str, record: &[u8]) -> Result<u64, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let log_id = body.try_get_u64()?;
    finished(&body)?;
    Ok(log_id)
}

/// Decodes the length of a lease.
pub(in crate::storage) fn decode_lease(key: &str, record: &[u8]) -> Result<Duration, RecordError> {
    let mut body = unseal(key.as_bytes(), record)?;
    let ms = body.try_get_u64()?;
    finished(&body)?;
    Ok(Duration::from_millis(ms))
}

/// Decodes a list of numbers. Its length is checked against the remaining bytes before memory is reserved.
fn get_numbers(body: &mut impl Buf) -> Result<Vec<u64>, RecordError> {
    let count = body.try_get_u32()? as usize;
    if count > body.remaining() / 8 {
        return Err(RecordError::CutShort);
    }
    (0..count).map(|_| Ok(body.try_get_u64()?)).collect()
}
