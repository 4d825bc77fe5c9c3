//! Opens the stores of a node, and checks that they fit together.
//!
//! A node starts only from intact files: it reads each record of the log, and all of the newest snapshot. If one is
//! corrupt, the node refuses to start and names it. With repair, it sets all of its files aside and starts with an empty
//! store, which its peers fill.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::StartError;
use super::stored_cluster::{ConfiguredCluster, is_alone, settle_cluster_id};
use crate::applier::{Applier, ApplierError};
use crate::disk::Disk;
use crate::entry::SnapshotMeta;
use crate::ids::{Index, NodeId, StoreId};
use crate::random::random_u64;
use crate::state_machine::ReplicatedStateMachine;
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::node_store::{Identity, NodeStore, StoreInit};
use crate::storage::origin::{OriginCheck, adopt_copy, check_origin};
use crate::storage::snapshot::SnapshotFiles;
use crate::storage::{LogStore, SnapshotStore, StorageError, StoreState, StoredState, repair};

/// The opened stores, and the state machine at the newest snapshot.
pub(super) struct Opened<M> {
    pub(super) disk: Disk,
    pub(super) applier: Applier<M>,
    pub(super) stored: StoredState,
    pub(super) snapshot: Option<SnapshotMeta>,
    /// Time of the last entry in the log.
    pub(super) last_time_ms: u64,
    /// Id of the cluster; empty for a node that has not joined one yet.
    pub(super) cluster_id: String,
}

/// What to do about corrupt files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnCorruption {
    /// Refuse to start.
    Refuse,
    /// Set all files aside, and start with an empty store.
    SetAside,
    /// Repair was requested, but there are no peers to fill an empty store: refuse to start.
    NoPeers,
}

/// How a node opens its stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenRules {
    pub(super) on_corruption: OnCorruption,
    /// A copy of the directory of the only voter is used.
    pub(super) accept_copy: bool,
    /// The longest lease that the node will grant.
    pub(super) longest_lease: Duration,
}

/// The intact stores of a node.
struct Stores {
    log: Box<dyn LogStore>,
    snapshots: Arc<dyn SnapshotStore>,
    stored: StoredState,
    snapshot: Option<SnapshotMeta>,
    last_time_ms: u64,
    cluster_id: String,
}

/// The stores could not be opened. The state machine is unchanged.
struct OpenFailed<M> {
    error: StartError,
    machine: M,
}

/// Opens the stores, and restores the newest snapshot.
pub(super) fn open<M: ReplicatedStateMachine>(
    data_dir: Option<PathBuf>,
    node_id: &NodeId,
    cluster: &ConfiguredCluster,
    rules: OpenRules,
    machine: M,
) -> Result<Opened<M>, StartError> {
    let Some(dir) = data_dir else {
        let stores = in_memory(cluster.id.clone(), rules.longest_lease)?;
        return restore(stores, machine).map_err(|failed| failed.error);
    };
    let failed = match open_files(&dir, node_id, cluster, rules, machine) {
        Ok(opened) => return Ok(opened),
        Err(failed) => failed,
    };
    let Some(corruption) = corruption_of(&failed.error) else {
        return Err(failed.error);
    };
    match rules.on_corruption {
        OnCorruption::Refuse => return Err(failed.error),
        OnCorruption::NoPeers => {
            return Err(StartError::NoPeersToRepairFrom(Box::new(failed.error)));
        }
        OnCorruption::SetAside => {}
    }
    let identity = Identity {
        node_id: node_id.clone(),
        cluster_id: cluster.id.clone(),
    };
    let aside = repair::set_aside(&dir, &identity, new_store_id(), corruption)?;
    tracing::error!(
        %corruption,
        kept_in = %aside.display(),
        "corrupt files are set aside; this node votes again once its peers have sent it the log and the state"
    );
    open_files(&dir, node_id, cluster, rules, failed.machine).map_err(|failed| failed.error)
}

fn in_memory(cluster_id: String, longest_lease: Duration) -> Result<Stores, StorageError> {
    let mut log = MemoryStore::with_store_id(new_store_id());
    let snapshots = MemorySnapshots::new();
    record_run(&mut log)?;
    let found = read(&mut log, &snapshots)?;
    record_lease(&mut log, &found.stored, longest_lease)?;
    Ok(found.into_stores(Box::new(log), Arc::new(snapshots), cluster_id))
}

