//! Nodes compare their running hashes, through the log.
//!
//! The leader asks in an entry, and every node says in one of its own which hash it had after it. So all of them hear the
//! same answers to the same question, whoever leads. These words change nothing that is replicated: what a node makes of
//! the answers is its own affair, for the one that is wrong can't be asked to agree.
//!
//! ```text
//! kind 5 ask   nothing
//! kind 6 say   u64 index of the entry that asked · 32 the hash after it · the rest: name of the node, UTF-8
//! ```

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use task_queue_raft::types::Index;

use crate::module::Sha256;

pub(crate) const ASK: u8 = 5;
pub(crate) const SAY: u8 = 6;

/// Longest name of a node, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Most nodes whose answers are kept.
const MAX_ANSWERS: usize = 64;

/// What is said in the log about hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditWord {
    /// The leader asks for the hash after this entry.
    Ask,
    /// A node answers.
    Say {
        /// The entry that asked.
        asked: Index,
        /// The node's hash after it.
        hash: Sha256,
        /// Its name.
        node: String,
    },
}

impl AuditWord {
    /// Kind and content.
    pub(crate) fn encode(&self, to: &mut BytesMut) {
        match self {
            Self::Ask => to.put_u8(ASK),
            Self::Say { asked, hash, node } => {
                to.put_u8(SAY);
                to.put_u64_le(asked.0);
                to.put_slice(&hash.0);
                to.put_slice(node.as_bytes());
            }
        }
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        match bytes.split_first()? {
            (&ASK, []) => Some(Self::Ask),
            (&SAY, rest) => {
                let (asked, rest) = rest.split_first_chunk()?;
                let (hash, node) = rest.split_first_chunk()?;
                let node = std::str::from_utf8(node).ok()?;
                (node.len() <= MAX_NAME_BYTES).then(|| Self::Say {
                    asked: Index(u64::from_le_bytes(*asked)),
                    hash: Sha256(*hash),
                    node: node.to_owned(),
                })
            }
            _ => None,
        }
    }
}

/// The latest question and what was heard of it, as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// The entry that asked.
    pub asked: Option<Index>,
    /// This node's own hash after it. `None` where the node was not there: it has got a snapshot since.
    pub own: Option<Sha256>,
    /// What nodes have said, this one among them.
    pub heard: BTreeMap<String, Sha256>,
    /// Something has been applied since by which states could differ, so that there is a reason to ask again.
    pub is_due: bool,
}

impl Audit {
    /// Takes a word of the entry at `at`.
    pub(crate) fn take(&mut self, at: Index, word: AuditWord) {
        match word {
            AuditWord::Ask => {
                *self = Self {
                    asked: Some(at),
                    ..Self::default()
                };
            }
            AuditWord::Say { asked, hash, node } => {
                let room = self.heard.len() < MAX_ANSWERS || self.heard.contains_key(&node);
                if self.asked == Some(asked) && room {
                    self.heard.insert(node, hash);
                }
            }
        }
    }

    /// An entry is through, and this is the hash after it.
    pub(crate) fn settle(&mut self, at: Index, hash: Sha256) {
        if self.asked == Some(at) {
            self.own = Some(hash);
        }
    }
}

#[cfg(test)]
mod tests;
