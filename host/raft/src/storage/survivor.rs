//! What the data directory of a stopped node contains, to compare it with others after the loss of a majority.

use std::path::Path;

use crate::entry::{ClusterState, SnapshotMeta};
use crate::ids::{Index, LogId, Term};
use crate::raft::membership::Membership;
use crate::storage::node_store::{Identity, NodeStore};
use crate::storage::snapshot::SnapshotFiles;
use crate::storage::{LogStore, SnapshotStore, StorageError, StoreState};

/// Bytes of entries that are read at once.
const READ_BYTES: u64 = 1 << 20;

/// The content of a data directory. Every record and every checksum has been read.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// The node, and its cluster.
    pub identity: Identity,
    /// The latest term that the node has seen.
    pub term: Term,
    /// The entry before the first one in the log.
    pub purged: Index,
    /// The last entry.
    pub last: LogId,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotMeta>,
    /// The configuration after the last entry, if the directory contains one.
    pub membership: Option<Membership>,
    /// Level and lineage after the last entry.
    pub cluster: ClusterState,
    /// Whether the store has all that the node ever acknowledged.
    pub state: StoreState,
}

impl Survivor {
    /// Reads a data directory. None if it contains no log.
    ///
    /// # Errors
    /// A process uses the directory, a record is damaged, or the snapshot that the log needs is missing.
    pub fn read(dir: &Path) -> Result<Option<Self>, StorageError> {
        let Some(mut store) = NodeStore::open_existing(dir)? else {
            return Ok(None);
        };
        let stored = store.load()?;
        let mut next = stored.purged.index.next();
        while next <= stored.last.index {
            let read = store.read(next, stored.last.index, READ_BYTES)?;
            next = read
                .last()
                .map_or(stored.last.index, |last| last.id.index)
                .next();
        }
        let snapshot = newest_snapshot(dir)?;
        let covered = snapshot
            .as_ref()
            .map(|snapshot| snapshot.last)
            .unwrap_or_default();
        if covered.index < stored.purged.index {
            let reason = format!(
                "it begins after entry {}, and the newest snapshot ends at entry {}",
                stored.purged.index, covered.index
            );
            return Err(StorageError::Corrupt {
                record: "the log".to_owned(),
                reason,
            });
        }
        let membership = stored.memberships.last();
        let cluster = stored.clusters.last();
        let of_snapshot = snapshot.as_ref();
        Ok(Some(Self {
            identity: store.identity().clone(),
            term: stored.hard_state.term,
            purged: stored.purged.index,
            last: stored.last.max(covered),
            membership: membership
                .map(|(_, membership)| membership.clone())
                .or_else(|| cluster.map(|(_, record)| record.membership.clone()))
                .or_else(|| of_snapshot.and_then(|snapshot| snapshot.membership.clone())),
            cluster: cluster.map_or_else(
                || {
                    of_snapshot
                        .map(|snapshot| snapshot.cluster)
                        .unwrap_or_default()
                },
                |(_, record)| record.state(),
            ),
            snapshot,
            state: stored.state,
        }))
    }

    /// Whether a node with this log wins an election against one with the other log (Raft paper, §5.4.1).
    #[must_use]
    pub fn is_ahead_of(&self, other: &Self) -> bool {
        self.last > other.last
    }
}

/// Reads the newest snapshot, all bytes of it.
fn newest_snapshot(dir: &Path) -> Result<Option<SnapshotMeta>, StorageError> {
    if !SnapshotFiles::directory(dir).is_dir() {
        return Ok(None);
    }
    let snapshots = SnapshotFiles::to_read(dir);
    let newest = snapshots.newest()?;
    if let Some(meta) = &newest {
        snapshots.open(meta)?;
    }
    Ok(newest)
}
