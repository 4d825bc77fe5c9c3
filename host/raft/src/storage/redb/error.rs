//! Converts errors and panics of the database.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use crate::storage::StorageError;
use crate::storage::files::is_full;

/// Converts an error of the database.
pub(super) fn fault(path: &Path, doing: &'static str, error: ::redb::Error) -> StorageError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        ::redb::Error::DatabaseAlreadyOpen | ::redb::Error::LockProtocolMismatch => {
            StorageError::InUse {
                path: path.to_owned(),
            }
        }
        ::redb::Error::Corrupted(reason) => corrupt(path, reason),
        ::redb::Error::Io(source) if matches!(source.kind(), InvalidData | UnexpectedEof) => {
            corrupt(path, source.to_string())
        }
        ::redb::Error::Io(source) if is_full(&source) => StorageError::Full {
            doing,
            path: path.to_owned(),
            source,
        },
        ::redb::Error::Io(source) => StorageError::Io {
            doing,
            path: path.to_owned(),
            source,
        },
        other => StorageError::Database {
            doing,
            source: other.into(),
        },
    }
}

pub(super) fn corrupt(path: &Path, reason: String) -> StorageError {
    StorageError::Corrupt {
        record: format!("the log database {}", path.display()),
        reason,
    }
}

/// Converts a panic of the database into an error: redb panics on some corrupt pages.
pub(super) fn guarded<T>(
    path: &Path,
    call: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason was given");
        Err(corrupt(path, format!("the database panicked: {text}")))
    })
}
