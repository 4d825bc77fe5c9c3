//! Creates, opens and replaces the store in a directory.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::StorageBackend;

use super::NodeStore;
use super::migration::migrate;
use crate::random::random_u64;
use crate::storage::StorageError;
use crate::storage::files::{self, create_dir, failed, remove};
use crate::storage::redb::MetaDatabase;
use crate::storage::schema::{Identity, StoreInit};
use crate::storage::segments::{
    SegmentDirectory, SegmentFiles, SegmentLog, SegmentPreparation, SegmentRules,
};

/// The database.
const DATABASE: &str = "raft.redb";
/// A database that is being created. It is renamed when it is complete, so a crash before that leaves no database.
const UNFINISHED: &str = "raft.redb.new";
/// The process that uses the directory holds the lock of this file.
const LOCK: &str = "raft.lock";
/// The directory of the logs.
const LOGS: &str = "log";

impl NodeStore {
    /// Opens the store in `dir`, or creates an empty one for a node that has never voted. Every page and record is checked.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] if it belongs to another node or cluster, [`StorageError::InUse`] if another process uses
    /// it, [`StorageError::Corrupt`] and [`StorageError::TooNew`] if it can't be read.
    pub fn open(dir: &Path, identity: &Identity) -> Result<Self, StorageError> {
        Self::open_or_create(dir, identity, StoreInit::default())
    }

    /// Opens the store in `dir`, or creates an empty one with the store id and state of `init`.
    ///
    /// # Errors
    /// As [`NodeStore::open`].
    pub fn open_or_create(
        dir: &Path,
        identity: &Identity,
        init: StoreInit,
    ) -> Result<Self, StorageError> {
        let store = Self::open_of_any_cluster(dir, identity, init)?;
        check_identity(dir, store.identity(), identity)?;
        Ok(store)
    }

    /// As [`NodeStore::open_or_create`], for a store of any cluster: the caller compares [`NodeStore::identity`].
    ///
    /// # Errors
    /// As [`NodeStore::open`], but [`StorageError::Foreign`] only for another node.
    pub fn open_of_any_cluster(
        dir: &Path,
        identity: &Identity,
        init: StoreInit,
    ) -> Result<Self, StorageError> {
        create_dir(dir)?;
        let lock = lock(dir)?;
        if !exists(&dir.join(DATABASE))? {
            check_no_log(dir)?;
            prepare(dir, identity, init)?;
            publish(dir)?;
        }
        let store = Self::open_files(dir, lock)?;
        check_node(dir, store.identity(), identity)?;
        Ok(store)
    }

    /// Whether `dir` contains a store, which may be empty.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn exists(dir: &Path) -> Result<bool, StorageError> {
        exists(&dir.join(DATABASE))
    }

    /// Replaces the store in `dir`, which may be corrupt, by an empty one. The new one is complete and durable before `before` is
    /// called with the files of the old one, and replaces it after that call.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process uses it; the error of `before`; an error of the disk.
    pub fn replace(
        dir: &Path,
        identity: &Identity,
        init: StoreInit,
        before: impl FnOnce(&StoreFiles) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _lock = lock(dir)?;
        let old = StoreFiles {
            database: dir.join(DATABASE),
            logs: logs_in(dir)?,
        };
        prepare(dir, identity, init)?;
        before(&old)?;
        publish(dir)
    }

    /// Opens the store in `dir` of any node or cluster; `None` if there is none. For a program that takes the node id from
    /// the directory; see [`NodeStore::identity`].
    ///
    /// # Errors
    /// As [`NodeStore::open`], but never [`StorageError::Foreign`].
    pub fn open_existing(dir: &Path) -> Result<Option<Self>, StorageError> {
        if !exists(&dir.join(DATABASE))? {
            return Ok(None);
        }
        let lock = lock(dir)?;
        Self::open_files(dir, lock).map(Some)
    }

    /// The identity of the store in `dir`; `None` if there is no store. Opens and closes the store, which reads all of it: to use
    /// it afterwards, prefer [`NodeStore::open_existing`].
    ///
    /// # Errors
    /// As [`NodeStore::open_existing`].
    pub fn peek(dir: &Path) -> Result<Option<Identity>, StorageError> {
        Ok(Self::open_existing(dir)?.map(|store| store.identity().clone()))
    }

    /// Opens the store on other files, for example ones that simulate disk failures; creates an empty store if the backend of the
    /// database is empty. A new log gets this id and these rules. Errors show `name` as the path. It locks no file, and starts no
    /// thread.
    ///
    /// # Errors
    /// As [`NodeStore::open`], but [`StorageError::InUse`] only if the backend implements locks.
    pub fn open_or_create_on(
        medium: (impl StorageBackend, Arc<dyn SegmentFiles>),
        name: &Path,
        identity: &Identity,
        init: StoreInit,
        new_log: (u64, SegmentRules),
    ) -> Result<Self, StorageError> {
        let (backend, files) = medium;
        let (log_id, rules) = new_log;
        let mut new = None;
        if MetaDatabase::is_missing(&backend, name)? {
            SegmentLog::create(&*files, log_id, rules)?;
            new = Some((identity, init, log_id));
        }
        let mut meta = MetaDatabase::open_on(backend, name, new)?;
        let log_id = match meta.log_id() {
            Some(log_id) => log_id,
            None => migrate(&mut meta, &files, log_id, rules)?,
        };
        let log = SegmentLog::open(files, log_id, rules, SegmentPreparation::Inline)?;
        let store = Self {
            log,
            meta,
            broken: false,
            _lock: None,
        };
        check_identity(name, store.identity(), identity)?;
        Ok(store)
    }

    fn open_files(dir: &Path, lock: File) -> Result<Self, StorageError> {
        let database = dir.join(DATABASE);
        let mut meta = MetaDatabase::open(&database)?;
        let rules = SegmentRules::default();
        let log_id = match meta.log_id() {
            Some(log_id) => log_id,
            None => {
                let log_id = migrate_in(dir, &mut meta)?;
                // redb refuses all further work if giving back the space has failed.
                drop(meta);
                meta = MetaDatabase::open(&database)?;
                log_id
            }
        };
        let path = log_dir(dir, log_id);
        if !exists(&path)? {
            return Err(StorageError::Corrupt {
                record: format!("the log {}", path.display()),
                reason: "it is missing".to_owned(),
            });
        }
        let files = Arc::new(SegmentDirectory::new(&path));
        let log = SegmentLog::open(files, log_id, rules, SegmentPreparation::Thread)?;
        remove_other_logs(dir, &path)?;
        Ok(Self {
            log,
            meta,
            broken: false,
            _lock: Some(lock),
        })
    }
}

