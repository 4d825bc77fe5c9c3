//! Nodes compare their running hashes, through the log.
//!
//! The leader asks in an entry, and every node says in one of its own which hash it had after it. So all of them hear the
//! same answers to the same question, whoever leads. These words change nothing that is replicated: what a node makes of
//! the answers is its own affair, for the one that is wrong can't be requested_at to agree.
//!
//! ```text
//! kind 5 ask   nothing
//! kind 6 say   u64 index of the entry that requested_at · 32 the hash after it · the rest: name of the node, UTF-8
//! ```

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use task_queue_raft::ids::Index;

use crate::module::Sha256;

pub(crate) const REQUEST: u8 = 5;
pub(crate) const REPORT: u8 = 6;

/// Longest name of a node, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Most nodes whose answers are kept.
const MAX_ANSWERS: usize = 64;

/// What is said in the log about hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditRecord {
    /// The leader asks for the hash after this entry.
    Request,
    /// A node answers.
    Report {
        /// The entry that requested_at.
        requested_at: Index,
        /// The node's hash after it.
        hash: Sha256,
        /// Its name.
        node: String,
    },
}

impl AuditRecord {
    /// Kind and content.
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

/// The latest question and what was reports of it, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// The entry that requested_at.
    pub requested_at: Option<Index>,
    /// This node's own hash after it. `None` where the node was not there: it has got a snapshot since.
    pub own: Option<Sha256>,
    /// What nodes have said, this one among them.
    pub reports: BTreeMap<String, Sha256>,
    /// Something has been applied since by which states could differ, so that there is a reason to ask again.
    pub is_due: bool,
}

impl Audit {
    /// Takes a word of the entry at `at`.
    pub(crate) fn take(&mut self, at: Index, word: AuditRecord) {
        match word {
            AuditRecord::Request => {
                *self = Self {
                    requested_at: Some(at),
                    ..Self::default()
                };
            }
            AuditRecord::Report {
                requested_at,
                hash,
                node,
            } => {
                let room = self.reports.len() < MAX_ANSWERS || self.reports.contains_key(&node);
                if self.requested_at == Some(requested_at) && room {
                    self.reports.insert(node, hash);
                }
            }
        }
    }

    /// An entry is through, and this is the hash after it.
    pub(crate) fn settle(&mut self, at: Index, hash: Sha256) {
        if self.requested_at == Some(at) {
            self.own = Some(hash);
        }
    }
}

#[cfg(test)]
mod tests;
