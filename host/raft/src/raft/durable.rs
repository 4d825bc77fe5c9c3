//! What the core writes to its stores and reads back from them.

use std::time::Duration;

use crate::entry::{ClusterRecord, Entry, HardState};
use crate::identity::{MetPeer, RunHistory};
use crate::ids::{Index, LogId, NodeId, StoreId, Term};
use crate::raft::membership::Membership;

/// One write. After a crash either nothing of it is durable, or term and vote, or everything: truncation and entries are one step,
/// and term and vote come before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// New term and vote; `None` if they are unchanged.
    pub hard_state: Option<HardState>,
    /// Entries from this index on conflict with the leader's. They are removed before `entries` are appended.
    pub truncate_from: Option<Index>,
    /// Entries to append, without a gap after the last one in the log.
    pub entries: Vec<Entry>,
}

/// The content of a store when a node starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// Term and vote, as last written.
    pub hard_state: HardState,
    /// The entry before the first one in the log: everything up to it was purged.
    pub purged: LogId,
    /// The last entry in the log; equal to `purged` if the log is empty.
    pub last: LogId,
    /// The first index of each term in the log, in ascending order.
    pub terms: Vec<(Index, Term)>,
    /// The configurations in the log, in ascending order.
    pub memberships: Vec<(Index, Membership)>,
    /// The records of the cluster in the log, in ascending order.
    pub clusters: Vec<(Index, ClusterRecord)>,
    /// Id of the store, drawn at random when it was created; [`StoreId::NONE`] for a store without an id.
    pub store_id: StoreId,
    /// Whether the store is complete.
    pub state: StoreState,
    /// The runs of the store, with the one that begins.
    pub runs: RunHistory,
    /// The peers that the node has met, with the store and the run of each.
    pub met: Vec<(NodeId, MetPeer)>,
    /// The longest lease that a run of this store may have granted and that may not have ended. Zero: there is none.
    pub granted_lease: Duration,
}

/// Whether a store contains all votes and acknowledgements of its node. A node with a store that is not
/// [`StoreState::Complete`] must not vote, because it could vote twice in one term or lose an acknowledged entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreState {
    /// The store contains all of them.
    #[default]
    Complete,
    /// The store was created empty. The node is new, or its disk was wiped: the store alone can't tell.
    New,
    /// The store replaced a corrupt one, or is a copy of an earlier one. The node has voted before and is not new.
    Incomplete,
}

/// The result of storing one chunk of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// More chunks are needed; the next one must start at this offset.
    Partial {
        /// Bytes of the state machine that are stored and durable.
        next_offset: u64,
    },
    /// All bytes are stored, and their checksum is right.
    Complete,
    /// All bytes arrived, and their checksum is wrong. They were discarded; the transfer starts again at 0.
    Corrupt,
}
