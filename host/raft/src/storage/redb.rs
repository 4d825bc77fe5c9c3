//! The log on disk: one redb database with entries, term and vote.
//!
//! A batch is one transaction and one fsync. Each record has its own checksum in addition to the database's. A corrupt
//! record is detected when it is read, even if the database does not check the page.
//!
//! | module | what it has |
//! |---|---|
//! | `open` | creates and opens a database, locks the directory |
//! | `tables` | the tables, and the records that every database has |
//! | `backend` | the file below the database; opens it again after a full disk |
//! | `error` | converts errors and panics of the database |

mod backend;
mod error;
mod open;
mod tables;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::PathBuf;

use ::redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, WriteTransaction};

use self::backend::Medium;
use self::error::{fault, guarded, missing};
use self::tables::{ENTRIES, HARD_STATE, IDENTITY, MEMORY, META, PURGED, meta_record, read_state};
use super::bounds::{self, LogBounds};

pub use super::schema::{Identity, StoreInit};
use super::{LogStore, StorageError, StoreState, StoredState, WriteBatch, schema};
use crate::entry::Entry;
use crate::ids::{Index, LogId, Term};

/// Most entries that one transaction removes. A purge of more takes several transactions, which limits the size of each.
const PURGE_STEP: u64 = 16_384;

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

    fn mark_complete(&mut self) -> Result<(), StorageError> {
        let init = StoreInit {
            state: StoreState::Complete,
            ..self.init
        };
        if init == self.init {
            return Ok(());
        }
        let record = schema::encode_memory(MEMORY, init);
        self.change("noting that its node has its say", |store, transaction| {
            store.put_meta(transaction, MEMORY, &record)
        })?;
        self.init = init;
        Ok(())
    }
}

impl RedbStore {
    /// The identity that is recorded in the store.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Reads and checks the whole log; keeps no entry.
    fn scan(&self) -> Result<StoredState, StorageError> {
        const DOING: &str = "reading the log";
        let transaction = self
            .database(DOING)?
            .begin_read()
            .map_err(|error| self.fault(DOING, error))?;
        let meta = transaction
            .open_table(META)
            .map_err(|error| self.fault(DOING, error))?;
        let hard_state = self.record(&meta, HARD_STATE, schema::decode_hard_state)?;
        let purged = self.record(&meta, PURGED, schema::decode_log_id)?;

        let mut state = StoredState {
            hard_state,
            purged,
            last: purged,
            terms: Vec::new(),
            memberships: Vec::new(),
            store_id: self.init.store_id,
            state: self.init.state,
        };
        let entries = transaction
            .open_table(ENTRIES)
            .map_err(|error| self.fault(DOING, error))?;
        for item in entries.iter().map_err(|error| self.fault(DOING, error))? {
            let (key, record) = item.map_err(|error| self.fault(DOING, error))?;
            let wanted = state.last.index.next();
            let (id, members) =
                self.entry(wanted, key.value(), record.value(), schema::check_entry)?;
            note(&mut state, id)?;
            if let Some(members) = members {
                state.memberships.push((id.index, members));
            }
        }
        Ok(state)
    }

    fn read_range(
        &self,
        from: Index,
        to: Index,
        max_bytes: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        const DOING: &str = "reading entries";
        let transaction = self
            .database(DOING)?
            .begin_read()
            .map_err(|error| self.fault(DOING, error))?;
        let table = transaction
            .open_table(ENTRIES)
            .map_err(|error| self.fault(DOING, error))?;
        let mut range = table
            .range(from.0..=to.0)
            .map_err(|error| self.fault(DOING, error))?;
        let mut budget = max_bytes;
        let mut entries = Vec::new();
        let mut next = from;
        while next <= to {
            let (key, record) = match range.next() {
                Some(item) => item.map_err(|error| self.fault(DOING, error))?,
                None => return Err(missing(next)),
            };
            let entry = self.entry(next, key.value(), record.value(), schema::decode_entry)?;
            if entry.cost() > budget && !entries.is_empty() {
                break;
            }
            budget = budget.saturating_sub(entry.cost());
            entries.push(entry);
            next = next.next();
        }
        Ok(entries)
    }

    /// Writes a batch in a transaction; returns the last entry of the log after it.
    fn apply(
        &self,
        transaction: &WriteTransaction,
        batch: &WriteBatch,
    ) -> Result<LogId, StorageError> {
        const DOING: &str = "appending entries";
        let mut last = self.bounds.last;
        if batch.truncate_from.is_some() || !batch.entries.is_empty() {
            let mut table = transaction
                .open_table(ENTRIES)
                .map_err(|error| self.fault(DOING, error))?;
            if let Some(from) = batch.truncate_from {
                last = self.truncate(&mut table, from)?;
            }
            bounds::check_terms(last, &batch.entries)?;
            let mut record = Vec::new();
            for entry in &batch.entries {
                schema::encode_entry(entry, &mut record)?;
                table
                    .insert(entry.id.index.0, record.as_slice())
                    .map_err(|error| self.fault(DOING, error))?;
                last = entry.id;
            }
        }
        if let Some(hard_state) = &batch.hard_state {
            let record = schema::encode_hard_state(HARD_STATE, hard_state)?;
            self.put_meta(transaction, HARD_STATE, &record)?;
        }
        Ok(last)
    }

