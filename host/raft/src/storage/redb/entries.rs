//! The entries of a database of the releases before segments. They are read once, and then removed.

use ::redb::{ReadableDatabase, ReadableTable};

use super::MetaDatabase;
use super::error::guarded;
use super::tables::{ENTRIES, IDENTITY, LOG, META, PURGED, STORE_INIT, meta_record};
use crate::entry::Entry;
use crate::ids::{Index, LogId};
use crate::storage::{StorageError, schema};

/// Entries that are passed on together: as much as one usual write of the log.
const BATCH_BYTES: u64 = 1 << 20;

impl MetaDatabase {
    /// Reads all entries in order. `begin` gets the purged entry first, and `take` gets the entries, several at a time.
    pub(in crate::storage) fn read_entries(
        &self,
        begin: impl FnOnce(LogId) -> Result<(), StorageError>,
        mut take: impl FnMut(&[Entry]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        const DOING: &str = "reading the log";
        guarded(&self.path, || {
            let transaction = self
                .database(DOING)?
                .begin_read()
                .map_err(|error| self.fault(DOING, error))?;
            let meta = transaction
                .open_table(META)
                .map_err(|error| self.fault(DOING, error))?;
            let purged = meta_record(&self.path, &meta, PURGED, schema::decode_log_id)?;
            begin(purged)?;
            let table = transaction
                .open_table(ENTRIES)
                .map_err(|error| self.fault(DOING, error))?;
            let mut batch: Vec<Entry> = Vec::new();
            let (mut bytes, mut last) = (0, purged);
            for item in table.iter().map_err(|error| self.fault(DOING, error))? {
                let (key, record) = item.map_err(|error| self.fault(DOING, error))?;
                let entry = self.decode(last, key.value(), record.value())?;
                last = entry.id;
                bytes += entry.cost();
                batch.push(entry);
                if bytes >= BATCH_BYTES {
                    take(&batch)?;
                    batch.clear();
                    bytes = 0;
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            take(&batch)
        })
    }

    /// Decodes the record that must be the entry after `last`.
    fn decode(&self, last: LogId, key: u64, record: &[u8]) -> Result<Entry, StorageError> {
        let wanted = last.index.next();
        let corrupt = |reason: String| StorageError::Corrupt {
            record: format!("entry {wanted}"),
            reason,
        };
        if Index(key) != wanted {
            return Err(corrupt("it is missing".to_owned()));
        }
        let entry = schema::decode_entry(wanted, record)
            .map_err(|error| error.of(format!("entry {wanted}"), &self.path))?;
        if entry.id.term < last.term {
            return Err(corrupt(format!(
                "its term {} is lower than the term of the previous entry {last}",
                entry.id.term
            )));
        }
        Ok(entry)
    }

    /// Removes the entries, and records that they are in the segments of the log `log_id`. One transaction.
    pub(in crate::storage) fn forget_entries(&mut self, log_id: u64) -> Result<(), StorageError> {
        const DOING: &str = "migrating the log";
        let identity = schema::encode_identity(IDENTITY, schema::FORMAT, &self.identity)?;
        let records = [
            (IDENTITY, identity),
            (LOG, schema::encode_log_name(LOG, log_id)),
            (STORE_INIT, schema::encode_store_init(STORE_INIT, self.init)),
        ];
        self.change(DOING, |store, transaction| {
            transaction
                .delete_table(ENTRIES)
                .map_err(|error| store.fault(DOING, error))?;
            let mut meta = transaction
                .open_table(META)
                .map_err(|error| store.fault(DOING, error))?;
            meta.remove(PURGED)
                .map_err(|error| store.fault(DOING, error))?;
            for (key, record) in &records {
                meta.insert(*key, record.as_slice())
                    .map_err(|error| store.fault(DOING, error))?;
            }
            Ok(())
        })?;
        self.format = schema::FORMAT;
        self.log_id = Some(log_id);
        Ok(())
    }

    /// Gives the space of the removed entries back to the file system.
    pub(in crate::storage) fn compact(&mut self) -> Result<(), StorageError> {
        const DOING: &str = "giving back space";
        let path = self.path.clone();
        let Some(mut database) = self.database.take() else {
            return Ok(());
        };
        let compacted = guarded(&path, || {
            let compacted = database.compact();
            compacted.map_err(|error| super::fault(&path, DOING, error.into()))
        });
        self.database = Some(database);
        compacted.map(|_| ())
    }
}
