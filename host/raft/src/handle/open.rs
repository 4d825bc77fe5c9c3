//! Opens what a node keeps on its disk, and checks that it fits together.
//!
//! A node starts only from files that are what was written: every record of the log is read, and so is all of the
//! newest snapshot. Where one is damaged, the node stops and names it; or, if it was told to repair itself, sets all of
//! its files aside and begins with an empty store, which its peers fill.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StartError;
use super::runtime::random;
use crate::applier::{Applier, ApplierError};
use crate::disk::Disk;
use crate::entry::SnapshotMeta;
use crate::ids::{Index, StoreId};
use crate::state_machine::ReplicatedStateMachine;
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::redb::{Identity, RedbStore, StoreInit};
use crate::storage::snapshot::SnapshotFiles;
use crate::storage::{LogStore, SnapshotStore, StorageError, StoreState, StoredState, repair};

/// What a store held when it was opened.
pub(super) struct Opened<M> {
    pub(super) disk: Disk,
    pub(super) applier: Applier<M>,
    pub(super) stored: StoredState,
    pub(super) snapshot: Option<SnapshotMeta>,
    pub(super) last_time_ms: u64,
}

/// What is to be done about damaged files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDamage {
    /// Stop, and say what is damaged.
    Stop,
    /// Set everything aside, and come back with an empty store.
    SetAside,
    /// The same was asked for, and there is nobody who could fill it.
    NobodyElse,
}

/// The stores of a node, read and found in order.
struct Stores {
    log: Box<dyn LogStore>,
    snapshots: Arc<dyn SnapshotStore>,
    stored: StoredState,
    snapshot: Option<SnapshotMeta>,
    last_time_ms: u64,
}

/// It did not come about; the machine is as it was.
struct Failed<M> {
    error: StartError,
    machine: M,
}

/// Opens the stores and brings the machine to where the newest snapshot is.
pub(super) fn open<M: ReplicatedStateMachine>(
    data_dir: Option<PathBuf>,
    identity: &Identity,
    on_damage: OnDamage,
    machine: M,
) -> Result<Opened<M>, StartError> {
    let Some(dir) = data_dir else {
        let log = Box::new(MemoryStore::with_store_id(new_store_id()));
        let stores = read(log, Arc::new(MemorySnapshots::new()))?;
        return restore(stores, machine).map_err(|failed| failed.error);
    };
    let failed = match open_files(&dir, identity, machine) {
        Ok(opened) => return Ok(opened),
        Err(failed) => failed,
    };
    let Some(damage) = damage_of(&failed.error) else {
        return Err(failed.error);
    };
    match on_damage {
        OnDamage::Stop => return Err(failed.error),
        OnDamage::NobodyElse => return Err(StartError::NobodyToHealFrom(Box::new(failed.error))),
        OnDamage::SetAside => {}
    }
    let aside = repair::set_aside(&dir, identity, new_store_id(), damage)?;
    tracing::error!(
        %damage,
        kept_in = %aside.display(),
        "damaged files are set aside; this node votes again once its peers have given it everything"
    );
    open_files(&dir, identity, failed.machine).map_err(|failed| failed.error)
}

/// The damage of a file that keeps a node from starting, if that is the reason.
fn damage_of(error: &StartError) -> Option<&StorageError> {
    match error {
        StartError::Storage(error) | StartError::Restore(ApplierError::Storage(error)) => {
            Some(error).filter(|error| repair::is_corrupt(error))
        }
        _ => None,
    }
}

fn open_files<M: ReplicatedStateMachine>(
    dir: &Path,
    identity: &Identity,
    machine: M,
) -> Result<Opened<M>, Failed<M>> {
    // Whether an empty directory is that of a new node or of one whose disk was wiped, its peers will tell.
    let init = StoreInit {
        store_id: new_store_id(),
        state: StoreState::New,
    };
    let stores = RedbStore::open_or_create(dir, identity, init).and_then(|log| {
        let snapshots = SnapshotFiles::open(dir)?;
        read(Box::new(log), Arc::new(snapshots))
    });
    match stores {
        Ok(stores) => restore(stores, machine),
        Err(error) => Err(Failed {
            error: error.into(),
            machine,
        }),
    }
}

/// Reads all of the log and which snapshot is the newest.
fn read(
    mut log: Box<dyn LogStore>,
    snapshots: Arc<dyn SnapshotStore>,
) -> Result<Stores, StorageError> {
    let stored = log.load()?;
    let snapshot = snapshots.newest()?;
    let reaches = snapshot
        .as_ref()
        .map_or(Index::ZERO, |meta| meta.last.index);
    if reaches < stored.purged.index {
        return Err(StorageError::Corrupt {
            record: "the newest snapshot".to_owned(),
            reason: format!(
                "it reaches entry {reaches}, and the log begins behind entry {}: what lies between is gone",
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
    Ok(Stores {
        log,
        snapshots,
        stored,
        snapshot,
        last_time_ms,
    })
}

/// Brings the machine to where the snapshot is. Its bytes are checked before the machine sees any of them.
fn restore<M: ReplicatedStateMachine>(stores: Stores, machine: M) -> Result<Opened<M>, Failed<M>> {
    let mut applier = Applier::new(machine, Arc::clone(&stores.snapshots));
    if let Some(meta) = &stores.snapshot
        && let Err(error) = applier.restore(meta)
    {
        return Err(Failed {
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
    })
}

/// A random store id; never [`StoreId::NONE`].
fn new_store_id() -> StoreId {
    StoreId(random().max(1))
}
