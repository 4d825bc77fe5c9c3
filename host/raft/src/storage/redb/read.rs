//! Reads of the log: the check of the whole log at the start, and ranges of entries.

use ::redb::{ReadableDatabase, ReadableTable};

use super::RedbStore;
use super::error::missing;
use super::tables::{ENTRIES, HARD_STATE, LEASE, MET, META, PURGED, meta_record, optional_record};
use crate::entry::Entry;
use crate::ids::{Index, LogId, Term};
use crate::storage::schema::RecordError;
use crate::storage::{LogStore, StorageError, StoredState, schema};

impl RedbStore {
    /// Reads and checks the whole log; keeps no entry.
    pub(super) fn scan(&self) -> Result<StoredState, StorageError> {
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
        let met = optional_record(&self.path, &meta, MET, schema::decode_met)?;
        let lease = optional_record(&self.path, &meta, LEASE, schema::decode_lease)?;

        let mut state = StoredState {
            hard_state,
            purged,
            last: purged,
            terms: Vec::new(),
            memberships: Vec::new(),
            clusters: Vec::new(),
            store_id: self.init.store_id,
            state: self.init.state,
            runs: self.runs.clone(),
            met: met.unwrap_or_default(),
            granted_lease: lease.unwrap_or_default(),
        };
        let entries = transaction
            .open_table(ENTRIES)
            .map_err(|error| self.fault(DOING, error))?;
        for item in entries.iter().map_err(|error| self.fault(DOING, error))? {
            let (key, record) = item.map_err(|error| self.fault(DOING, error))?;
            let wanted = state.last.index.next();
            let checked = self.entry(wanted, key.value(), record.value(), schema::check_entry)?;
            let index = checked.id.index;
            note(&mut state, checked.id)?;
            let membership = checked.membership.map(|membership| (index, membership));
            state.memberships.extend(membership);
            state
                .clusters
                .extend(checked.cluster.map(|cluster| (index, cluster)));
        }
        Ok(state)
    }

    pub(super) fn read_range(
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

    pub(super) fn id_at(&self, index: Index) -> Result<LogId, StorageError> {
        let entries = self.read(index, index, 0)?;
        entries
            .first()
            .map(|entry| entry.id)
            .ok_or_else(|| missing(index))
    }

    /// Decodes the record that must be the entry at `wanted`.
    pub(super) fn entry<T>(
        &self,
        wanted: Index,
        key: u64,
        record: &[u8],
        decode: fn(Index, &[u8]) -> Result<T, RecordError>,
    ) -> Result<T, StorageError> {
        if key != wanted.0 {
            return Err(missing(wanted));
        }
        decode(wanted, record).map_err(|error| error.of(format!("entry {wanted}"), &self.path))
    }

    /// Reads a record that a store may lack.
    pub(super) fn optional_record<T>(
        &self,
        key: &str,
        decode: fn(&str, &[u8]) -> Result<T, RecordError>,
    ) -> Result<Option<T>, StorageError> {
        const DOING: &str = "reading its state";
        let transaction = self
            .database(DOING)?
            .begin_read()
            .map_err(|error| self.fault(DOING, error))?;
        let table = transaction
            .open_table(META)
            .map_err(|error| self.fault(DOING, error))?;
        optional_record(&self.path, &table, key, decode)
    }

    /// Reads a record that every store has since its creation.
    pub(super) fn record<T>(
        &self,
        table: &impl ReadableTable<&'static str, &'static [u8]>,
        key: &str,
        decode: fn(&str, &[u8]) -> Result<T, RecordError>,
    ) -> Result<T, StorageError> {
        meta_record(&self.path, table, key, decode)
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
