//! The log on disk: one redb database with entries, term and vote.
//!
//! A batch is one transaction and one fsync. Each record has its own checksum in addition to the database's. A corrupt
//! record is detected when it is read, even if the database does not check the page.
//!
//! | module | what it has |
//! |---|---|
//! | `open` | creates and opens a database, locks the directory |
//! | `read`, `write` | reads, and writes within a transaction |
//! | `tables` | the tables, and the records that every database has |
//! | `backend` | the file below the database; opens it again after a full disk |
//! | `error` | converts errors and panics of the database |

mod backend;
mod error;
mod open;
mod read;
mod tables;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::redb::{Database, Durability, WriteTransaction};

use self::backend::Medium;
use self::error::{fault, guarded};
use self::tables::{IDENTITY, LEASE, MET, ORIGIN, RUNS, STORE_INIT, format_of, read_state};
use super::bounds::LogBounds;

pub use super::schema::{FileOrigin, Identity, StoreInit};
use super::{LogStore, StorageError, StoreState, StoredState, WriteBatch, schema};
use crate::entry::Entry;
use crate::identity::{MetPeer, RunHistory, RunId};
use crate::ids::{Index, LogId, NodeId, StoreId};

/// A durable log in the data directory of a node. It locks the directory until it is dropped.
pub struct RedbStore {
    // Declared before the lock, so that it is closed before the lock is released. `None` while it is opened again.
    database: Option<Database>,
    /// The file below the database, to open it again after a full disk.
    medium: Medium,
    path: PathBuf,
    identity: Identity,
    format: u32,
    init: StoreInit,
    runs: RunHistory,
    bounds: LogBounds,
    /// A write failed: the content of the disk is unknown until the store is opened and read again.
    broken: bool,
    _lock: Option<File>,
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore")
            .field("path", &self.path)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

impl LogStore for RedbStore {
    fn load(&mut self) -> Result<StoredState, StorageError> {
        let state = guarded(&self.path, || self.scan())?;
        self.bounds = LogBounds {
            purged: state.purged,
            last: state.last,
        };
        Ok(state)
    }

    fn write(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.bounds.check_batch(batch)?;
        let last = self.change("writing", |store, transaction| {
            store.apply(transaction, batch)
        })?;
        self.format = self.format.max(format_of(batch));
        self.bounds.last = last;
        Ok(())
    }

    fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        self.bounds.check_read(from)?;
        guarded(&self.path, || {
            self.read_range(from, to.min(self.bounds.last.index), max_bytes)
        })
    }

    fn purge(&mut self, up_to: LogId) -> Result<(), StorageError> {
        let purged = self.bounds.purged;
        if up_to == purged || up_to.index < purged.index {
            return Ok(());
        }
        if self.bounds.contains(up_to.index) && self.id_at(up_to.index)? == up_to {
            self.purge_front(up_to)
        } else {
            self.purge_all(up_to)
        }
    }

    fn set_cluster_id(&mut self, cluster_id: &str) -> Result<(), StorageError> {
        if !self.identity.cluster_id.is_empty() {
            return Ok(());
        }
        self.replace_cluster_id(cluster_id)
    }

    fn replace_store_id(&mut self, store_id: StoreId) -> Result<(), StorageError> {
        let init = StoreInit {
            store_id,
            state: StoreState::Incomplete,
        };
        self.put_init("recording that the store is outdated", init)
    }

    fn begin_run(&mut self, run: RunId) -> Result<(), StorageError> {
        let runs = self.runs.next(run);
        let record = schema::encode_runs(RUNS, &runs);
        self.change("recording a run", |store, transaction| {
            store.put_meta(transaction, RUNS, &record)
        })?;
        self.runs = runs;
        Ok(())
    }

    fn remember_peers(&mut self, met: &[(NodeId, MetPeer)]) -> Result<(), StorageError> {
        let record = schema::encode_met(MET, met)?;
        self.change("recording the peers", |store, transaction| {
            store.put_meta(transaction, MET, &record)
        })
    }

    fn record_lease(&mut self, longest: Duration) -> Result<(), StorageError> {
        let record = schema::encode_lease(LEASE, longest);
        self.change("recording the longest lease", |store, transaction| {
            store.put_meta(transaction, LEASE, &record)
        })
    }

    fn mark_complete(&mut self) -> Result<(), StorageError> {
        let init = StoreInit {
            state: StoreState::Complete,
            ..self.init
        };
        if init == self.init {
            return Ok(());
        }
        self.put_init("recording that the store is complete", init)
    }
}

