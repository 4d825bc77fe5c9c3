//! The database of a node: identity, term and vote, runs, peers, the state of the store. One redb database in one file.
//!
//! It is written rarely: at elections, starts, and changes of peers. A transaction is synced
//! twice, before and after it becomes the newest one, so corruption of the newest transaction is never taken for a crash. One bit of the
//! header, which tells the newest transaction, has no checksum, so each change is made in two transactions: whichever
//! counts contains it. Each record has its own checksum in addition to the database's.
//!
//! | module | what it has |
//! |---|---|
//! | `open` | creates and opens a database |
//! | `tables` | the tables, and the records that every database has |
//! | `entries` | reads the entries of a database that has them, and removes them |
//! | `backend` | the file below the database; opens it again after a full disk |
//! | `error` | converts errors and panics of the database |

mod backend;
mod entries;
mod error;
mod open;
mod tables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::redb::{Database, Durability, ReadableDatabase, WriteTransaction};

use self::backend::Medium;
use self::error::{fault, guarded};
use self::tables::{
    HARD_STATE, IDENTITY, LEASE, MET, META, ORIGIN, RUNS, STORE_INIT, meta_record, optional_record,
    read_state,
};
use super::schema::{FileOrigin, Identity, StoreInit};
use super::{StorageError, schema};
use crate::entry::HardState;
use crate::identity::{MetPeer, RunHistory, RunId};
use crate::ids::NodeId;

/// The records of a node that are not entries.
pub(super) struct MetaDatabase {
    /// `None` while it is opened again.
    database: Option<Database>,
    /// The file below the database, to open it again after a full disk.
    medium: Medium,
    path: PathBuf,
    identity: Identity,
    format: u32,
    /// Which segments belong to the database. `None`: it has entries itself.
    log_id: Option<u64>,
    init: StoreInit,
    runs: RunHistory,
    /// A write failed: the content of the disk is unknown until the store is opened and read again.
    broken: bool,
}

/// The records that a start reads once.
#[derive(Debug)]
pub(super) struct LoadedMeta {
    pub(super) hard_state: HardState,
    pub(super) met: Vec<(NodeId, MetPeer)>,
    pub(super) granted_lease: Duration,
}

impl MetaDatabase {
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn init(&self) -> StoreInit {
        self.init
    }

    pub(super) fn runs(&self) -> &RunHistory {
        &self.runs
    }

    /// Which segments belong to the database; `None` if the database has the entries itself.
    pub(super) fn log_id(&self) -> Option<u64> {
        self.log_id
    }

    pub(super) fn load(&self) -> Result<LoadedMeta, StorageError> {
        const DOING: &str = "reading its state";
        guarded(&self.path, || {
            let transaction = self
                .database(DOING)?
                .begin_read()
                .map_err(|error| self.fault(DOING, error))?;
            let meta = transaction
                .open_table(META)
                .map_err(|error| self.fault(DOING, error))?;
            let met = optional_record(&self.path, &meta, MET, schema::decode_met)?;
            let lease = optional_record(&self.path, &meta, LEASE, schema::decode_lease)?;
            Ok(LoadedMeta {
                hard_state: meta_record(&self.path, &meta, HARD_STATE, schema::decode_hard_state)?,
                met: met.unwrap_or_default(),
                granted_lease: lease.unwrap_or_default(),
            })
        })
    }

    pub(super) fn put_hard_state(&mut self, hard_state: &HardState) -> Result<(), StorageError> {
        let record = schema::encode_hard_state(HARD_STATE, hard_state)?;
        self.put("writing term and vote", &[(HARD_STATE, record)])
    }

    pub(super) fn begin_run(&mut self, run: RunId) -> Result<(), StorageError> {
        let runs = self.runs.next(run);
        let record = schema::encode_runs(RUNS, &runs);
        self.put("recording a run", &[(RUNS, record)])?;
        self.runs = runs;
        Ok(())
    }

