//! Audit records: how nodes compare their state hashes through the log.
//!
//! The leader proposes a request, and every node proposes a report with its own state hash after the request's entry.
//! All nodes apply the same reports for the same request, independently of the leader.
//!
//! ```text
//! kind 5 request   nothing
//! kind 6 report    u64 index of the request's entry · 32 the hash after it · the rest: name of the node, UTF-8
//! ```
//!
//! Audits of the complete state have the same records, in envelopes of version 3, with the kinds 17 and 18. Their hash is the
//! digest of the snapshot after the request's entry, or zeros if the guest writes the same state in different ways.

use bytes::{BufMut, Bytes, BytesMut};
use task_queue_raft::ids::Index;

use crate::records::digest::Sha256;

pub(crate) const REQUEST: u8 = 5;
pub(crate) const REPORT: u8 = 6;
pub(crate) const STATE_REQUEST: u8 = 17;
pub(crate) const STATE_REPORT: u8 = 18;

/// Longest name of a node, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 256;

/// Kind of a [`StateAcceptance`] among the records of version 3.
pub(crate) const ACCEPT: u8 = 2;

/// An operator's decision that the state of one node is the right one, where no majority of the voters agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateAcceptance {
    /// Index of the request's entry whose reports were compared.
    pub requested_at: Index,
    /// The accepted state hash after that entry.
    pub hash: Sha256,
    /// Name of the operator, at most 256 bytes.
    pub by: String,
}

impl StateAcceptance {
    /// Appends kind and content.
    pub(crate) fn encode(&self, to: &mut BytesMut) {
        to.put_u8(ACCEPT);
        to.put_u64_le(self.requested_at.0);
        to.put_slice(&self.hash.0);
        to.put_slice(self.by.as_bytes());
    }

    /// Reads the content, which follows the kind. `None` if it is malformed.
    pub(crate) fn decode(content: &[u8]) -> Option<Self> {
        let (index, rest) = content.split_first_chunk()?;
        let (hash, by) = rest.split_first_chunk()?;
        let by = std::str::from_utf8(by).ok()?;
        (by.len() <= MAX_NAME_BYTES).then(|| Self {
            requested_at: Index(u64::from_le_bytes(*index)),
            hash: Sha256(*hash),
            by: by.to_owned(),
        })
    }
}

/// A record of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditRecord {
    /// The leader requests the state hash after this entry.
    Request,
    /// A node reports its hash.
    Report {
        /// Index of the request's entry.
        requested_at: Index,
        /// The node's state hash after that entry.
        hash: Sha256,
        /// The node's name, at most 256 bytes.
        node: String,
    },
}

impl AuditRecord {
    /// Appends kind and content.
    pub(crate) fn encode(&self, to: &mut BytesMut) {
        match self {
            Self::Request => to.put_u8(REQUEST),
            Self::Report {
                requested_at,
                hash,
                node,
            } => {
                to.put_u8(REPORT);
                to.put_u64_le(requested_at.0);
                to.put_slice(&hash.0);
                to.put_slice(node.as_bytes());
            }
        }
    }

    /// Appends kind and content of a record of the complete state.
    pub(crate) fn encode_state(&self, to: &mut BytesMut) {
        let kind = to.len();
        self.encode(to);
        to[kind] = match self {
            Self::Request => STATE_REQUEST,
            Self::Report { .. } => STATE_REPORT,
        };
    }

    /// Reads what [`Self::encode_state`] wrote; `None` for anything else.
    pub(crate) fn decode_state(bytes: &[u8]) -> Option<Self> {
        let mut bytes = BytesMut::from(bytes);
        let kind = bytes.first_mut()?;
        *kind = match *kind {
            STATE_REQUEST => REQUEST,
            STATE_REPORT => REPORT,
            _ => return None,
        };
        Self::decode(&bytes.freeze())
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        match bytes.split_first()? {
            (&REQUEST, []) => Some(Self::Request),
            (&REPORT, rest) => {
                let (requested_at, rest) = rest.split_first_chunk()?;
                let (hash, node) = rest.split_first_chunk()?;
                let node = std::str::from_utf8(node).ok()?;
                (node.len() <= MAX_NAME_BYTES).then(|| Self::Report {
                    requested_at: Index(u64::from_le_bytes(*requested_at)),
                    hash: Sha256(*hash),
                    node: node.to_owned(),
                })
            }
            _ => None,
        }
    }
}
