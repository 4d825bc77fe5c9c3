//! Damaged files are set aside and kept, and an empty store takes their place: the node then gets everything from its
//! peers, as one whose disk was wiped ([`crate::raft::admission`]).
//!
//! The new store says [`StoreState::Incomplete`] from its first moment on. It is never taken for that of a new node, so a cluster
//! whose nodes are all damaged at once does not begin anew without its data: it stands still, and all the files are
//! there. A crash at any step leaves either the damaged log where it was, or the new one with everything else aside.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::files::{create_dir, failed, keep, sync_dir};
use super::redb::{Identity, RedbStore, StoreInit};
use super::snapshot::SnapshotFiles;
use super::{StorageError, StoreState};

/// The most sets of files that are kept, in the directories `damaged-1`, `damaged-2`, …
pub const MOST_SET_ASIDE: u32 = 4;
/// The file with the text of the error.
const REASON: &str = "REASON.txt";

/// Whether an error means that a file is corrupt. A repair handles only these.
#[must_use]
pub fn is_corrupt(error: &StorageError) -> bool {
    matches!(error, StorageError::Corrupt { .. })
}

/// Sets aside the log and the snapshots in `dir`, because of `damage`, and makes an empty log of the number
/// `store_id` in their place. Returns where they are now.
///
/// # Errors
/// Where another process uses the directory, where as much as may be kept was set aside before, or where the disk
/// does not take it.
pub fn set_aside(
    dir: &Path,
    identity: &Identity,
    store_id: u64,
    damage: &StorageError,
) -> Result<PathBuf, StorageError> {
    let init = StoreInit {
        store_id,
        state: StoreState::Incomplete,
    };
    let mut aside = PathBuf::new();
    RedbStore::replace(dir, identity, init, |database| {
        aside = free_place(dir)?;
        create_dir(&aside)?;
        write_reason(&aside, damage)?;
        let snapshots = SnapshotFiles::directory(dir);
        if snapshots.is_dir() {
            let to = SnapshotFiles::directory(&aside);
            fs::rename(&snapshots, &to).map_err(failed("cannot set aside", &snapshots))?;
        }
        if database.is_file() {
            keep(database, &aside)?;
        }
        sync_dir(&aside)?;
        sync_dir(dir)
    })?;
    Ok(aside)
}

fn free_place(dir: &Path) -> Result<PathBuf, StorageError> {
    let places = (1..=MOST_SET_ASIDE).map(|number| dir.join(format!("damaged-{number}")));
    let mut free = places.filter(|place| !place.exists());
    free.next().ok_or_else(|| StorageError::TooManySetAside {
        path: dir.to_owned(),
        limit: MOST_SET_ASIDE,
    })
}

fn write_reason(aside: &Path, damage: &StorageError) -> Result<(), StorageError> {
    let path = aside.join(REASON);
    let write = || {
        let mut file = fs::File::create(&path)?;
        writeln!(file, "{damage}")?;
        file.sync_all()
    };
    write().map_err(failed("cannot write", &path))
}
