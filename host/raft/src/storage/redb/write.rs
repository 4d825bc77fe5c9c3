//! Writes within a transaction: a batch, a purge, a record.

use ::redb::{ReadableTable, Table, WriteTransaction};

use super::RedbStore;
use super::error::missing;
use super::tables::{self, ENTRIES, HARD_STATE, IDENTITY, META, PURGED};
use crate::ids::{Index, LogId};
use crate::storage::bounds::{self, LogBounds};
use crate::storage::{StorageError, WriteBatch, schema};

/// Most entries that one transaction removes. A purge of more takes several transactions, which limits the size of each.
pub(super) const PURGE_STEP: u64 = 16_384;

impl RedbStore {
    /// Writes a batch in a transaction; returns the last entry of the log after it.
    pub(super) fn apply(
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
        let format = tables::format_of(batch);
        if format > self.format {
            let record = schema::encode_identity(IDENTITY, format, &self.identity)?;
            self.put_meta(transaction, IDENTITY, &record)?;
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
        let checked = self.entry(before, before.0, record.value(), schema::check_entry)?;
        Ok(checked.id)
    }

    /// Removes the entries up to `up_to`, which is in the log, in steps of one transaction each. After a crash between two
    /// steps, the log starts later and is otherwise the same.
    pub(super) fn purge_front(&mut self, up_to: LogId) -> Result<(), StorageError> {
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
    pub(super) fn purge_all(&mut self, up_to: LogId) -> Result<(), StorageError> {
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

    pub(super) fn put_meta(
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
}