    pub(super) fn remember_peers(&mut self, met: &[(NodeId, MetPeer)]) -> Result<(), StorageError> {
        let record = schema::encode_met(MET, met)?;
        self.put("recording the peers", &[(MET, record)])
    }

    pub(super) fn record_lease(&mut self, longest: Duration) -> Result<(), StorageError> {
        let record = schema::encode_lease(LEASE, longest);
        self.put("recording the longest lease", &[(LEASE, record)])
    }

    pub(super) fn replace_cluster_id(&mut self, cluster_id: &str) -> Result<(), StorageError> {
        let identity = Identity {
            cluster_id: cluster_id.to_owned(),
            ..self.identity.clone()
        };
        let record = schema::encode_identity(IDENTITY, self.format, &identity)?;
        self.put("joining a cluster", &[(IDENTITY, record)])?;
        self.identity = identity;
        Ok(())
    }

    /// The file that the database was written to, if it is recorded.
    pub(super) fn origin(&self) -> Result<Option<FileOrigin>, StorageError> {
        const DOING: &str = "reading its state";
        guarded(&self.path, || {
            let transaction = self
                .database(DOING)?
                .begin_read()
                .map_err(|error| self.fault(DOING, error))?;
            let meta = transaction
                .open_table(META)
                .map_err(|error| self.fault(DOING, error))?;
            optional_record(&self.path, &meta, ORIGIN, schema::decode_origin)
        })
    }

    pub(super) fn record_origin(&mut self, origin: FileOrigin) -> Result<(), StorageError> {
        let record = schema::encode_origin(ORIGIN, origin);
        self.put("recording its file", &[(ORIGIN, record)])
    }

    /// Records store id and state, and the file if it is another one. Durable in one step.
    pub(super) fn put_init(
        &mut self,
        doing: &'static str,
        init: StoreInit,
        origin: Option<FileOrigin>,
    ) -> Result<(), StorageError> {
        let mut records = vec![(STORE_INIT, schema::encode_store_init(STORE_INIT, init))];
        records.extend(origin.map(|origin| (ORIGIN, schema::encode_origin(ORIGIN, origin))));
        self.put(doing, &records)?;
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

    /// Opens the database again after the disk was full: redb refuses all further work after such an error. Its content must be
    /// unchanged; if it is not, another error happened.
    fn recover(&mut self) -> Result<(), StorageError> {
        self.database = None;
        let database = self.medium.open(&self.path)?;
        let found = read_state(&database, &self.path)?;
        let before = (&self.identity, self.log_id, self.init, &self.runs);
        if (&found.identity, found.log_id, found.init, &found.runs) != before {
            let source =
                "the disk was full, but the database changed; this is a bug, please report it";
            return Err(StorageError::Database {
                doing: "opening it again after the disk was full",
                source: source.into(),
            });
        }
        self.database = Some(database);
        Ok(())
    }

    /// Writes records, durably. See the module on why it does so twice.
    fn put(
        &mut self,
        doing: &'static str,
        records: &[(&'static str, Vec<u8>)],
    ) -> Result<(), StorageError> {
        self.put_once(doing, records)?;
        // After the first one the store is not unchanged any more.
        let again = self.put_once(doing, records);
        again.map_err(StorageError::into_final)
    }

    fn put_once(
        &mut self,
        doing: &'static str,
        records: &[(&'static str, Vec<u8>)],
    ) -> Result<(), StorageError> {
        self.change(doing, |store, transaction| {
            let mut table = transaction
                .open_table(META)
                .map_err(|error| store.fault(doing, error))?;
            for (key, record) in records {
                table
                    .insert(*key, record.as_slice())
                    .map_err(|error| store.fault(doing, error))?;
            }
            Ok(())
        })
    }

    /// Runs one durable transaction. If the disk is full, the database is unchanged and usable. After any other error, it
    /// refuses further writes.
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
            transaction.set_two_phase_commit(true);
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