/// The corruption of a file that keeps a node from starting, if that is the reason.
fn corruption_of(error: &StartError) -> Option<&StorageError> {
    match error {
        StartError::Storage(error) | StartError::Restore(ApplierError::Storage(error)) => {
            Some(error).filter(|error| repair::is_corrupt(error))
        }
        _ => None,
    }
}

fn open_files<M: ReplicatedStateMachine>(
    dir: &Path,
    node_id: &NodeId,
    cluster: &ConfiguredCluster,
    rules: OpenRules,
    machine: M,
) -> Result<Opened<M>, OpenFailed<M>> {
    match open_stores(dir, node_id, cluster, rules) {
        Ok(stores) => restore(stores, machine),
        Err(error) => Err(OpenFailed {
            error: error.into(),
            machine,
        }),
    }
}

fn open_stores(
    dir: &Path,
    node_id: &NodeId,
    cluster: &ConfiguredCluster,
    rules: OpenRules,
) -> Result<Stores, StorageError> {
    // An empty directory may be that of a new node or of one whose disk was wiped: the node finds out from its peers.
    let init = StoreInit {
        store_id: new_store_id(),
        state: StoreState::New,
    };
    let identity = Identity {
        node_id: node_id.clone(),
        cluster_id: cluster.id.clone(),
    };
    let mut log = NodeStore::open_of_any_cluster(dir, &identity, init)?;
    let snapshots = SnapshotFiles::open(dir)?;
    record_run(&mut log)?;
    let mut found = read(&mut log, &snapshots)?;
    let copy = check_origin(&mut log)?;
    if is_lone_voter(node_id, &found) {
        accept_lone_copy(&mut log, dir, copy, rules.accept_copy)?;
        accept_lone_loss(&mut log, dir, rules.accept_copy)?;
    } else if let Some(init) = exclude_copy(&mut log, copy)? {
        (found.stored.store_id, found.stored.state) = (init.store_id, init.state);
    }
    if let Some(init) = exclude_loss(&mut log)? {
        (found.stored.store_id, found.stored.state) = (init.store_id, init.state);
    }
    let (stored, snapshot) = (&found.stored, found.snapshot.as_ref());
    let cluster_id = settle_cluster_id(dir, &mut log, cluster, stored, snapshot)?;
    record_lease(&mut log, stored, rules.longest_lease)?;
    Ok(found.into_stores(Box::new(log), Arc::new(snapshots), cluster_id))
}

fn is_lone_voter(node_id: &NodeId, found: &StoresContent) -> bool {
    let is_complete = found.stored.state == StoreState::Complete;
    is_complete && is_alone(node_id, &found.stored, found.snapshot.as_ref())
}

/// A copy of the directory of the only voter. No other member can tell what it lacks, and its cluster may have grown since: the
/// operator decides.
fn accept_lone_copy(
    log: &mut NodeStore,
    dir: &Path,
    copy: OriginCheck,
    accept: bool,
) -> Result<(), StorageError> {
    let OriginCheck::Copy { recorded, found } = copy else {
        return Ok(());
    };
    if !accept {
        let path = dir.to_owned();
        return Err(StorageError::CopyOfOnlyVoter { path });
    }
    log.record_origin(found)?;
    tracing::error!(
        ?recorded,
        ?found,
        "THIS DATA DIRECTORY IS A COPY, and --accept-copy makes it count: all that this node acknowledged after the copy was \
         made is missing here"
    );
    Ok(())
}

/// If the data directory is a copy, makes it another store, which rejoins. Returns the new store id and state.
fn exclude_copy(log: &mut NodeStore, copy: OriginCheck) -> Result<Option<StoreInit>, StorageError> {
    let OriginCheck::Copy { recorded, found } = copy else {
        return Ok(None);
    };
    tracing::error!(
        ?recorded,
        ?found,
        "this data directory is a copy: votes and entries that this node acknowledged after the copy was made may be \
         missing. It does not vote until the other members have sent it all entries. If the original directory still \
         exists, stop this node and start it on that one. Never start more than one node of a cluster on a copy"
    );
    adopt_copy(log, new_store_id(), found).map(Some)
}

