//! The durable store of a node: a database for identity, term and vote, and segments for the log of entries.
//!
//! ```text
//! raft.lock              the process that uses the directory holds its lock
//! raft.redb              the database; it names the log that belongs to it
//! log/<id>/<n>.segment   the segments of the log with this id
//! ```
//!
//! A log is complete and durable before a database names it. So one step, the new name of the database or one transaction, creates a
//! store, replaces it, or moves the entries of an earlier release into segments. Logs that the database does not name are removed.
//!
//! | module | what it has |
//! |---|---|
//! | `open` | creates, opens and replaces the store in a directory |
//! | `migration` | moves the entries of a database of an earlier release into segments |

mod migration;
mod open;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::{self, LogBounds};
use super::redb::MetaDatabase;
use super::segments::{LogAppend, SegmentLog};
use super::{LogStore, SegmentStats, StorageError, StoreState, StoredState, WriteBatch};
use crate::entry::Entry;
use crate::identity::{MetPeer, RunId};
use crate::ids::{Index, LogId, NodeId, StoreId};

pub use super::schema::{FileOrigin, Identity, StoreInit};

/// A durable log in the data directory of a node. It locks the directory until it is dropped.
pub struct NodeStore {
    // Declared before the lock, so that they are closed before the lock is released.
    log: SegmentLog,
    meta: MetaDatabase,
    /// A write failed: the content of the disk is unknown until the store is opened and read again.
    broken: bool,
    _lock: Option<File>,
}

impl std::fmt::Debug for NodeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeStore")
            .field("path", &self.meta.path())
            .field("bounds", &self.bounds())
            .finish_non_exhaustive()
    }
}

impl LogStore for NodeStore {
    fn load(&mut self) -> Result<StoredState, StorageError> {
        let meta = self.meta.load()?;
        let index = self.log.index();
        let LogBounds { purged, last } = index.bounds();
        let StoreInit { store_id, state } = self.meta.init();
        Ok(StoredState {
            hard_state: meta.hard_state,
            purged,
            last,
            terms: index.terms(),
            memberships: index.memberships(),
            clusters: index.clusters(),
            store_id,
            state,
            runs: self.meta.runs().clone(),
            met: meta.met,
            granted_lease: meta.granted_lease,
        })
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.bounds().check_batch(batch)?;
        self.check_usable("writing")?;
        let result = self.apply(batch);
        self.note(result)
    }

    fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        let bounds = self.bounds();
        bounds.check_read(from)?;
        self.log.read(from, to.min(bounds.last.index), max_bytes)
    }

    fn purge(&mut self, up_to: LogId) -> Result<(), StorageError> {
        let purged = self.bounds().purged;
        if up_to == purged || up_to.index < purged.index {
            return Ok(());
        }
        self.check_usable("purging entries")?;
        let result = self.log.purge(up_to);
        self.note(result)
    }

    fn set_cluster_id(&mut self, cluster_id: &str) -> Result<(), StorageError> {
        if !self.identity().cluster_id.is_empty() {
            return Ok(());
        }
        self.replace_cluster_id(cluster_id)
    }

    fn replace_store_id(&mut self, store_id: StoreId) -> Result<(), StorageError> {
        let init = StoreInit {
            store_id,
            state: StoreState::Incomplete,
        };
        self.put_init("recording that the store is outdated", init, None)
    }

    fn begin_run(&mut self, run: RunId) -> Result<(), StorageError> {
        self.meta.begin_run(run)
    }

    fn remember_peers(&mut self, met: &[(NodeId, MetPeer)]) -> Result<(), StorageError> {
        self.meta.remember_peers(met)
    }

    fn record_lease(&mut self, longest: Duration) -> Result<(), StorageError> {
        self.meta.record_lease(longest)
    }

    fn mark_complete(&mut self) -> Result<(), StorageError> {
        let init = StoreInit {
            state: StoreState::Complete,
            ..self.init()
        };
        if init == self.init() {
            return Ok(());
        }
        self.meta
            .put_init("recording that the store is complete", init, None)
    }

    fn segment_stats(&self) -> Option<Arc<SegmentStats>> {
        Some(self.log.stats())
    }
}