impl RedbStore {
    /// The identity that is recorded in the store.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Records another cluster id. Only for a store that contains nothing of its cluster.
    ///
    /// # Errors
    /// After an error the caller must not use the store.
    pub fn replace_cluster_id(&mut self, cluster_id: &str) -> Result<(), StorageError> {
        let identity = Identity {
            cluster_id: cluster_id.to_owned(),
            ..self.identity.clone()
        };
        let record = schema::encode_identity(IDENTITY, self.format, &identity)?;
        self.change("joining a cluster", |store, transaction| {
            store.put_meta(transaction, IDENTITY, &record)
        })?;
        self.identity = identity;
        Ok(())
    }

    /// Path of the database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Store id and state, as last recorded.
    #[must_use]
    pub fn init(&self) -> StoreInit {
        self.init
    }

    /// The file that the log was written to, if it is recorded.
    ///
    /// # Errors
    /// The record is corrupt.
    pub fn origin(&self) -> Result<Option<FileOrigin>, StorageError> {
        guarded(&self.path, || {
            self.optional_record(ORIGIN, schema::decode_origin)
        })
    }

    /// Records the file that the log is written to.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    pub fn record_origin(&mut self, origin: FileOrigin) -> Result<(), StorageError> {
        let record = schema::encode_origin(ORIGIN, origin);
        self.change("recording its file", |store, transaction| {
            store.put_meta(transaction, ORIGIN, &record)
        })
    }

    /// Records a new store id and state together with the file: the log is a copy, or has lost what its node acknowledged.
    ///
    /// # Errors
    /// As [`LogStore::write`].
    pub fn renew(&mut self, init: StoreInit, origin: FileOrigin) -> Result<(), StorageError> {
        let records = [
            (STORE_INIT, schema::encode_store_init(STORE_INIT, init)),
            (ORIGIN, schema::encode_origin(ORIGIN, origin)),
        ];
        self.change("recording that it is a copy", |store, transaction| {
            records
                .iter()
                .try_for_each(|(key, record)| store.put_meta(transaction, key, record))
        })?;
        self.init = init;
        Ok(())
    }

    fn put_init(&mut self, doing: &'static str, init: StoreInit) -> Result<(), StorageError> {
        let record = schema::encode_store_init(STORE_INIT, init);
        // A program that ignores the record must refuse the database.
        let format = self.format.max(schema::FORMAT_AT_LEVEL_0);
        let identity = schema::encode_identity(IDENTITY, format, &self.identity)?;
        self.change(doing, |store, transaction| {
            store.put_meta(transaction, IDENTITY, &identity)?;
            store.put_meta(transaction, STORE_INIT, &record)
        })?;
        self.format = format;
        self.init = init;
        Ok(())
    }

    fn database(&self, doing: &'static str) -> Result<&Database, StorageError> {
        let closed = || StorageError::Database {
            doing,
            source: "it could not be opened again after the disk was full; restart the node".into(),
        };
        self.database.as_ref().ok_or_else(closed)
    }

    /// Opens the database again after the disk was full: redb refuses all further work after such an error. The log must be
    /// unchanged; if it is not, another error happened.
    fn recover(&mut self) -> Result<(), StorageError> {
        self.database = None;
        let database = self.medium.open(&self.path)?;
        let found = read_state(&database, &self.path)?;
        if (&found.identity, &found.bounds) != (&self.identity, &self.bounds) {
            let source = format!(
                "the disk was full, but the log changed: it has {:?} and had {:?}; this is a bug, please report it",
                found.bounds, self.bounds
            );
            return Err(StorageError::Database {
                doing: "opening it again after the disk was full",
                source: source.into(),
            });
        }
        self.database = Some(database);
        Ok(())
    }

    /// Runs one durable transaction. If the disk is full, the store is unchanged and usable. After any other error, the
    /// store refuses further writes.
    fn change<T>(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&Self, &WriteTransaction) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if self.broken {
            let source =
                "an earlier write failed, so it must be opened again first; restart the node"
                    .into();
            return Err(StorageError::Database { doing, source });
        }
        let result = guarded(&self.path, || {
            let mut transaction = self
                .database(doing)?
                .begin_write()
                .map_err(|error| self.fault(doing, error))?;
            transaction
                .set_durability(Durability::Immediate)
                .map_err(|error| self.fault(doing, error))?;
            let value = change(self, &transaction)?;
            transaction
                .commit()
                .map_err(|error| self.fault(doing, error))?;
            Ok(value)
        });
        self.broken = result.is_err();
        let Err(full @ StorageError::Full { .. }) = result else {
            return result;
        };
        // After a failed sync the content of the disk is unknown, for any reason.
        if self.medium.has_failed_to_sync() {
            return Err(full.into_final());
        }
        let path = self.path.clone();
        // If opening it also needs space, the store can't be used any more.
        guarded(&path, || self.recover()).map_err(StorageError::into_final)?;
        self.broken = false;
        Err(full)
    }

    fn fault(&self, doing: &'static str, error: impl Into<::redb::Error>) -> StorageError {
        fault(&self.path, doing, error.into())
    }
}
