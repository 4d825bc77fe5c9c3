//! What a simulated log is made of: the memory store, or the production store on a simulated disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use task_queue_raft::ids::StoreId;
use task_queue_raft::storage::memory::MemoryStore;
use task_queue_raft::storage::node_store::{Identity, NodeStore, StoreInit};
use task_queue_raft::storage::segments::SegmentRules;
use task_queue_raft::storage::{LogStore, StorageError, StoreState};

use super::disk::ByteDisk;
use super::forger;
use super::planted::Planted;

/// Segments so small that each run fills many.
const SEGMENTS: SegmentRules = SegmentRules {
    first_bytes: 8192,
    max_bytes: 16_384,
    spare_max: 2,
};

/// What a log is made of.
#[derive(Debug)]
pub(super) enum Engine {
    Memory(MemoryStore),
    /// The production store; none while no process runs.
    Database {
        store: Option<Box<NodeStore>>,
        disk: ByteDisk,
        identity: Identity,
        /// What the next empty disk becomes.
        init: StoreInit,
        /// It was made whole. What is left of one that was not is thrown away, as the product does with its file.
        made: bool,
    },
}

impl Engine {
    pub(super) fn store(&mut self) -> Result<&mut dyn LogStore, StorageError> {
        match self {
            Self::Memory(store) => Ok(store),
            Self::Database { store, .. } => match store {
                Some(store) => Ok(&mut **store),
                None => Err(injected("cannot use")),
            },
        }
    }

    pub(super) fn disk(&self) -> Option<&ByteDisk> {
        match self {
            Self::Memory(_) => None,
            Self::Database { disk, .. } => Some(disk),
        }
    }

    /// Why the last write of the log may be missing.
    pub(super) fn doubt(&self) -> Option<String> {
        match self {
            Self::Database {
                store: Some(store), ..
            } => store.doubt().map(str::to_owned),
            _ => None,
        }
    }

    /// A process begins to use the log, where it has to be opened for that.
    pub(super) fn open(&mut self, planted: Option<Planted>) -> Result<(), StorageError> {
        if let Self::Database {
            store,
            disk,
            identity,
            init,
            made,
        } = self
        {
            disk.revive();
            *store = None;
            if !*made {
                disk.wipe();
            }
            if let Some(planted) = planted {
                forger::forge(disk, planted);
            }
            let name = format!("disk of {}", identity.node_id);
            let path = Path::new(&name);
            let medium = (disk.clone(), Arc::new(disk.clone()) as Arc<_>);
            let new_log = (disk.number(), SEGMENTS);
            let opened = NodeStore::open_or_create_on(medium, path, identity, *init, new_log)?;
            *store = Some(Box::new(opened));
            *made = true;
        }
        Ok(())
    }

    pub(super) fn crash(&mut self) {
        if let Self::Database { store, disk, .. } = self {
            disk.die();
            *store = None;
            disk.crash();
        }
    }

    pub(super) fn wipe(&mut self, new: StoreInit) {
        match self {
            Self::Memory(store) => *store = empty(new.store_id.0),
            Self::Database {
                store,
                disk,
                init,
                made,
                ..
            } => {
                *store = None;
                disk.wipe();
                *init = new;
                *made = false;
            }
        }
    }
}

/// A store of this number; one without a number belongs to a node that has acknowledged nothing.
pub(super) fn init_of(store_id: u64, state: StoreState) -> StoreInit {
    match store_id {
        0 => StoreInit::default(),
        store_id => StoreInit {
            store_id: StoreId(store_id),
            state,
        },
    }
}

pub(super) fn empty(store_id: u64) -> MemoryStore {
    match store_id {
        0 => MemoryStore::new(),
        number => MemoryStore::with_store_id(StoreId(number)),
    }
}

pub(super) const INJECTED: &str = "injected";

pub(super) fn injected(doing: &'static str) -> StorageError {
    StorageError::Io {
        doing,
        path: INJECTED.into(),
        source: io::Error::other(INJECTED),
    }
}
