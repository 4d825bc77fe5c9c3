//! File operations that the log store and the snapshot store share.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::StorageError;

/// For `map_err`: adds the operation and the file to an IO error.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    move |source| StorageError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// As [`failed`], for a write: a full disk becomes [`StorageError::Full`]. Not for a sync, because the state of the file
/// after a failed sync is unknown.
pub(super) fn unwritten(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StorageError {
    move |source| {
        let path = path.to_owned();
        if is_full(&source) {
            StorageError::Full {
                doing,
                path,
                source,
            }
        } else {
            StorageError::Io {
                doing,
                path,
                source,
            }
        }
    }
}

/// Whether the disk is full or the user's quota is used up.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Syncs a directory. Without this, a crash can lose a new or renamed file.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir)
        .and_then(|opened| opened.sync_all())
        .map_err(failed("cannot sync the directory", dir))
}

/// Gives a durable file its final name, durably: a crash leaves the file under one name or the other.
pub(super) fn publish(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(failed("cannot rename", from))?;
    match to.parent() {
        // A relative path with one part.
        Some(dir) if dir.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

/// Creates a directory and its parents, if they don't exist.
pub(super) fn create_dir(dir: &Path) -> Result<(), StorageError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(failed("cannot create the directory", dir))?;
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Removes a file, if it exists.
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Keeps a file in the directory `aside`, even if the original is removed: a hard link, or a copy if the file system
/// has no links.
pub(super) fn keep(file: &Path, aside: &Path) -> Result<(), StorageError> {
    let to = aside.join(file.file_name().unwrap_or_default());
    if fs::hard_link(file, &to).is_ok() {
        return Ok(());
    }
    let copy = || {
        let mut from = File::open(file)?;
        let mut copy = File::create(&to)?;
        io::copy(&mut from, &mut copy)?;
        copy.sync_all()
    };
    copy().map_err(failed("cannot set aside", file))
}
