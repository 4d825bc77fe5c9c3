//! Finds out at the start whether a data directory is a copy.
//!
//! A backup tool, `cp` or `rsync` brings back a log as it was at an earlier moment. The node may have voted and acknowledged
//! entries since, so the copy must not count as the store of the node: it gets a new store id, does not vote, and rejoins
//! as in decision record 0019. The log file itself shows that it is a copy: the store records inode and time of birth of the
//! file that it was written to. A move within a file system keeps both.
//!
//! A copy of the whole block device (a snapshot of a volume or of a virtual machine) keeps them too. The random number of
//! each run shows that one.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::files::failed;
use super::redb::RedbStore;
use super::schema::StoreInit;
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
pub fn check_origin(log: &mut RedbStore) -> Result<OriginCheck, StorageError> {
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
    log: &mut RedbStore,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::HardState;
    use crate::ids::Term;
    use crate::storage::redb::Identity;
    use crate::storage::{LogStore, WriteBatch};

    fn identity() -> Identity {
        Identity {
            node_id: "n".into(),
            cluster_id: "c".to_owned(),
        }
    }

    fn open(dir: &Path) -> RedbStore {
        let init = StoreInit {
            store_id: StoreId(7),
            state: StoreState::New,
        };
        RedbStore::open_or_create(dir, &identity(), init).expect("a store")
    }

    /// A complete store in `dir`, closed.
    fn complete(dir: &Path) {
        let mut log = open(dir);
        assert_eq!(
            check_origin(&mut log).expect("checked"),
            OriginCheck::Original
        );
        log.load().expect("readable");
        log.mark_complete().expect("written");
        let voted = WriteBatch {
            hard_state: Some(HardState {
                term: Term(3),
                vote: Some("other".into()),
            }),
            ..WriteBatch::default()
        };
        log.write(&voted).expect("written");
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir(to).expect("a directory");
        fs::copy(from.join("raft.redb"), to.join("raft.redb")).expect("a copy");
    }

    #[test]
    fn a_directory_that_is_moved_within_its_file_system_is_no_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        complete(&first);
        fs::rename(&first, &second).expect("renamed");
        let mut moved = open(&second);
        assert_eq!(
            check_origin(&mut moved).expect("checked"),
            OriginCheck::Original
        );
        assert_eq!(moved.load().expect("readable").state, StoreState::Complete);
    }

    #[test]
    fn a_copy_is_found_and_becomes_an_incomplete_store_that_keeps_its_votes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        complete(&first);
        copy(&first, &second);
        let mut log = open(&second);
        let OriginCheck::Copy { recorded, found } = check_origin(&mut log).expect("checked") else {
            panic!("it is a copy");
        };
        assert_ne!(recorded, found);
        adopt_copy(&mut log, StoreId(8), found).expect("written");
        drop(log);
        let mut again = open(&second);
        assert_eq!(
            check_origin(&mut again).expect("checked"),
            OriginCheck::Original
        );
        let stored = again.load().expect("readable");
        assert_eq!(
            (stored.store_id, stored.state, stored.hard_state.term),
            (StoreId(8), StoreState::Incomplete, Term(3))
        );
        drop(again);
        let mut original = open(&first);
        assert_eq!(
            check_origin(&mut original).expect("checked"),
            OriginCheck::Original
        );
        assert_eq!(original.load().expect("readable").store_id, StoreId(7));
    }

    #[test]
    fn a_copy_that_takes_the_place_of_the_original_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, backup) = (dir.path().join("first"), dir.path().join("backup"));
        complete(&first);
        copy(&first, &backup);
        fs::remove_dir_all(&first).expect("removed");
        copy(&backup, &first);
        let checked = check_origin(&mut open(&first)).expect("checked");
        assert!(matches!(checked, OriginCheck::Copy { .. }), "{checked:?}");
    }

    #[test]
    fn a_copy_of_an_empty_store_stays_the_store_of_a_new_node_under_another_id() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        check_origin(&mut open(&first)).expect("checked");
        copy(&first, &second);
        let mut log = open(&second);
        let OriginCheck::Copy { found, .. } = check_origin(&mut log).expect("checked") else {
            panic!("it is a copy");
        };
        let init = adopt_copy(&mut log, StoreId(8), found).expect("written");
        assert_eq!((init.store_id, init.state), (StoreId(8), StoreState::New));
    }

    #[test]
    fn another_device_number_alone_is_no_copy_and_an_unknown_birth_proves_nothing() {
        let origin = FileOrigin {
            device: 1,
            inode: 2,
            born: Some(std::time::Duration::new(3, 4)),
        };
        assert!(is_same(
            origin,
            FileOrigin {
                device: 9,
                ..origin
            }
        ));
        assert!(is_same(
            origin,
            FileOrigin {
                born: None,
                ..origin
            }
        ));
        assert!(!is_same(origin, FileOrigin { inode: 9, ..origin }));
        let later = Some(std::time::Duration::new(3, 5));
        assert!(!is_same(
            origin,
            FileOrigin {
                born: later,
                ..origin
            }
        ));
    }
}