/// The files of a store in a directory.
#[derive(Debug)]
pub struct StoreFiles {
    /// The database, which may be missing.
    pub database: PathBuf,
    /// The directories of its logs, usually one.
    pub logs: Vec<PathBuf>,
}

fn exists(path: &Path) -> Result<bool, StorageError> {
    path.try_exists().map_err(failed("cannot look for", path))
}

/// Locks the directory for this process until the file is closed.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join(LOCK);
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.open(&path).map_err(failed("cannot open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::InUse {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed("cannot lock", &path)(error)),
    }
}

/// A random id. Never 0.
fn new_log_id() -> u64 {
    random_u64().max(1)
}

fn log_dir(dir: &Path, log_id: u64) -> PathBuf {
    dir.join(LOGS).join(format!("{log_id:016x}"))
}

/// Creates an empty log, durably; returns its id.
fn create_log(dir: &Path) -> Result<u64, StorageError> {
    let log_id = new_log_id();
    let path = log_dir(dir, log_id);
    create_dir(&dir.join(LOGS))?;
    create_dir(&path)?;
    SegmentLog::create(
        &SegmentDirectory::new(&path),
        log_id,
        SegmentRules::default(),
    )?;
    Ok(log_id)
}

/// Creates an empty store: a log, and a database under a temporary name.
fn prepare(dir: &Path, identity: &Identity, init: StoreInit) -> Result<(), StorageError> {
    let unfinished = dir.join(UNFINISHED);
    remove(&unfinished)?;
    let log_id = create_log(dir)?;
    MetaDatabase::create(&unfinished, identity, init, log_id)
}

/// Gives the finished database its final name.
fn publish(dir: &Path) -> Result<(), StorageError> {
    files::publish(&dir.join(UNFINISHED), &dir.join(DATABASE))
}

fn migrate_in(dir: &Path, meta: &mut MetaDatabase) -> Result<u64, StorageError> {
    let log_id = new_log_id();
    let path = log_dir(dir, log_id);
    // An interrupted migration must not take space from the next one. The entries are still in the database.
    remove_other_logs(dir, &path)?;
    create_dir(&dir.join(LOGS))?;
    create_dir(&path)?;
    let files: Arc<dyn SegmentFiles> = Arc::new(SegmentDirectory::new(&path));
    migrate(meta, &files, log_id, SegmentRules::default())?;
    if let Err(error) = meta.compact() {
        tracing::warn!(%error, "the database keeps the space of the entries that were moved out of it");
    }
    Ok(log_id)
}

/// Without a database, a log is left of a start that was interrupted, and contains nothing. A log with data has lost its database.
fn check_no_log(dir: &Path) -> Result<(), StorageError> {
    for log in logs_in(dir)? {
        if SegmentLog::has_data(&SegmentDirectory::new(&log))? {
            return Err(StorageError::Corrupt {
                record: format!("the log database {}", dir.join(DATABASE).display()),
                reason: format!("it is missing, and {} contains entries", log.display()),
            });
        }
        remove_log(&log)?;
    }
    Ok(())
}

/// Removes logs that the database does not name: of an interrupted start or migration, or set aside by a repair.
fn remove_other_logs(dir: &Path, own: &Path) -> Result<(), StorageError> {
    let mut others = logs_in(dir)?.into_iter().filter(|log| log != own);
    others.try_for_each(|log| remove_log(&log))
}

fn remove_log(log: &Path) -> Result<(), StorageError> {
    fs::remove_dir_all(log).map_err(failed("cannot remove", log))
}

fn logs_in(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let logs = dir.join(LOGS);
    if !exists(&logs)? {
        return Ok(Vec::new());
    }
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&logs)? {
            let item = item?;
            if item.file_type()?.is_dir() {
                found.push(item.path());
            }
        }
        found.sort_unstable();
        Ok(found)
    };
    list().map_err(failed("cannot list", &logs))
}

fn check_identity(dir: &Path, found: &Identity, expected: &Identity) -> Result<(), StorageError> {
    if found.cluster_id != expected.cluster_id {
        return Err(StorageError::Foreign {
            path: dir.to_owned(),
            what: "cluster",
            found: found.cluster_id.clone(),
            expected: expected.cluster_id.clone(),
        });
    }
    check_node(dir, found, expected)
}

fn check_node(dir: &Path, found: &Identity, expected: &Identity) -> Result<(), StorageError> {
    if found.node_id != expected.node_id {
        return Err(StorageError::Foreign {
            path: dir.to_owned(),
            what: "node",
            found: found.node_id.as_str().to_owned(),
            expected: expected.node_id.as_str().to_owned(),
        });
    }
    Ok(())
}
