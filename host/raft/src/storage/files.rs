//! Small steps on files that both kinds of store take.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::StorageError;

/// For `map_err`: says what was tried, and on which file.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    move |source| StorageError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// The same of a write, which a full disk refuses without harm. Not of a sync: what that leaves is unknown.
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

/// Whether the disk, or what this user may have of it, has no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Makes the names in a directory durable: a new or renamed file can be lost without it.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir)
        .and_then(|opened| opened.sync_all())
        .map_err(failed("cannot sync the directory", dir))
}

/// Gives a durable file its final name, durably: a crash leaves the file under one name or the other.
pub(super) fn publish(from: &Path, to: &Path) -> Result<(), StorageError> {
    fs::rename(from, to).map_err(failed("cannot rename", from))?;
    match to.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

/// Makes a directory, with its parents, unless it is there.
pub(super) fn create_dir(dir: &Path) -> Result<(), StorageError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(failed("cannot create the directory", dir))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// A second name, in the directory `aside`, for a file that may lose its first one; a copy where the file system has no
/// such thing.
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
