//! How a database is made, opened and told from somebody else's.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use ::redb::{Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend};

use super::backend::Medium;
use super::{
    Birth, ENTRIES, HARD_STATE, IDENTITY, Identity, MEMORY, META, PURGED, RedbStore, fault,
    guarded, meta_record,
};
use crate::storage::bounds::Bounds;
use crate::storage::files::{create_dir, failed, remove, sync_dir};
use crate::storage::{StorageError, schema};
use crate::types::{HardState, Index, LogId};

/// The database.
const DATABASE: &str = "raft.redb";
/// A database that is being made. It gets its name when it is whole, so a crash in between leaves none.
const UNFINISHED: &str = "raft.redb.new";
/// Whose lock is held by the process that uses the directory.
const LOCK: &str = "raft.lock";
/// Pages that the database keeps in memory, in bytes.
const CACHE_BYTES: usize = 64 << 20;

impl RedbStore {
    /// Opens the log in `dir`, or makes an empty one whose node has promised nothing. Every page and record of it is
    /// checked, here and in `load`.
    ///
    /// # Errors
    /// [`StorageError::Foreign`] where it is another node's or cluster's, [`StorageError::InUse`] where another
    /// process has it, [`StorageError::Corrupt`] and [`StorageError::TooNew`] where it can't be understood.
    pub fn open(dir: &Path, identity: &Identity) -> Result<Self, StorageError> {
        Self::open_or_make(dir, identity, Birth::default())
    }

    /// Opens the log in `dir`, or makes an empty one as `birth` says.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn open_or_make(
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
        Self::open_or_make_on(backend, name, identity, Birth::default())
    }

    /// As [`RedbStore::open_on`]; an empty log is made as `birth` says.
    ///
    /// # Errors
    /// As [`RedbStore::open_on`].
    pub fn open_or_make_on(
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

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
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

/// Gives the database that was made its name.
fn publish(dir: &Path) -> Result<(), StorageError> {
    let (unfinished, path) = (dir.join(UNFINISHED), dir.join(DATABASE));
    fs::rename(&unfinished, &path).map_err(failed("cannot give its name to", &unfinished))?;
    sync_dir(dir)
}

/// Writes all the records that a log has from its first moment on.
fn fill(
    database: &Database,
    path: &Path,
    identity: &Identity,
    birth: Birth,
) -> Result<(), StorageError> {
    let wrong = |error: ::redb::Error| fault(path, "making an empty log", error);
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
        // All of them from the start: one that is missing later is damage, not a node that never voted.
        let records = [
            (
                IDENTITY,
                schema::encode_identity(IDENTITY, schema::FORMAT, identity)?,
            ),
            (
                HARD_STATE,
                schema::encode_hard_state(HARD_STATE, &HardState::default())?,
            ),
            (PURGED, schema::encode_log_id(PURGED, LogId::default())),
            (MEMORY, schema::encode_memory(MEMORY, birth)),
        ];
        for (key, record) in &records {
            meta.insert(*key, record.as_slice())
                .map_err(|error| wrong(error.into()))?;
        }
    }
    transaction.commit().map_err(|error| wrong(error.into()))
}

/// What a database says of itself.
pub(super) struct Found {
    pub(super) identity: Identity,
    pub(super) format: u32,
    pub(super) birth: Birth,
    pub(super) bounds: Bounds,
}

/// Whose it is, which store it is, and from where to where it reaches.
pub(super) fn read_state(database: &Database, path: &Path) -> Result<Found, StorageError> {
    let wrong = |error: ::redb::Error| fault(path, "opening it", error);
    let transaction = database.begin_read().map_err(|error| wrong(error.into()))?;
    let meta = transaction
        .open_table(META)
        .map_err(|error| wrong(error.into()))?;
    let (format, identity) = meta_record(path, &meta, IDENTITY, schema::decode_identity)?;
    let birth = if format > schema::FORMAT_WITHOUT_MEMORY {
        meta_record(path, &meta, MEMORY, schema::decode_memory)?
    } else {
        Birth::default()
    };
    let purged = meta_record(path, &meta, PURGED, schema::decode_log_id)?;
    let entries = transaction
        .open_table(ENTRIES)
        .map_err(|error| wrong(error.into()))?;
    let last = match entries.last().map_err(|error| wrong(error.into()))? {
        None => purged,
        Some((key, record)) => {
            let index = Index(key.value());
            let checked = schema::check_entry(index, record.value());
            let (id, _) = checked.map_err(|error| error.of(format!("entry {index}"), path))?;
            id
        }
    };
    Ok(Found {
        identity,
        format,
        birth,
        bounds: Bounds { purged, last },
    })
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
