//! The file below the database. It can be opened again, and it records every failed sync.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redb::backends::FileBackend;
use ::redb::{BackendError, Builder, Database, StorageBackend};

use super::error::{corrupt, fault};
use crate::storage::StorageError;

/// Size of the database's page cache, in bytes.
const CACHE_BYTES: usize = 64 << 20;

/// The place of a database.
#[derive(Debug)]
pub(super) struct Medium {
    kind: MediumKind,
    sync_failed: Arc<AtomicBool>,
}

#[derive(Debug)]
enum MediumKind {
    /// The file at the store's path.
    File,
    /// A backend of the caller, for tests.
    Custom(Arc<dyn StorageBackend>),
}

impl Medium {
    pub(super) fn file() -> Self {
        Self::new(MediumKind::File)
    }

    pub(super) fn of(backend: impl StorageBackend) -> Self {
        Self::new(MediumKind::Custom(Arc::new(backend)))
    }

    fn new(kind: MediumKind) -> Self {
        let sync_failed = Arc::new(AtomicBool::new(false));
        Self { kind, sync_failed }
    }

    /// Whether any sync of the store has ended in an error.
    pub(super) fn has_failed_to_sync(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }

    /// Opens an existing database and checks all of its pages, also after a clean shutdown: a corrupt page is detected
    /// now, not when it is read.
    pub(super) fn open(&self, path: &Path) -> Result<Database, StorageError> {
        let backend = self.backend(path)?;
        let length = backend.len();
        if length.map_err(|error| wrong(path, error))? == 0 {
            return Err(corrupt(path, "it is empty".to_owned()));
        }
        self.open_on(path, backend, true)
    }

    /// Creates a database on an empty backend.
    pub(super) fn create(&self, path: &Path) -> Result<Database, StorageError> {
        self.open_on(path, self.backend(path)?, false)
    }

    fn backend(&self, path: &Path) -> Result<Arc<dyn StorageBackend>, StorageError> {
        if let MediumKind::Custom(backend) = &self.kind {
            return Ok(Arc::clone(backend));
        }
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| wrong(path, error))?;
        let backend = FileBackend::new(file).map_err(|error| wrong(path, error))?;
        Ok(Arc::new(backend))
    }

    fn open_on(
        &self,
        path: &Path,
        backend: Arc<dyn StorageBackend>,
        check: bool,
    ) -> Result<Database, StorageError> {
        let watched = SyncWatcher {
            backend,
            sync_failed: Arc::clone(&self.sync_failed),
        };
        builder()
            .set_check_integrity_on_open(check)
            .create_with_backend(watched)
            .map_err(|error| wrong(path, error))
    }
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn wrong(path: &Path, error: impl Into<::redb::Error>) -> StorageError {
    fault(path, "opening it", error.into())
}

/// A backend that records whether a sync has failed.
#[derive(Debug)]
struct SyncWatcher {
    backend: Arc<dyn StorageBackend>,
    sync_failed: Arc<AtomicBool>,
}

impl StorageBackend for SyncWatcher {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.backend.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.backend.sync_data();
        if synced.is_err() {
            self.sync_failed.store(true, Ordering::Release);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.backend.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }
}
