//! What the driver asks of the disk, and the one place that does it. One thread runs the tasks in order.

mod stats;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Entry, SnapshotMeta};
use crate::ids::{LogId, NodeId};
use crate::raft::ready::{LogRead, ReadFor, WriteId};
use crate::storage::{LogStore, Received, SnapshotStore, StorageError, WriteBatch};

pub use stats::DiskStats;

/// Bytes of a snapshot that travel in one message.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// Something for the disk to do.
#[derive(Clone, Debug)]
pub enum DiskTask {
    /// Make this durable.
    Write(WriteId, WriteBatch),
    /// Forget entries up to here.
    Purge(LogId),
    /// Read entries back.
    Read(LogRead),
    /// Read a chunk of a snapshot.
    ReadChunk {
        /// Who needs it.
        to: NodeId,
        /// Of which snapshot.
        meta: SnapshotMeta,
        /// From where.
        offset: u64,
    },
    /// Write down a chunk of a snapshot.
    Receive {
        /// Of which snapshot.
        meta: SnapshotMeta,
        /// Where it belongs.
        offset: u64,
        /// Its bytes.
        data: Bytes,
    },
    /// Remove older snapshots.
    Retain(SnapshotMeta),
    /// Keep this snapshot beside the others.
    SetAside(SnapshotMeta),
    /// Note which cluster this node has joined.
    Join(String),
    /// Note that the store holds all that the node has promised.
    CompleteStore,
}

/// What the disk has done.
#[derive(Clone, Debug)]
pub enum DiskDone {
    /// The write of this number is durable.
    Written(WriteId),
    /// The disk is full: nothing of the write of this number is there.
    Full(WriteId),
    /// Entries, for whom they were read.
    Read(ReadFor, Vec<Entry>),
    /// A chunk; none where the snapshot is gone.
    Chunk {
        /// Who needs it.
        to: NodeId,
        /// Of which snapshot.
        meta: SnapshotMeta,
        /// From where.
        offset: u64,
        /// Its bytes.
        data: Option<Bytes>,
    },
    /// A chunk of a snapshot is durable.
    Received(SnapshotMeta, Received),
    /// The store has noted that it holds all that the node has promised.
    StoreCompleted,
    /// Something that nobody waits for.
    NoReply,
}

/// A node's disk: its log and its snapshots.
pub struct Disk {
    log: Box<dyn LogStore>,
    snapshots: Arc<dyn SnapshotStore>,
    stats: Arc<DiskStats>,
    /// A purge for which a full disk had no room. It is done before anything is written again.
    owed: Option<LogId>,
}

impl Disk {
    /// Of these two.
    #[must_use]
    pub fn new(log: Box<dyn LogStore>, snapshots: Arc<dyn SnapshotStore>) -> Self {
        Self {
            log,
            snapshots,
            stats: Arc::default(),
            owed: None,
        }
    }

    /// What it counts, for others to look at.
    #[must_use]
    pub fn stats(&self) -> Arc<DiskStats> {
        Arc::clone(&self.stats)
    }

    /// Does one task.
    ///
    /// # Errors
    /// All of them end the node: what a failed write left on the disk is unknown. That the disk is full is none of them.
    pub fn run(&mut self, task: DiskTask) -> Result<DiskDone, StorageError> {
        match task {
            DiskTask::Write(id, batch) => {
                let written = self.purge_owed().and_then(|()| self.log.write(&batch));
                let full = unless_full(written, "nothing is written")?.is_none();
                if full {
                    return Ok(DiskDone::Full(id));
                }
                self.stats.wrote(&batch);
                Ok(DiskDone::Written(id))
            }
            DiskTask::Purge(up_to) => {
                self.owed = Some(up_to);
                let purged = self.purge_owed();
                unless_full(purged, "the log is not purged yet")?;
                Ok(DiskDone::NoReply)
            }
            DiskTask::Read(LogRead {
                reader,
                from,
                to,
                max_bytes,
            }) => self.read(reader, from, to, max_bytes),
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
                // The leader hears nothing, and sends it again after a while.
                let received = unless_full(received, "a snapshot is not taken in")?;
                Ok(received.map_or(DiskDone::NoReply, |received| {
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
            DiskTask::SetAside(meta) => {
                let kept = self.snapshots.quarantine(&meta);
                unless_full(kept, "the state of the machine is not kept for inspection")?;
                Ok(DiskDone::NoReply)
            }
            DiskTask::Retain(meta) => {
                self.snapshots.retain(&meta)?;
                Ok(DiskDone::NoReply)
            }
        }
    }

    fn purge_owed(&mut self) -> Result<(), StorageError> {
        if let Some(up_to) = self.owed {
            self.log.purge(up_to)?;
            self.owed = None;
        }
        Ok(())
    }

    /// An entry that was purged or replaced since it was asked for is no error: the core asks anew.
    fn read(
        &self,
        reader: ReadFor,
        from: crate::ids::Index,
        to: crate::ids::Index,
        max_bytes: u64,
    ) -> Result<DiskDone, StorageError> {
        match self.log.read(from, to, max_bytes) {
            Ok(entries) => Ok(DiskDone::Read(reader, entries)),
            Err(StorageError::OutOfRange { .. }) => Ok(DiskDone::Read(reader, Vec::new())),
            Err(error) => Err(error),
        }
    }
}

/// None where the disk is full; any other error stays one.
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
