//! Creates and opens a database, locks its directory, and checks its identity.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use ::redb::{Database, StorageBackend};

use super::RedbStore;
use super::backend::{Medium, builder};
use super::error::{fault, guarded};
use super::tables::{fill, read_state};
use crate::storage::StorageError;
use crate::storage::files::{self, create_dir, failed, remove};
use crate::storage::schema::{Identity, StoreInit};

/// The database.
const DATABASE: &str = "raft.redb";
/// A database that is being created. It is renamed when it is complete, so a crash before that leaves no database.
const UNFINISHED: &str = "raft.redb.new";
/// The process that uses the directory holds the lock of this file.
const LOCK: &str = "raft.lock";

impl RedbStore {
    /// Opens the log in `dir`, or creates an empty one for a node that has never voted. Every page and record is checked,
    /// here and in `load`.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] if it belongs to another node or cluster, [`StorageError::InUse`] if another process uses
    /// it, [`StorageError::Corrupt`] and [`StorageError::TooNew`] if it can't be read.
    pub fn open(dir: &Path, identity: &Identity) -> Result<Self, StorageError> {
        Self::open_or_create(dir, identity, StoreInit::default())
    }

    /// Opens the log in `dir`, or creates an empty one with the store id and state of `init`.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_or_create(
        dir: &Path,
        identity: &Identity,
        init: StoreInit,
    ) -> Result<Self, StorageError> {
        let store = Self::open_of_any_cluster(dir, identity, init)?;
        check_identity(dir, &store.identity, identity)?;
        Ok(store)
    }

    /// As [`RedbStore::open_or_create`], for a log of any cluster: the caller compares [`RedbStore::identity`].
    ///
    /// # Errors
    /// As [`RedbStore::open`], but [`StorageError::Foreign`] only for another node.
    pub fn open_of_any_cluster(
        dir: &Path,
        identity: &Identity,
        init: StoreInit,
    ) -> Result<Self, StorageError> {
        create_dir(dir)?;
        let lock = lock(dir)?;
        if !exists(&dir.join(DATABASE))? {
            create(dir, identity, init)?;
        }
        let store = Self::open_file(dir, lock)?;
        check_node(dir, &store.identity, identity)?;
        Ok(store)
    }

    /// Whether `dir` contains a log, which may be empty.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn exists(dir: &Path) -> Result<bool, StorageError> {
        exists(&dir.join(DATABASE))
    }

    /// Replaces the log in `dir`, which may be corrupt, by an empty one. The new log is complete and durable before
    /// `before` is called with the path of the old one, and replaces it after that call.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process uses it; the error of `before`; an error of the disk.
    pub fn replace(
        dir: &Path,
        identity: &Identity,
        init: StoreInit,
        before: impl FnOnce(&Path) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _lock = lock(dir)?;
        prepare(dir, identity, init)?;
        before(&dir.join(DATABASE))?;
        publish(dir)
    }

    /// Opens the log in `dir` of any node or cluster; `None` if there is none. For a program that takes the node id from
    /// the directory; see [`RedbStore::identity`].
    ///
    /// # Errors
    /// As [`RedbStore::open`], but never [`StorageError::Foreign`].
    pub fn open_existing(dir: &Path) -> Result<Option<Self>, StorageError> {
        if !exists(&dir.join(DATABASE))? {
            return Ok(None);
        }
        let lock = lock(dir)?;
        Self::open_file(dir, lock).map(Some)
    }

    /// The identity of the log in `dir`; `None` if there is no log. Opens and closes the log, which reads all of it: to use
    /// the log afterwards, prefer [`RedbStore::open_existing`].
    ///
    /// # Errors
    /// As [`RedbStore::open_existing`].
    pub fn peek(dir: &Path) -> Result<Option<Identity>, StorageError> {
        Ok(Self::open_existing(dir)?.map(|store| store.identity.clone()))
    }

    /// Opens the log on another backend, for example one that simulates disk failures; creates an empty log if the backend
    /// is empty. Errors show `name` as the path. It locks no file.
    ///
    /// # Errors
    /// As [`RedbStore::open`], but [`StorageError::InUse`] only if the backend implements locks.
    pub fn open_on(
        backend: impl StorageBackend,
        name: &Path,
        identity: &Identity,
    ) -> Result<Self, StorageError> {
        Self::open_or_create_on(backend, name, identity, StoreInit::default())
    }

    /// As [`RedbStore::open_on`]; an empty log is created with the store id and state of `init`.
    ///
    /// # Errors
    /// As [`RedbStore::open_on`].
    pub fn open_or_create_on(
        backend: impl StorageBackend,
        name: &Path,
        identity: &Identity,
        init: StoreInit,
    ) -> Result<Self, StorageError> {
        let store = guarded(name, || {
            let length = backend.len();
            let length = length.map_err(|error| fault(name, "opening it", error.into()))?;
            let medium = Medium::of(backend);
            // A new database needs no check and has no tables yet.
            let database = if length == 0 {
                let database = medium.create(name)?;
                fill(&database, name, identity, init)?;
                database
            } else {
                medium.open(name)?
            };
            Self::from_database(database, medium, name.to_owned(), None)
        })?;
        check_identity(name, &store.identity, identity)?;
        Ok(store)
    }

    fn open_file(dir: &Path, lock: File) -> Result<Self, StorageError> {
        let path = dir.join(DATABASE);
        guarded(&path.clone(), || {
            let medium = Medium::file();
            let database = medium.open(&path)?;
            Self::from_database(database, medium, path, Some(lock))
        })
    }

    fn from_database(
        database: Database,
        medium: Medium,
        path: PathBuf,
        lock: Option<File>,
    ) -> Result<Self, StorageError> {
        let found = read_state(&database, &path)?;
        Ok(Self {
            database: Some(database),
            medium,
            path,
            identity: found.identity,
            format: found.format,
            init: found.init,
            runs: found.runs,
            bounds: found.bounds,
            broken: false,
            _lock: lock,
        })
    }
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

/// Creates an empty database under a temporary name, then renames it.
fn create(dir: &Path, identity: &Identity, init: StoreInit) -> Result<(), StorageError> {
    prepare(dir, identity, init)?;
    publish(dir)
}

/// Creates an empty database under a temporary name.
fn prepare(dir: &Path, identity: &Identity, init: StoreInit) -> Result<(), StorageError> {
    let unfinished = dir.join(UNFINISHED);
    remove(&unfinished)?;
    guarded(&unfinished, || {
        let wrong = |error: ::redb::Error| fault(&unfinished, "creating an empty log", error);
        let database = builder()
            .create(&unfinished)
            .map_err(|error| wrong(error.into()))?;
        fill(&database, &unfinished, identity, init)?;
        database.close().map_err(|error| wrong(error.into()))
    })
}

/// Gives the finished database its final name.
fn publish(dir: &Path) -> Result<(), StorageError> {
    files::publish(&dir.join(UNFINISHED), &dir.join(DATABASE))
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
