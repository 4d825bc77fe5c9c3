//! The tables of the database, and the records that every database has from its creation on.

use std::path::Path;

use ::redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::error::fault;
use crate::entry::HardState;
use crate::identity::RunHistory;
use crate::storage::schema::{self, Identity, StoreInit};
use crate::storage::{StorageError, schema::RecordError};

/// Only in a database of the releases before segments.
pub(super) const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const IDENTITY: &str = "identity";
pub(super) const HARD_STATE: &str = "hard_state";
/// Only in a database with entries.
pub(super) const PURGED: &str = "purged";
/// Which segments belong to the database. Missing in a database with entries.
pub(super) const LOG: &str = "log";
pub(super) const STORE_INIT: &str = "memory";
/// Written by the first start of a version that knows it.
pub(super) const ORIGIN: &str = "origin";
/// Optional, as [`MET`]: missing before the first run and the first peer.
pub(super) const RUNS: &str = "runs";
pub(super) const MET: &str = "met";
/// Optional as well: missing before the first run with leases.
pub(super) const LEASE: &str = "lease";

/// Writes the records that every store has since its creation.
pub(super) fn fill(
    database: &Database,
    path: &Path,
    identity: &Identity,
    init: StoreInit,
    log_id: u64,
) -> Result<(), StorageError> {
    let wrong = |error: ::redb::Error| fault(path, "creating an empty log", error);
    let mut transaction = database
        .begin_write()
        .map_err(|error| wrong(error.into()))?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(|error| wrong(error.into()))?;
    transaction.set_two_phase_commit(true);
    {
        let mut meta = transaction
            .open_table(META)
            .map_err(|error| wrong(error.into()))?;
        // All records from the start: one that is missing later is corruption, not a node that never voted.
        let records = [
            (
                IDENTITY,
                schema::encode_identity(IDENTITY, schema::FORMAT, identity)?,
            ),
            (
                HARD_STATE,
                schema::encode_hard_state(HARD_STATE, &HardState::default())?,
            ),
            (LOG, schema::encode_log_name(LOG, log_id)),
            (STORE_INIT, schema::encode_store_init(STORE_INIT, init)),
        ];
        for (key, record) in &records {
            meta.insert(*key, record.as_slice())
                .map_err(|error| wrong(error.into()))?;
        }
    }
    transaction.commit().map_err(|error| wrong(error.into()))
}

/// The records of a database that are read when it is opened.
pub(super) struct DatabaseState {
    pub(super) identity: Identity,
    pub(super) format: u32,
    pub(super) log_id: Option<u64>,
    pub(super) init: StoreInit,
    pub(super) runs: RunHistory,
}

/// Reads these records.
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
    let log_id = if format > schema::FORMAT_WITH_ENTRIES {
        Some(meta_record(path, &meta, LOG, schema::decode_log_name)?)
    } else {
        None
    };
    let runs = optional_record(path, &meta, RUNS, schema::decode_runs)?;
    Ok(DatabaseState {
        identity,
        format,
        log_id,
        init,
        runs: runs.unwrap_or_default(),
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