    /// Removes the entries from `from` on; returns the one before it.
    fn truncate(
        &self,
        table: &mut Table<'_, u64, &'static [u8]>,
        from: Index,
    ) -> Result<LogId, StorageError> {
        const DOING: &str = "removing conflicting entries";
        table
            .retain_in(from.0.., |_, _| false)
            .map_err(|error| self.fault(DOING, error))?;
        let before = from.previous();
        if before == self.bounds.purged.index {
            return Ok(self.bounds.purged);
        }
        let record = table
            .get(before.0)
            .map_err(|error| self.fault(DOING, error))?
            .ok_or_else(|| missing(before))?;
        let (id, _) = self.entry(before, before.0, record.value(), schema::check_entry)?;
        Ok(id)
    }

    /// Removes the entries up to `up_to`, which is in the log, in steps of one transaction each. After a crash between two
    /// steps, the log starts later and is otherwise the same.
    fn purge_front(&mut self, up_to: LogId) -> Result<(), StorageError> {
        while self.bounds.purged.index < up_to.index {
            let step = Index(
                up_to
                    .index
                    .0
                    .min(self.bounds.purged.index.0.saturating_add(PURGE_STEP)),
            );
            let id = if step == up_to.index {
                up_to
            } else {
                self.id_at(step)?
            };
            self.change("purging entries", |store, transaction| {
                const DOING: &str = "purging entries";
                let mut table = transaction
                    .open_table(ENTRIES)
                    .map_err(|error| store.fault(DOING, error))?;
                table
                    .retain_in(..=step.0, |_, _| false)
                    .map_err(|error| store.fault(DOING, error))?;
                store.put_meta(transaction, PURGED, &schema::encode_log_id(PURGED, id))
            })?;
            self.bounds.purged = id;
        }
        Ok(())
    }

    /// Removes all entries; the log continues after `up_to`. One transaction, because entries that remain after a crash
    /// could contradict the snapshot.
    fn purge_all(&mut self, up_to: LogId) -> Result<(), StorageError> {
        self.change("replacing the log", |store, transaction| {
            const DOING: &str = "replacing the log";
            transaction
                .delete_table(ENTRIES)
                .map_err(|error| store.fault(DOING, error))?;
            transaction
                .open_table(ENTRIES)
                .map_err(|error| store.fault(DOING, error))?;
            store.put_meta(transaction, PURGED, &schema::encode_log_id(PURGED, up_to))
        })?;
        self.bounds = LogBounds {
            purged: up_to,
            last: up_to,
        };
        Ok(())
    }

    fn database(&self, doing: &'static str) -> Result<&Database, StorageError> {
        let closed = || {
            StorageError::Database {
            doing,
            source: "it is closed, because it could not be opened again after the disk was full; start the node again".into(),
        }
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
            let source = "an earlier write failed, so the store must be opened again first; start the node again".into();
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

    fn put_meta(
        &self,
        transaction: &WriteTransaction,
        key: &str,
        record: &[u8],
    ) -> Result<(), StorageError> {
        const DOING: &str = "writing its state";
        let mut table = transaction
            .open_table(META)
            .map_err(|error| self.fault(DOING, error))?;
        table
            .insert(key, record)
            .map_err(|error| self.fault(DOING, error))?;
        Ok(())
    }

    fn id_at(&self, index: Index) -> Result<LogId, StorageError> {
        let entries = self.read(index, index, 0)?;
        entries
            .first()
            .map(|entry| entry.id)
            .ok_or_else(|| missing(index))
    }

    /// Decodes the record that must be the entry at `wanted`.
    fn entry<T>(
        &self,
        wanted: Index,
        key: u64,
        record: &[u8],
        decode: fn(Index, &[u8]) -> Result<T, schema::RecordError>,
    ) -> Result<T, StorageError> {
        if key != wanted.0 {
            return Err(missing(wanted));
        }
        decode(wanted, record).map_err(|error| error.of(format!("entry {wanted}"), &self.path))
    }

    /// Reads a record that every store has since its creation.
    fn record<T>(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
        key: &str,
        decode: fn(&str, &[u8]) -> Result<T, schema::RecordError>,
    ) -> Result<T, StorageError> {
        meta_record(&self.path, table, key, decode)
    }

    fn fault(&self, doing: &'static str, error: impl Into<::redb::Error>) -> StorageError {
        fault(&self.path, doing, error.into())
    }
}

/// Adds the next entry to the state of the log.
fn note(state: &mut StoredState, id: LogId) -> Result<(), StorageError> {
    if id.term < state.last.term {
        let reason = format!(
            "its term {} is lower than the term of the previous entry {}",
            id.term, state.last
        );
        return Err(StorageError::Corrupt {
            record: format!("entry {}", id.index),
            reason,
        });
    }
    let run: Option<Term> = state.terms.last().map(|(_, term)| *term);
    if run != Some(id.term) {
        state.terms.push((id.index, id.term));
    }
    state.last = id;
    Ok(())
}
