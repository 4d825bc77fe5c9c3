//! Where a node's log, vote and snapshots live: the trait of a store, and what can go wrong with one.

mod bounds;
#[cfg(test)]
mod conformance;
mod error;
mod files;
pub mod memory;
pub mod redb;
pub mod repair;
mod schema;
pub mod snapshot;

use std::io::{Read, Write};

use bytes::Bytes;

use crate::raft::membership::Membership;
use crate::types::{Entry, HardState, Index, LogId, SnapshotMeta, Term};

pub use self::error::StorageError;

/// What one write makes durable, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// New term and vote.
    pub hard_state: Option<HardState>,
    /// Entries from here on are removed before `entries` is appended: they conflicted with the leader's.
    pub truncate_from: Option<Index>,
    /// Appended behind what is there, without a gap.
    pub entries: Vec<Entry>,
}

/// What a node finds when it opens its store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// Term and vote, as last written.
    pub hard_state: HardState,
    /// The entry right before the first one kept: what the log was purged up to.
    pub purged: LogId,
    /// The last entry kept; equal to `purged` where none is.
    pub last: LogId,
    /// Where each term starts among the entries kept, in order.
    pub terms: Vec<(Index, Term)>,
    /// The configurations among the entries kept, in order.
    pub memberships: Vec<(Index, Membership)>,
    /// Number of the store, drawn when it was made; 0 where it has none.
    pub incarnation: u64,
    /// Whether it holds all that its node has promised.
    pub memory: Memory,
}

/// Whether a store holds all that its node has promised: the votes that it has cast, the entries that it has
/// acknowledged. Where it does not, the node has no say; see [`crate::raft::admission`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// All of it.
    #[default]
    Whole,
    /// The store was made empty. The node may be new, and have promised nothing; or its disk was wiped.
    Empty,
    /// The store was made in place of one that was damaged: the node is not new.
    Lost,
}

/// A durable log with term and vote. One thread uses it; what it has returned from is on the disk.
pub trait LogStore: Send + 'static {
    /// What is there. Called once, first.
    ///
    /// # Errors
    /// Where a record is damaged; nothing is repaired by forgetting.
    fn load(&mut self) -> Result<StoredState, StorageError>;

    /// Makes a batch durable: one transaction, one fsync.
    ///
    /// # Errors
    /// [`StorageError::Full`] leaves the store as it was. Any other is final: the caller stops using the store.
    fn write(&mut self, batch: &WriteBatch) -> Result<(), StorageError>;

    /// Entries from `from` on, in order: at least one, then as many as fit into `max_bytes` by
    /// [`Entry::cost`], and none after `to`.
    ///
    /// # Errors
    /// [`StorageError::OutOfRange`] where `from` is not kept, [`StorageError::Corrupt`] where a checksum fails.
    fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError>;

    /// Forgets the entries up to and including `up_to`. Where the log ends before it or holds another entry
    /// there, the whole log goes, and it continues behind `up_to`: that is how a snapshot is put in place.
    ///
    /// # Errors
    /// [`StorageError::Full`] leaves a log that begins no later than asked, and is otherwise the same. Any other is final.
    fn purge(&mut self, up_to: LogId) -> Result<(), StorageError>;

    /// Notes to which cluster the data belongs, where that was not known. A store that doesn't know whose it is has
    /// nothing to do.
    ///
    /// # Errors
    /// Any of them is final.
    fn set_cluster_id(&mut self, _cluster_id: &str) -> Result<(), StorageError> {
        Ok(())
    }

    /// Notes that the store holds all that its node has promised from now on: [`Memory::Whole`]. A store that always
    /// does has nothing to do.
    ///
    /// # Errors
    /// Any of them is final.
    fn mark_complete(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Snapshots of the state machine. Shared by the thread that applies (which takes and restores them) and the
/// one that writes (which sends and receives them), so its methods take `&self`.
pub trait SnapshotStore: Send + Sync + 'static {
    /// The newest snapshot that arrived or was taken whole.
    ///
    /// # Errors
    /// Where the newest one is damaged: an older one is not quietly used in its place.
    fn newest(&self) -> Result<Option<SnapshotMeta>, StorageError>;

    /// Begins a snapshot of the state after `last`, when these were the members (none: those of the start). Nothing of it is seen before [`SnapshotWriter::finish`].
    ///
    /// # Errors
    /// Where no file can be made.
    fn create(
        &self,
        last: LogId,
        time_ms: u64,
        membership: Option<&Membership>,
    ) -> Result<Box<dyn SnapshotWriter>, StorageError>;

    /// Opens a snapshot for reading from its start, after checking all of its bytes.
    ///
    /// # Errors
    /// Where it is gone or damaged.
    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn Read + Send>, StorageError>;

    /// Reads up to `max_bytes` at `offset`, to be sent to a peer; empty at the end.
    ///
    /// # Errors
    /// Where it is gone or can't be read.
    fn read_chunk(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Bytes, StorageError>;

    /// Takes in a chunk from a peer and makes it durable. A transfer that was cut goes on where it stopped.
    ///
    /// # Errors
    /// Where it can't be written; after [`StorageError::Full`] the transfer goes on where it was. A chunk at the wrong offset is no error: see [`Received::Partial`].
    fn receive(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        data: &[u8],
    ) -> Result<Received, StorageError>;

    /// Keeps a whole snapshot for somebody to look at, whatever becomes of it here. A bounded number is kept, the oldest
    /// forgotten first. A store that nobody can look into has nothing to do.
    ///
    /// # Errors
    /// Where it is gone, or can't be kept.
    fn quarantine(&self, _meta: &SnapshotMeta) -> Result<(), StorageError> {
        Ok(())
    }

    /// Removes every snapshot that is older than `keep`, and transfers that this one has overtaken.
    ///
    /// # Errors
    /// Where a file can't be removed.
    fn retain(&self, keep: &SnapshotMeta) -> Result<(), StorageError>;
}

/// A snapshot that is being taken.
pub trait SnapshotWriter: Write + Send {
    /// Makes it durable and visible, and returns what it is.
    ///
    /// # Errors
    /// Where it can't be made durable; nothing of it is seen then.
    fn finish(self: Box<Self>) -> Result<SnapshotMeta, StorageError>;
}

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The next chunk has to start here.
    Partial {
        /// Bytes that are here and durable.
        next_offset: u64,
    },
    /// All bytes are here, and their checksum is right.
    Whole,
    /// All bytes were here, and their checksum was wrong: thrown away, start again at 0.
    Damaged,
}