impl NodeStore {
    /// The identity that is recorded in the store.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.meta.identity()
    }

    /// Records another cluster id. Only for a store that contains nothing of its cluster.
    ///
    /// # Errors
    /// After an error the caller must not use the store.
    pub fn replace_cluster_id(&mut self, cluster_id: &str) -> Result<(), StorageError> {
        self.meta.replace_cluster_id(cluster_id)
    }

    /// Path of the database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.meta.path()
    }

    /// Store id and state, as last recorded.
    #[must_use]
    pub fn init(&self) -> StoreInit {
        self.meta.init()
    }

    /// The file that the database was written to, if it is recorded.
    ///
    /// # Errors
    /// The record is corrupt.
    pub fn origin(&self) -> Result<Option<FileOrigin>, StorageError> {
        self.meta.origin()
    }

    /// Records the file that the database is written to.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    pub fn record_origin(&mut self, origin: FileOrigin) -> Result<(), StorageError> {
        self.meta.record_origin(origin)
    }

    /// Records a new store id and state together with the file: the store is a copy, or has lost what its node acknowledged.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    pub fn renew(&mut self, init: StoreInit, origin: FileOrigin) -> Result<(), StorageError> {
        self.put_init("recording that it is a copy", init, Some(origin))
    }

    /// Goes on without the write that is missing, as another store, which does not count as complete before the node has rejoined.
    /// An empty store stays one of a new node.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    pub fn exclude_loss(&mut self, store_id: StoreId) -> Result<StoreInit, StorageError> {
        let state = match self.init().state {
            StoreState::New => StoreState::New,
            StoreState::Complete | StoreState::Incomplete => StoreState::Incomplete,
        };
        let init = StoreInit { store_id, state };
        self.put_init("recording that entries may be missing", init, None)?;
        Ok(init)
    }

    /// Why the last write of the log may be missing, although it may have been acknowledged. Until this is decided the store
    /// refuses writes: with another store id the node rejoins without a vote, see [`NodeStore::exclude_loss`], and with
    /// [`NodeStore::accept_loss`] it goes on.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.log.doubt()
    }

    /// Goes on without a write that may have been acknowledged.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    pub fn accept_loss(&mut self) -> Result<(), StorageError> {
        self.log.accept_doubt()
    }

    fn bounds(&self) -> LogBounds {
        self.log.bounds()
    }

    /// Term and vote first, and then truncation and entries in one step. No answer to a peer depends on a half: both are durable
    /// before this returns.
    fn apply(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        let change = LogAppend {
            truncate_from: batch.truncate_from,
            entries: &batch.entries,
        };
        let changes_log = batch.truncate_from.is_some() || !batch.entries.is_empty();
        if changes_log {
            let before = match batch.truncate_from {
                Some(from) => self.log.index().id_at(from.previous()).unwrap_or_default(),
                None => self.bounds().last,
            };
            bounds::check_terms(before, &batch.entries)?;
            // A full disk is found here, before anything is changed.
            self.log.begin_append(&batch.entries)?;
        }
        if let Some(hard_state) = &batch.hard_state {
            self.meta.put_hard_state(hard_state)?;
        }
        if changes_log {
            self.log.append(change).map_err(StorageError::into_final)?;
        }
        Ok(())
    }

    /// Records store id and state. If the last write of the log is doubtful, the state tells from now on that it may be missing.
    fn put_init(
        &mut self,
        doing: &'static str,
        init: StoreInit,
        origin: Option<FileOrigin>,
    ) -> Result<(), StorageError> {
        self.meta.put_init(doing, init, origin)?;
        if self.log.doubt().is_some() {
            self.log.accept_doubt()?;
        }
        Ok(())
    }

    fn check_usable(&self, doing: &'static str) -> Result<(), StorageError> {
        let source = if self.broken {
            "an earlier write failed, so it must be opened again first; restart the node"
        } else if self.log.doubt().is_some() {
            "its last write may be missing, and that is not decided yet; this is a bug, please report it"
        } else {
            return Ok(());
        };
        Err(StorageError::Database {
            doing,
            source: source.into(),
        })
    }

    /// After any error but a full disk, the store refuses writes.
    fn note(&mut self, result: Result<(), StorageError>) -> Result<(), StorageError> {
        self.broken |= result.as_ref().is_err_and(|error| !error.is_full());
        result
    }
}
