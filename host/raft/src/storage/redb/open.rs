//! Creates and opens a database.

use std::path::{Path, PathBuf};

use ::redb::{Database, StorageBackend};

use super::MetaDatabase;
use super::backend::{Medium, builder};
use super::error::{fault, guarded};
use super::tables::{fill, read_state};
use crate::storage::StorageError;
use crate::storage::schema::{Identity, StoreInit};

impl MetaDatabase {
    /// Creates a database at `path`, where there is none. `log_id` names the segments that belong to it.
    pub(in crate::storage) fn create(
        path: &Path,
        identity: &Identity,
        init: StoreInit,
        log_id: u64,
    ) -> Result<(), StorageError> {
        guarded(path, || {
            let wrong = |error: ::redb::Error| fault(path, "creating an empty log", error);
            let database = builder()
                .create(path)
                .map_err(|error| wrong(error.into()))?;
            fill(&database, path, identity, init, log_id)?;
            database.close().map_err(|error| wrong(error.into()))
        })
    }

    /// Opens the database at `path`. Every page is checked.
    pub(in crate::storage) fn open(path: &Path) -> Result<Self, StorageError> {
        guarded(path, || {
            let medium = Medium::file();
            let database = medium.open(path)?;
            Self::from_database(database, medium, path.to_owned())
        })
    }

    /// Whether a backend contains no database.
    pub(in crate::storage) fn is_missing(
        backend: &impl StorageBackend,
        name: &Path,
    ) -> Result<bool, StorageError> {
        let length = backend.len();
        let length = length.map_err(|error| fault(name, "opening it", error.into()))?;
        Ok(length == 0)
    }

    /// Opens the database on a backend. `new` has the properties of the one that is created first, if the backend is empty.
    pub(in crate::storage) fn open_on(
        backend: impl StorageBackend,
        name: &Path,
        new: Option<(&Identity, StoreInit, u64)>,
    ) -> Result<Self, StorageError> {
        guarded(name, || {
            let medium = Medium::of(backend);
            let database = match new {
                // A new database needs no check and has no tables yet.
                Some((identity, init, log_id)) => {
                    let database = medium.create(name)?;
                    fill(&database, name, identity, init, log_id)?;
                    database
                }
                None => medium.open(name)?,
            };
            Self::from_database(database, medium, name.to_owned())
        })
    }

    fn from_database(
        database: Database,
        medium: Medium,
        path: PathBuf,
    ) -> Result<Self, StorageError> {
        let found = read_state(&database, &path)?;
        Ok(Self {
            database: Some(database),
            medium,
            path,
            identity: found.identity,
            format: found.format,
            log_id: found.log_id,
            init: found.init,
            runs: found.runs,
            broken: false,
        })
    }
}
