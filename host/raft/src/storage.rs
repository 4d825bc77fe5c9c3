//! The stores of a node: the traits of the log store and the snapshot store, and their errors.
//!
//! | module | what it has |
//! |---|---|
//! | [`node_store`] | the log store on disk |
//! | [`segments`] | the entries of the log, in recycled files |
//! | `segment_stats` | counters of the segments |
//! | `redb` | the database for identity, term and vote |
//! | [`snapshot`] | the snapshot store on disk |
//! | [`memory`] | both stores in memory |
//! | [`repair`] | sets corrupt files aside |
//! | [`restore`] | makes a data directory from the state in a backup |
//! | [`survivor`] | what a data directory contains, to compare it with others |
//! | [`entry_record`] | the record of an entry outside of a node |
//! | [`origin`] | finds out whether a data directory is a copy |
//! | `schema` | the bytes of every record |
//! | `bounds`, `files`, `error` | checks of the log's range, file operations, errors |

mod bounds;
#[cfg(test)]
mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod decoding;
pub mod entry_record;
mod error;
mod files;
pub mod memory;
pub mod node_store;
pub mod origin;
mod redb;
pub mod repair;
pub mod restore;
mod schema;
mod segment_stats;
pub mod segments;
pub mod snapshot;
pub mod survivor;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::entry::{ClusterState, Entry, SnapshotMeta};
use crate::identity::{MetPeer, RunId};
use crate::ids::{Index, LogId, NodeId, StoreId};
use crate::raft::membership::Membership;

pub use self::error::StorageError;
pub use self::segment_stats::SegmentStats;
pub use crate::raft::durable::{Received, StoreState, StoredState, WriteBatch};

/// A durable log with term and vote. One thread uses it. When a method returns, its change is durable.
pub trait LogStore: Send + 'static {
    /// Reads and checks the whole store. Called once, before every other method.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] for a corrupt record. Such a record is never dropped silently.
    fn load(&mut self) -> Result<StoredState, StorageError>;

    /// Makes a batch durable: first term and vote, then truncation and entries together. After a crash the store contains
    /// nothing of it, term and vote, or everything.
    ///
    /// # Errors
    /// [`StorageError::Full`] leaves the store unchanged. After any other error the caller must not use the store.
    fn write(&mut self, batch: &WriteBatch) -> Result<(), StorageError>;

    /// The entries from `from` to `to`, in order: the first one always, then as many as fit into `max_bytes`, each
    /// counted with [`Entry::cost`].
    ///
    /// # Errors
    /// [`StorageError::OutOfRange`] if `from` is not in the log, [`StorageError::Corrupt`] if a checksum is wrong.
    fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError>;

    /// Removes the entries up to and including `up_to`. If the log ends before `up_to` or has another entry there, all
    /// entries are removed and the log continues after `up_to`, as for an installed snapshot.
    ///
    /// # Errors
    /// After [`StorageError::Full`] a part of these entries may remain; the rest of the log is unchanged. After any other
    /// error the caller must not use the store.
    fn purge(&mut self, up_to: LogId) -> Result<(), StorageError>;

    /// Records the cluster id, if the store has none yet. The default does nothing, for a store without an identity.
    ///
    /// # Errors
    /// After an error the caller must not use the store.
    fn set_cluster_id(&mut self, _cluster_id: &str) -> Result<(), StorageError> {
        Ok(())
    }

    /// Records that the store is [`StoreState::Complete`] from now on. The default does nothing, for a store that always is.
    ///
    /// # Errors
    /// After an error the caller must not use the store.
    fn mark_complete(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Gives the store another id, and records that it is [`StoreState::Incomplete`] from now on. The log stays.
    ///
    /// # Errors
    /// After an error the caller must not use the store.
    fn replace_store_id(&mut self, store_id: StoreId) -> Result<(), StorageError>;

    /// Records that a run of the node with this id begins. Called before [`LogStore::load`], which then returns the history of the
    /// runs. The default does nothing, for a store that no peer recognizes.
    ///
    /// # Errors
    /// [`StorageError::Full`] leaves the store unchanged. After any other error the caller must not use the store.
    fn begin_run(&mut self, _run: RunId) -> Result<(), StorageError> {
        Ok(())
    }

    /// Replaces the memory of the peers that the node has met. The default does nothing, as for [`LogStore::begin_run`].
    ///
    /// # Errors
    /// As for [`LogStore::begin_run`].
    fn remember_peers(&mut self, _met: &[(NodeId, MetPeer)]) -> Result<(), StorageError> {
        Ok(())
    }

    /// Records the longest lease that the node may have granted: [`StoredState::granted_lease`] of the next run. It may be
    /// rounded up to milliseconds.
    ///
    /// # Errors
    /// As for [`LogStore::begin_run`].
    fn record_lease(&mut self, longest: Duration) -> Result<(), StorageError>;

    /// Counters of the files of the log, if it has any.
    fn segment_stats(&self) -> Option<Arc<SegmentStats>> {
        None
    }
}