/// The end of the log of the only voter is corrupt. No other member has it: the operator decides.
fn accept_lone_loss(log: &mut NodeStore, dir: &Path, accept: bool) -> Result<(), StorageError> {
    let Some(reason) = log.doubt().map(str::to_owned) else {
        return Ok(());
    };
    if !accept {
        let path = dir.to_owned();
        return Err(StorageError::LossOfOnlyVoter { path, reason });
    }
    log.accept_loss()?;
    tracing::error!(
        reason,
        "THE END OF THE LOG IS CORRUPT, and --accept-copy makes the rest count: what this node acknowledged last may be \
         missing"
    );
    Ok(())
}

/// If the end of the log is corrupt, it may have been acknowledged. So the store becomes another one, which rejoins. Returns
/// the new store id and state.
fn exclude_loss(log: &mut NodeStore) -> Result<Option<StoreInit>, StorageError> {
    let Some(reason) = log.doubt().map(str::to_owned) else {
        return Ok(None);
    };
    let init = log.exclude_loss(new_store_id())?;
    tracing::error!(
        reason,
        "the end of the log is corrupt, and this node may have acknowledged it. The node does not vote until the other \
         members have sent it all entries. Check the disk"
    );
    Ok(Some(init))
}

/// What the stores of a node contain.
struct StoresContent {
    stored: StoredState,
    snapshot: Option<SnapshotMeta>,
    last_time_ms: u64,
}

impl StoresContent {
    fn into_stores(
        self,
        log: Box<dyn LogStore>,
        snapshots: Arc<dyn SnapshotStore>,
        cluster_id: String,
    ) -> Stores {
        Stores {
            log,
            snapshots,
            stored: self.stored,
            snapshot: self.snapshot,
            last_time_ms: self.last_time_ms,
            cluster_id,
        }
    }
}

/// Records that a run of the node begins. If the disk is full, the node continues as the run before, which its peers know.
fn record_run(log: &mut dyn LogStore) -> Result<(), StorageError> {
    match log.begin_run(random_u64().max(1)) {
        Err(error) if error.is_full() => {
            tracing::warn!(%error, "the start of the node is not recorded: the disk is full");
            Ok(())
        }
        begun => begun,
    }
}

/// Records the longest lease of the run that begins, unless an earlier run may have granted longer ones. If the disk is full,
/// the node does not start: the next start would not know how long these leases last.
fn record_lease(
    log: &mut dyn LogStore,
    stored: &StoredState,
    longest: Duration,
) -> Result<(), StorageError> {
    if longest <= stored.granted_lease {
        return Ok(());
    }
    log.record_lease(longest)
}

/// Reads the log, and finds the newest snapshot.
fn read(
    log: &mut impl LogStore,
    snapshots: &impl SnapshotStore,
) -> Result<StoresContent, StorageError> {
    let stored = log.load()?;
    let snapshot = snapshots.newest()?;
    let snapshot_index = snapshot
        .as_ref()
        .map_or(Index::ZERO, |meta| meta.last.index);
    if snapshot_index < stored.purged.index {
        return Err(StorageError::Corrupt {
            record: "the newest snapshot".to_owned(),
            reason: format!(
                "it ends at entry {snapshot_index}, and the log starts after entry {}: the entries between them are missing",
                stored.purged.index
            ),
        });
    }
    let mut last_time_ms = snapshot.as_ref().map_or(0, |meta| meta.time_ms);
    if stored.last.index > stored.purged.index {
        let newest = log.read(stored.last.index, stored.last.index, u64::MAX)?;
        last_time_ms = newest
            .last()
            .map_or(0, |entry| entry.time_ms)
            .max(last_time_ms);
    }
    Ok(StoresContent {
        stored,
        snapshot,
        last_time_ms,
    })
}

/// Restores the newest snapshot. Its bytes are verified before the state machine reads any of them.
fn restore<M: ReplicatedStateMachine>(
    stores: Stores,
    machine: M,
) -> Result<Opened<M>, OpenFailed<M>> {
    let mut applier = Applier::new(machine, Arc::clone(&stores.snapshots));
    if let Some(meta) = &stores.snapshot
        && let Err(error) = applier.restore(meta)
    {
        return Err(OpenFailed {
            error: error.into(),
            machine: applier.into_machine(),
        });
    }
    Ok(Opened {
        disk: Disk::new(stores.log, stores.snapshots),
        applier,
        stored: stores.stored,
        snapshot: stores.snapshot,
        last_time_ms: stores.last_time_ms,
        cluster_id: stores.cluster_id,
    })
}

/// A random store id. Never [`StoreId::NONE`].
fn new_store_id() -> StoreId {
    StoreId(random_u64().max(1))
}
