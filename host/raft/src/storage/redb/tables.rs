//! The tables of the database, and the records that every database has from its creation on.

use std::path::Path;

use ::redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::fault;
use crate::entry::{Entry, HardState};
use crate::identity::RunHistory;
use crate::ids::{Index, LogId};
use crate::storage::bounds::LogBounds;
use crate::storage::schema::{self, Identity, StoreInit};
use crate::storage::{StorageError, WriteBatch, schema::RecordError};

pub(super) const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const IDENTITY: &str = "identity";
pub(super) const HARD_STATE: &str = "hard_state";
pub(super) const PURGED: &str = "purged";
pub(super) const STORE_INIT: &str = "memory";
/// Written by the first start of a version that knows it.
pub(super) const ORIGIN: &str = "origin";
/// Optional, as [`MET`]: a release without this record ignores it.
pub(super) const RUNS: &str = "runs";
pub(super) const MET: &str = "met";
/// Optional as well: a release without it waits after a start as long as its own settings say.
pub(super) const LEASE: &str = "lease";

/// Writes the records that every store has since its creation.
pub(super) fn fill(
    database: &Database,
    path: &Path,
    identity: &Identity,
    init: StoreInit,
) -> Result<(), StorageError> {
    let wrong = |error: ::redb::Error| fault(path, "creating an empty log", error);
    let mut transaction = database
        .begin_write()
        .map_err(|error| wrong(error.into()))?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(|error| wrong(error.into()))?;
    {
        transaction
            .open_table(ENTRIES)
            .map_err(|error| wrong(error.into()))?;
        let mut meta = transaction
            .open_table(META)
            .map_err(|error| wrong(error.into()))?;
        // All records from the start: one that is missing later is corruption, not a node that never voted.
        let records = [
            (
                IDENTITY,
                schema::encode_identity(IDENTITY, schema::FORMAT_AT_LEVEL_0, identity)?,
            ),
            (
                HARD_STATE,
                schema::encode_hard_state(HARD_STATE, &HardState::default())?,
            ),
            (PURGED, schema::encode_log_id(PURGED, LogId::default())),
            (STORE_INIT, schema::encode_store_init(STORE_INIT, init)),
        ];
        for (key, record) in &records {
            meta.insert(*key, record.as_slice())
                .map_err(|error| wrong(error.into()))?;
        }
    }
    transaction.commit().map_err(|error| wrong(error.into()))
}

/// The records of a database that are not entries, and the range of its log.
pub(super) struct DatabaseState {
    pub(super) identity: Identity,
    pub(super) format: u32,
    pub(super) init: StoreInit,
    pub(super) runs: RunHistory,
    pub(super) bounds: LogBounds,
}

/// Reads these records and the last entry.
pub(super) fn read_state(database: &Database, path: &Path) -> Result<DatabaseState, StorageError> {
    let wrong = |error: ::redb::Error| fault(path, "opening it", error);
    let transaction = database.begin_read().map_err(|error| wrong(error.into()))?;
    let meta = transaction
        .open_table(META)
        .map_err(|error| wrong(error.into()))?;
    let (format, identity) = meta_record(path, &meta, IDENTITY, schema::decode_identity)?;
    let init = if format > schema::FORMAT_WITHOUT_STORE_INIT {
        meta_record(path, &meta, STORE_INIT, schema::decode_store_init)?
    } else {
        StoreInit::default()
    };
    let runs = optional_record(path, &meta, RUNS, schema::decode_runs)?;
    let purged = meta_record(path, &meta, PURGED, schema::decode_log_id)?;
    let entries = transaction
        .open_table(ENTRIES)
        .map_err(|error| wrong(error.into()))?;
    let last = match entries.last().map_err(|error| wrong(error.into()))? {
        None => purged,
        Some((key, record)) => {
            let index = Index(key.value());
            let checked = schema::check_entry(index, record.value());
            let checked = checked.map_err(|error| error.of(format!("entry {index}"), path))?;
            checked.id
        }
    };
    Ok(DatabaseState {
        identity,
        format,
        init,
        runs: runs.unwrap_or_default(),
        bounds: LogBounds { purged, last },
    })
}

/// Reads and decodes the record under `key`, which every database has.
pub(super) fn meta_record<T>(
    path: &Path,
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
    decode: fn(&str, &[u8]) -> Result<T, RecordError>,
) -> Result<T, StorageError> {
    optional_record(path, table, key, decode)?.ok_or_else(|| StorageError::Corrupt {
        record: record_name(path, key),
        reason: "it is missing".to_owned(),
    })
}

/// Reads and decodes the record under `key`, if there is one.
pub(super) fn optional_record<T>(
    path: &Path,
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
    decode: fn(&str, &[u8]) -> Result<T, RecordError>,
) -> Result<Option<T>, StorageError> {
    let found = table
        .get(key)
        .map_err(|error| fault(path, "reading its state", error.into()))?;
    let decoded = found.map(|record| decode(key, record.value())).transpose();
    decoded.map_err(|error| error.of(record_name(path, key), path))
}

fn record_name(path: &Path, key: &str) -> String {
    format!("the record {key:?} of {}", path.display())
}

/// The format that a database needs for the entries of this batch. A release that does not know cluster levels must refuse a
/// database that contains one.
pub(super) fn format_of(batch: &WriteBatch) -> u32 {
    let has_level = |entry: &Entry| entry.payload.cluster().is_some();
    if batch.entries.iter().any(has_level) {
        schema::FORMAT
    } else {
        schema::FORMAT_WITHOUT_STORE_INIT
    }
}
