//! The output of the core: returned by [`Core::ready`](crate::raft::Core::ready), executed by the driver.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::entry::{Entry, SnapshotMeta};
use crate::identity::{MetPeer, NodeIdentity};
use crate::ids::{Index, LogId, NodeId, StoreId};
use crate::message::Message;
use crate::raft::durable::WriteBatch;
use crate::raft::fault::CoreFault;

/// Number of a write. Numbers start at 1; 0 means "no write".
pub type WriteId = u64;

/// A message, and the write that must be durable before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The receiver.
    pub to: NodeId,
    /// The message.
    pub message: Message,
    /// The write that must be durable first; 0: none.
    pub after: WriteId,
}

/// The receiver of entries that are read from the disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadFor {
    /// The state machine of this node.
    Apply,
    /// A follower that is far behind.
    Peer(NodeId),
}

/// A range of entries to read from the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRead {
    /// The receiver of the entries.
    pub reader: ReadFor,
    /// The first entry.
    pub from: Index,
    /// The last entry; fewer may be read.
    pub to: Index,
    /// Most bytes, by [`Entry::cost`]. One entry is always read.
    pub max_bytes: u64,
}

/// A task for the snapshot store or the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotTask {
    /// Take a snapshot, once the machine has applied all entries that it has received.
    Take,
    /// Read a chunk for a peer.
    ReadChunk {
        /// The peer.
        to: NodeId,
        /// The snapshot.
        meta: SnapshotMeta,
        /// Offset of the chunk, in bytes.
        offset: u64,
    },
    /// Write a chunk from the leader.
    Receive {
        /// The snapshot.
        meta: SnapshotMeta,
        /// Offset of the chunk, in bytes.
        offset: u64,
        /// The bytes of the chunk.
        data: Bytes,
    },
    /// Replace the state of the machine with this snapshot.
    Restore(SnapshotMeta),
    /// Read this snapshot to its end, and compare its checksum.
    Check(SnapshotMeta),
    /// Delete all snapshots that are older than this one.
    Retain(SnapshotMeta),
    /// Keep a copy of this snapshot for inspection.
    SetAside(SnapshotMeta),
}

/// The result of [`Core::read`](crate::raft::Core::read).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// Number of the read.
    pub id: u64,
    /// The read is linearizable once this entry is applied. `None`: there is no leader that could confirm it; retry.
    pub index: Option<Index>,
}

/// Everything that the driver must do now. The driver documents the order.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// Make this batch durable, as the write of this number. At most one is in flight.
    pub write: Option<(WriteId, WriteBatch)>,
    /// Messages to send.
    pub messages: Vec<OutgoingMessage>,
    /// Committed entries for the state machine, in order.
    pub apply: Vec<Entry>,
    /// Entries to read from the disk.
    pub log_reads: Vec<LogRead>,
    /// Purge the log up to this entry, after the writes before.
    pub purge: Option<LogId>,
    /// Snapshot tasks, in order.
    pub snapshots: Vec<SnapshotTask>,
    /// Results of reads.
    pub reads: Vec<ReadState>,
    /// The peers to connect to from now on, with their addresses (empty: use the address from the settings).
    pub contacts: Option<BTreeMap<NodeId, String>>,
    /// Mark the store as [complete](crate::raft::durable::StoreState::Complete), after the writes before.
    pub complete_store: bool,
    /// Give the store this id and mark it as [incomplete](crate::raft::durable::StoreState::Incomplete), after the writes before.
    pub replace_store: Option<StoreId>,
    /// Make this memory of the peers durable.
    pub met: Option<Vec<(NodeId, MetPeer)>>,
    /// Record that no lease that the node has granted is longer than this.
    pub lease: Option<Duration>,
    /// The node describes itself so from now on. Messages of this output belong to connections with this hello.
    pub identity: Option<IdentityChange>,
    /// The core has stopped: so must the node.
    pub fault: Option<CoreFault>,
}

/// A change of what this node's hello contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityChange {
    /// The identity from now on.
    pub identity: NodeIdentity,
    /// The store has changed: responses on connections with the old hello would show the old one.
    pub new_store: bool,
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
            && self.replace_store.is_none()
            && self.met.is_none()
            && self.lease.is_none()
            && self.identity.is_none()
            && self.fault.is_none()
    }
}
