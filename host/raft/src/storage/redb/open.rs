//! How a database is made, opened and told from somebody else's.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use ::redb::{Database, StorageBackend};

use super::RedbStore;
use super::backend::{Medium, builder};
use super::error::{fault, guarded};
use super::tables::{fill, read_state};
use crate::storage::StorageError;
use crate::storage::files::{self, create_dir, failed, remove};
use crate::storage::schema::{Birth, Identity};

/// The database.
const DATABASE: &str = "raft.redb";
/// A database that is being made. It gets its name when it is whole, so a crash in between leaves none.
const UNFINISHED: &str = "raft.redb.new";
/// Whose lock is held by the process that uses the directory.
const LOCK: &str = "raft.lock";

impl RedbStore {
    /// Opens the log in `dir`, or makes an empty one whose node has promised nothing. Every page and record of it is
    /// checked, here and in `load`.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] where it is another node's or cluster's, [`StorageError::InUse`] where another
    /// process has it, [`StorageError::Corrupt`] and [`StorageError::TooNew`] where it can't be understood.
    pub fn open(dir: &Path, identity: &Identity) -> Result<Self, StorageError> {
        Self::open_or_create(dir, identity, Birth::default())
    }

    /// Opens the log in `dir`, or makes an empty one as `birth` says.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_or_create(
        dir: &Path,
        identity: &Identity,
        birth: Birth,
    ) -> Result<Self, StorageError> {
        create_dir(dir)?;
        let lock = lock(dir)?;
        if !exists(&dir.join(DATABASE))? {
            create(dir, identity, birth)?;
        }
        let store = Self::open_file(dir, lock)?;
        check_identity(dir, &store.identity, identity)?;
        Ok(store)
    }

    /// Puts an empty log in the place of the one in `dir`, which may be damaged. `before` is told where that is, and does
    /// what has to be done before it goes: the new one is whole and on the disk by then.
    ///
    /// # Errors
    /// [`StorageError::InUse`] where another process has it; what `before` fails with; where the disk fails.
    pub fn replace(
        dir: &Path,
        identity: &Identity,
        birth: Birth,
        before: impl FnOnce(&Path) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let _lock = lock(dir)?;
        prepare(dir, identity, birth)?;
        before(&dir.join(DATABASE))?;
        publish(dir)
    }

    /// Opens the log in `dir` whosever it is, or returns none where there is none. For a program that learns
    /// from the directory which node it is; see [`RedbStore::identity`].
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

    /// Whose data is in `dir`, if any. Opens and closes the log; [`RedbStore::open_existing`] does so only once.
    ///
    /// # Errors
    /// As [`RedbStore::open_existing`].
    pub fn peek(dir: &Path) -> Result<Option<Identity>, StorageError> {
        Ok(Self::open_existing(dir)?.map(|store| store.identity.clone()))
    }

    /// Opens the log on a backend of one's own, such as one that fails or forgets in a test; makes an empty log
    /// where the backend is empty. `name` stands for it in errors. It takes no lock of its own.
    ///
    /// # Errors
    /// As [`RedbStore::open`], but [`StorageError::InUse`] only where the backend has locks.
    pub fn open_on(
        backend: impl StorageBackend,
        name: &Path,
        identity: &Identity,
    ) -> Result<Self, StorageError> {
        Self::open_or_create_on(backend, name, identity, Birth::default())
    }

    /// As [`RedbStore::open_on`]; an empty log is made as `birth` says.
    ///
    /// # Errors
    /// As [`RedbStore::open_on`].
    pub fn open_or_create_on(
        backend: impl StorageBackend,
        name: &Path,
        identity: &Identity,
        birth: Birth,
    ) -> Result<Self, StorageError> {
        let store = guarded(name, || {
            let length = backend.len();
            let length = length.map_err(|error| fault(name, "opening it", error.into()))?;
            let medium = Medium::of(backend);
            // A new database needs no check, and has none of the tables yet.
            let database = if length == 0 {
                let database = medium.create(name)?;
                fill(&database, name, identity, birth)?;
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
            birth: found.birth,
            bounds: found.bounds,
            broken: false,
            _lock: lock,
        })
    }
}

fn exists(path: &Path) -> Result<bool, StorageError> {
    path.try_exists().map_err(failed("cannot look for", path))
}

/// Takes the directory for this process until the file is closed.
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

/// Makes an empty database with all of its records under another name, then gives it its own.
fn create(dir: &Path, identity: &Identity, birth: Birth) -> Result<(), StorageError> {
    prepare(dir, identity, birth)?;
    publish(dir)
}

/// Makes an empty database under another name.
fn prepare(dir: &Path, identity: &Identity, birth: Birth) -> Result<(), StorageError> {
    let unfinished = dir.join(UNFINISHED);
    remove(&unfinished)?;
    guarded(&unfinished, || {
        let wrong = |error: ::redb::Error| fault(&unfinished, "making an empty log", error);
        let database = builder()
            .create(&unfinished)
            .map_err(|error| wrong(error.into()))?;
        fill(&database, &unfinished, identity, birth)?;
        database.close().map_err(|error| wrong(error.into()))
    })
}

/// Gives the finished database its final name.
fn publish(dir: &Path) -> Result<(), StorageError> {
    files::publish(&dir.join(UNFINISHED), &dir.join(DATABASE))
}

fn check_identity(dir: &Path, found: &Identity, expected: &Identity) -> Result<(), StorageError> {
    let differs = |what, found: &str, expected: &str| StorageError::Foreign {
        path: dir.to_owned(),
        what,
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    if found.cluster_id != expected.cluster_id {
        return Err(differs("cluster", &found.cluster_id, &expected.cluster_id));
    }
    if found.node_id != expected.node_id {
        return Err(differs(
            "node",
            found.node_id.as_str(),
            expected.node_id.as_str(),
        ));
    }
    Ok(())
}
