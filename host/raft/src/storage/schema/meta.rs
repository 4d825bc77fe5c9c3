//! The records of the log database that are not entries: identity, term and vote, purge position, state of the store.

use bytes::Buf;

use super::record::{RecordError, finished, get_name, put_name, seal, start, unseal};
use crate::entry::HardState;
use crate::ids::{Index, LogId, NodeId, StoreId, Term};
use crate::storage::{StorageError, StoreState};

/// The version of the log database as a whole: which tables and records there are. Since version 2 there is a record
/// of the store's state. A program that ignores that record could vote twice in one term, so it must refuse version 2.
pub(in crate::storage) const FORMAT: u32 = 2;
/// The version of a log database without that record.
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

/// Encodes the id of an entry.
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
