//! What the core wants done: returned by [`Raft core`](crate::raft::Core::ready), carried out by the driver.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::durable::WriteBatch;
use crate::entry::{Entry, SnapshotMeta};
use crate::ids::{Index, LogId, NodeId};
use crate::message::Message;

/// Number of a write, counted from 1; 0 stands for "nothing to wait for".
pub type WriteId = u64;

/// A message, and the write that must be on the disk before it may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// For whom.
    pub to: NodeId,
    /// What.
    pub message: Message,
    /// Not before this write is durable.
    pub after: WriteId,
}

/// For whom entries are read back from the disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadFor {
    /// The state machine of this node.
    Apply,
    /// A follower that is far behind.
    Peer(NodeId),
}

/// Entries to be read from the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRead {
    /// For whom.
    pub reader: ReadFor,
    /// First one.
    pub from: Index,
    /// Last one at most.
    pub to: Index,
    /// Budget, in bytes of [`Entry::cost`].
    pub max_bytes: u64,
}

/// Something to be done with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotTask {
    /// Take one of the state as it is once all that was handed over is applied.
    Take,
    /// Read a chunk that a peer needs.
    ReadChunk {
        /// Who needs it.
        to: NodeId,
        /// Of which snapshot.
        meta: SnapshotMeta,
        /// From where.
        offset: u64,
    },
    /// Write down a chunk that the leader sent.
    Receive {
        /// Of which snapshot.
        meta: SnapshotMeta,
        /// Where it belongs.
        offset: u64,
        /// Its bytes.
        data: Bytes,
    },
    /// Replace the machine's state by this one.
    Restore(SnapshotMeta),
    /// Remove the older ones.
    Retain(SnapshotMeta),
    /// Keep this one beside the others, for somebody to look at.
    SetAside(SnapshotMeta),
}

/// A read whose index is known, or which can't be vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// Number under which it was asked for.
    pub id: u64,
    /// It may be answered once this is applied. None: no leader could be reached; ask again.
    pub index: Option<Index>,
}

/// All that is to be done now. The order in which the driver may do it is written there.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// Make this durable, as the write of this number. Only one is under way at a time.
    pub write: Option<(WriteId, WriteBatch)>,
    /// Send these.
    pub messages: Vec<OutgoingMessage>,
    /// Hand these to the state machine, in order.
    pub apply: Vec<Entry>,
    /// Read these back.
    pub log_reads: Vec<LogRead>,
    /// Forget entries up to here, behind the writes before it.
    pub purge: Option<LogId>,
    /// Snapshot work, in order.
    pub snapshots: Vec<SnapshotTask>,
    /// Reads that are settled.
    pub reads: Vec<ReadState>,
    /// Whom to be connected with from now on, and where they are reached (empty: where the start configuration says).
    pub contacts: Option<BTreeMap<NodeId, String>>,
    /// Note in the store, behind the write before, that it holds all of the node's promises from now on.
    pub complete_store: bool,
}

impl Ready {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.write.is_none()
            && self.messages.is_empty()
            && self.apply.is_empty()
            && self.log_reads.is_empty()
            && self.purge.is_none()
            && self.snapshots.is_empty()
            && self.reads.is_empty()
            && self.contacts.is_none()
            && !self.complete_store
    }
}
