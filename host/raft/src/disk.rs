//! The tasks that the driver gives to the disk, and their execution. One thread runs them in order.

mod stats;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::entry::{Entry, SnapshotMeta};
use crate::identity::MetPeer;
use crate::ids::{Index, LogId, NodeId, StoreId};
use crate::raft::ready::{LogRead, ReadFor, WriteId};
use crate::storage::{LogStore, Received, SnapshotStore, StorageError, WriteBatch};

pub use stats::DiskStats;

/// Bytes of a snapshot in one message.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// A task for the disk.
#[derive(Clone, Debug)]
pub enum DiskTask {
    /// Make this batch durable.
    Write(WriteId, WriteBatch),
    /// Remove the entries up to this one.
    Purge(LogId),
    /// Read entries that are no longer in memory.
    Read(LogRead),
    /// Read entries for an archive. Those that are not in the log any more are no error.
    CopyLog {
        /// Number of the request.
        id: u64,
        /// The first entry.
        from: Index,
        /// The last one.
        to: Index,
        /// Most bytes, after the first entry.
        max_bytes: u64,
    },
    /// Read a chunk of a snapshot, to send it to a peer.
    ReadChunk {
        /// The peer.
        to: NodeId,
        /// The snapshot.
        meta: SnapshotMeta,
        /// First byte.
        offset: u64,
    },
    /// Write a chunk of a snapshot that the leader has sent.
    Receive {
        /// The snapshot.
        meta: SnapshotMeta,
        /// First byte.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// Remove all snapshots older than this one.
    Retain(SnapshotMeta),
    /// Keep this snapshot for inspection, apart from the others.
    SetAside(SnapshotMeta),
    /// Store the name of the cluster that the node has joined.
    Join(String),
    /// Store that the store is complete: it contains all votes and acknowledgements of the node.
    CompleteStore,
    /// Give the store another id and mark it as incomplete.
    ReplaceStore(StoreId),
    /// Store the memory of the peers that the node has met.
    RememberPeers(Vec<(NodeId, MetPeer)>),
    /// Store the longest lease that the node grants: longer ones of earlier runs have ended.
    RecordLease(Duration),
}

/// The result of a task.
#[derive(Clone, Debug)]
pub enum DiskDone {
    /// The write of this id is durable.
    Written(WriteId),
    /// The disk is full. Nothing of the write of this id is stored.
    Full(WriteId),
    /// The entries that were read.
    Read(ReadFor, Vec<Entry>),
    /// Entries for an archive: the number of the request, and none if they are not in the log any more.
    LogCopied(u64, Vec<Entry>),
    /// A chunk of a snapshot was read.
    Chunk {
        /// The peer.
        to: NodeId,
        /// The snapshot.
        meta: SnapshotMeta,
        /// First byte.
        offset: u64,
        /// The bytes; `None` if the snapshot was deleted.
        data: Option<Bytes>,
    },
    /// A received chunk of a snapshot is durable.
    Received(SnapshotMeta, Received),
    /// A received chunk of a snapshot is not stored, because the disk is full.
    ChunkDropped,
    /// It is stored that the store is complete.
    StoreCompleted,
    /// The store has this id.
    StoreReplaced(StoreId),
    /// Older snapshots are removed.
    Retained,
    /// The task is done, and the core needs no result of it.
    NoReply,
}

/// The disk of a node: its log and its snapshots.
pub struct Disk {
    log: Box<dyn LogStore>,
    snapshots: Arc<dyn SnapshotStore>,
    stats: Arc<DiskStats>,
    /// A purge that failed because the disk was full. It runs before the next write.
    pending_purge: Option<LogId>,
}

impl Disk {
    /// A disk with this log and these snapshots.
    #[must_use]
    pub fn new(log: Box<dyn LogStore>, snapshots: Arc<dyn SnapshotStore>) -> Self {
        let stats = DiskStats::of(log.segment_stats());
        Self {
            log,
            snapshots,
            stats: Arc::new(stats),
            pending_purge: None,
        }
    }

    /// The counters of this disk.
    #[must_use]
    pub fn stats(&self) -> Arc<DiskStats> {
        Arc::clone(&self.stats)
    }

