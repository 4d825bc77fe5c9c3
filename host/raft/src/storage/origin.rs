//! Finds out at the start whether a data directory is a copy.
//!
//! A backup tool, `cp` or `rsync` brings back a log as it was at an earlier moment. The node may have voted and acknowledged
//! entries since, so the copy must not count as the store of the node: it gets a new store id, does not vote, and rejoins
//! as in decision record 0019. The log file itself shows that it is a copy: the store records inode and time of birth of the
//! file that it was written to. A move within a file system keeps both.
//!
//! A copy of the whole block device (a snapshot of a volume or of a virtual machine) keeps them too. The random number of
//! each run shows that one.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::files::failed;
use super::node_store::{NodeStore, StoreInit};
use super::{StorageError, StoreState};
use crate::ids::StoreId;

pub use super::schema::FileOrigin;

/// What the log file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginCheck {
    /// It is the file that the store was written to, or the store does not know its file yet.
    Original,
    /// It is a copy of that file.
    Copy {
        /// The file that the store was written to.
        recorded: FileOrigin,
        /// The file in the data directory.
        found: FileOrigin,
    },
}

/// Compares the log file with the one that the store was written to. Records the file if the store knows none yet.
///
/// # Errors
/// The file can't be examined, or the store can't be read or written.
pub fn check_origin(log: &mut NodeStore) -> Result<OriginCheck, StorageError> {
    let found = origin_of(log.path())?;
    match log.origin()? {
        None => {
            match log.record_origin(found) {
                // The next start records it.
                Err(StorageError::Full { .. }) | Ok(()) => Ok(OriginCheck::Original),
                Err(error) => Err(error),
            }
        }
        Some(recorded) if is_same(recorded, found) => Ok(OriginCheck::Original),
        Some(recorded) => Ok(OriginCheck::Copy { recorded, found }),
    }
}

/// Makes a copy a store of its own: it has a new id, and it never counts as complete again before the node has rejoined.
/// An empty store stays one of a new node. Durable in one step.
///
/// # Errors
/// The store can't be written.
pub fn adopt_copy(
    log: &mut NodeStore,
    store_id: StoreId,
    found: FileOrigin,
) -> Result<StoreInit, StorageError> {
    let state = match log.init().state {
        StoreState::New => StoreState::New,
        StoreState::Complete | StoreState::Incomplete => StoreState::Incomplete,
    };
    let init = StoreInit { store_id, state };
    log.renew(init, found)?;
    Ok(init)
}

fn origin_of(file: &Path) -> Result<FileOrigin, StorageError> {
    let metadata = fs::metadata(file).map_err(failed("cannot examine", file))?;
    let born = metadata.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let (device, inode) = numbers(&metadata);
    Ok(FileOrigin {
        device,
        inode,
        born,
    })
}

#[cfg(unix)]
fn numbers(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Without inodes, only the time of birth identifies a file.
#[cfg(not(unix))]
fn numbers(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

/// The device is not compared: its number may change when the file system is mounted again.
fn is_same(recorded: FileOrigin, found: FileOrigin) -> bool {
    let born_at_once = match (recorded.born, found.born) {
        (Some(recorded), Some(found)) => recorded == found,
        // A kernel or file system that does not tell it proves nothing.
        (None, _) | (_, None) => true,
    };
    recorded.inode == found.inode && born_at_once
}
