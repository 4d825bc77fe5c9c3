//! Sets corrupt files aside and creates an empty store. The node then rejoins and gets the data from its
//! peers, like a node whose disk was wiped.
//!
//! The new store is [`StoreState::Incomplete`] from its creation on, so it never counts as the store of a new node. So a
//! cluster whose nodes are all corrupt at once does not start again without its data: it has no quorum, and the files are
//! kept. After a crash at any step there is either the corrupt log, or the new one with all other files set aside.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files::{create_dir, failed, keep, sync_dir};
use super::node_store::{Identity, NodeStore, StoreInit};
use super::snapshot::SnapshotFiles;
use super::{StorageError, StoreState};
use crate::ids::StoreId;

/// The most sets of files that are kept, in the directories `damaged-1`, `damaged-2`, …
pub const MAX_SET_ASIDE: u32 = 4;
/// The file with the text of the error.
const REASON: &str = "REASON.txt";

/// Whether an error means that a file is corrupt. A repair handles only these.
#[must_use]
pub fn is_corrupt(error: &StorageError) -> bool {
    matches!(error, StorageError::Corrupt { .. })
}

/// Sets aside the log and the snapshots in `dir` because of the error `corruption`; creates an empty log with the id
/// `store_id` in their place. Returns the directory of the files that were set aside.
///
/// # Errors
/// Another process uses the directory, [`MAX_SET_ASIDE`] sets are kept already, or the disk returns an error.
pub fn set_aside(
    dir: &Path,
    identity: &Identity,
    store_id: StoreId,
    corruption: &StorageError,
) -> Result<PathBuf, StorageError> {
    let init = StoreInit {
        store_id,
        state: StoreState::Incomplete,
    };
    let mut aside = PathBuf::new();
    NodeStore::replace(dir, identity, init, |old| {
        aside = free_directory(dir)?;
        create_dir(&aside)?;
        write_reason(&aside, corruption)?;
        let snapshots = SnapshotFiles::directory(dir);
        if snapshots.is_dir() {
            let to = SnapshotFiles::directory(&aside);
            fs::rename(&snapshots, &to).map_err(failed("cannot set aside", &snapshots))?;
        }
        if old.database.is_file() {
            keep(&old.database, &aside)?;
        }
        for log in &old.logs {
            keep_log(log, &aside)?;
        }
        sync_dir(&aside)?;
        sync_dir(dir)
    })?;
    Ok(aside)
}

/// Keeps the segments of a log, even if the originals are removed.
fn keep_log(log: &Path, aside: &Path) -> Result<(), StorageError> {
    let kept = aside.join("log");
    create_dir(&kept)?;
    let kept = kept.join(log.file_name().unwrap_or_default());
    create_dir(&kept)?;
    let files = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(log)?.map(|item| Ok(item?.path())).collect()
    };
    for file in files().map_err(failed("cannot list", log))? {
        keep(&file, &kept)?;
    }
    sync_dir(&kept)
}

fn free_directory(dir: &Path) -> Result<PathBuf, StorageError> {
    let candidates = (1..=MAX_SET_ASIDE).map(|number| dir.join(format!("damaged-{number}")));
    let mut free = candidates.filter(|candidate| !candidate.exists());
    free.next().ok_or_else(|| StorageError::TooManySetAside {
        path: dir.to_owned(),
        limit: MAX_SET_ASIDE,
    })
}

fn write_reason(aside: &Path, corruption: &StorageError) -> Result<(), StorageError> {
    let path = aside.join(REASON);
    let write = || {
        let mut file = fs::File::create(&path)?;
        writeln!(file, "{corruption}")?;
        file.sync_all()
    };
    write().map_err(failed("cannot write", &path))
}