/// Snapshots of the state machine. Several threads share it: the apply thread takes and restores snapshots, the disk thread
/// sends and receives them, and others check them. Therefore its methods take `&self`.
pub trait SnapshotStore: Send + Sync + 'static {
    /// The newest complete snapshot, received or taken here.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if the newest one is corrupt. An older one is never used instead.
    fn newest(&self) -> Result<Option<SnapshotMeta>, StorageError>;

    /// Starts a snapshot of the state after the entry `last`. `membership` is the configuration at that entry; `None`
    /// means the initial members. `cluster` has level and lineage at that entry. The snapshot becomes visible with [`SnapshotWriter::finish`].
    ///
    /// # Errors
    /// The file can't be created.
    fn create(
        &self,
        last: LogId,
        time_ms: u64,
        membership: Option<&Membership>,
        cluster: ClusterState,
    ) -> Result<Box<dyn SnapshotWriter>, StorageError>;

    /// Opens a snapshot for reading from its start, after checking the checksum of all bytes.
    ///
    /// # Errors
    /// The snapshot was removed or is corrupt.
    fn open(&self, meta: &SnapshotMeta) -> Result<Box<dyn Read + Send>, StorageError>;

    /// Reads a snapshot to its end, and checks the checksum of all bytes.
    ///
    /// # Errors
    /// The snapshot was removed, is corrupt, or can't be read.
    fn check(&self, meta: &SnapshotMeta) -> Result<(), StorageError> {
        self.open(meta).map(drop)
    }

    /// Reads up to `max_bytes` at `offset`, to send them to a peer; returns no bytes at the end. Does not check the checksum: the
    /// peer does that.
    ///
    /// # Errors
    /// The snapshot was removed, or can't be read.
    fn read_chunk(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Bytes, StorageError>;

    /// Stores a chunk from a peer and makes it durable. An interrupted transfer continues where it stopped.
    ///
    /// # Errors
    /// The chunk can't be written; after [`StorageError::Full`] the transfer continues at the same offset. A chunk at a
    /// wrong offset is not an error: see [`Received::Partial`].
    fn receive(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
        data: &[u8],
    ) -> Result<Received, StorageError>;

    /// Keeps a copy of a complete snapshot for an operator to analyze. The number of copies is limited; the oldest is
    /// removed first. The default does nothing, for a store that an operator can't read.
    ///
    /// # Errors
    /// The snapshot was removed, or the copy can't be made.
    fn quarantine(&self, _meta: &SnapshotMeta) -> Result<(), StorageError> {
        Ok(())
    }

    /// Removes every snapshot that is older than `keep`, and unfinished transfers up to `keep`.
    ///
    /// # Errors
    /// A file can't be removed.
    fn retain(&self, keep: &SnapshotMeta) -> Result<(), StorageError>;
}

/// The writer of a snapshot that is being taken.
pub trait SnapshotWriter: Write + Send {
    /// Makes the snapshot durable and visible; returns its description.
    ///
    /// # Errors
    /// The snapshot can't be made durable; it does not become visible.
    fn finish(self: Box<Self>) -> Result<SnapshotMeta, StorageError>;
}