    /// Runs one task.
    ///
    /// # Errors
    /// Each of them must stop the node: what the disk holds after a failed write is unknown. A full disk is no error; it is
    /// reported as [`DiskDone::Full`].
    pub fn run(&mut self, task: DiskTask) -> Result<DiskDone, StorageError> {
        match task {
            DiskTask::Write(id, batch) => {
                let written = self
                    .run_pending_purge()
                    .and_then(|()| self.log.write(&batch));
                let full = unless_full(written, "the write is retried")?.is_none();
                if full {
                    return Ok(DiskDone::Full(id));
                }
                self.stats.record_write(&batch);
                Ok(DiskDone::Written(id))
            }
            DiskTask::Purge(up_to) => {
                self.pending_purge = Some(up_to);
                let purged = self.run_pending_purge();
                unless_full(purged, "the log is not purged yet")?;
                Ok(DiskDone::NoReply)
            }
            DiskTask::Read(LogRead {
                reader,
                from,
                to,
                max_bytes,
            }) => Ok(DiskDone::Read(reader, self.read(from, to, max_bytes)?)),
            DiskTask::CopyLog {
                id,
                from,
                to,
                max_bytes,
            } => Ok(DiskDone::LogCopied(id, self.read(from, to, max_bytes)?)),
            DiskTask::ReadChunk { to, meta, offset } => {
                let data = self.snapshots.read_chunk(&meta, offset, CHUNK_BYTES);
                let data = data
                    .inspect_err(|error| tracing::warn!(peer = %to, snapshot = %meta.last, %error, "snapshot chunk unreadable"))
                    .ok();
                Ok(DiskDone::Chunk {
                    to,
                    meta,
                    offset,
                    data,
                })
            }
            DiskTask::Receive { meta, offset, data } => {
                let received = self.snapshots.receive(&meta, offset, &data);
                // On a full disk the leader gets no acknowledgement, and sends the chunk again later.
                let received = unless_full(received, "the chunk of a snapshot is dropped")?;
                Ok(received.map_or(DiskDone::ChunkDropped, |received| {
                    DiskDone::Received(meta, received)
                }))
            }
            DiskTask::Join(cluster_id) => {
                self.log.set_cluster_id(&cluster_id)?;
                Ok(DiskDone::NoReply)
            }
            DiskTask::CompleteStore => {
                self.log.mark_complete()?;
                Ok(DiskDone::StoreCompleted)
            }
            DiskTask::ReplaceStore(store_id) => {
                self.log.replace_store_id(store_id)?;
                Ok(DiskDone::StoreReplaced(store_id))
            }
            DiskTask::RememberPeers(met) => {
                let stored = self.log.remember_peers(&met);
                unless_full(stored, "the last runs of the peers are not stored")?;
                Ok(DiskDone::NoReply)
            }
            DiskTask::RecordLease(longest) => {
                let stored = self.log.record_lease(longest);
                unless_full(
                    stored,
                    "after the next start the node waits longer than it has to",
                )?;
                Ok(DiskDone::NoReply)
            }
            DiskTask::SetAside(meta) => {
                let kept = self.snapshots.quarantine(&meta);
                unless_full(kept, "the state of the machine is not kept for inspection")?;
                Ok(DiskDone::NoReply)
            }
            DiskTask::Retain(meta) => {
                self.snapshots.retain(&meta)?;
                Ok(DiskDone::Retained)
            }
        }
    }

    fn run_pending_purge(&mut self) -> Result<(), StorageError> {
        if let Some(up_to) = self.pending_purge {
            self.log.purge(up_to)?;
            self.pending_purge = None;
        }
        Ok(())
    }

    /// Entries that were purged or replaced since the request are no error: the core requests again.
    fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        match self.log.read(from, to, max_bytes) {
            Err(StorageError::OutOfRange { .. }) => Ok(Vec::new()),
            read => read,
        }
    }
}

/// `None` if the disk is full. Any other error is returned.
fn unless_full<T>(
    result: Result<T, StorageError>,
    consequence: &'static str,
) -> Result<Option<T>, StorageError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is_full() => {
            tracing::warn!(%error, consequence, "the disk is full");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
