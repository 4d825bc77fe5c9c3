mod corruption;
mod crash;
mod first_version;
mod full;
mod migration;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::NodeStore;
use crate::entry::{Entry, HardState, Payload};
use crate::ids::{Index, LogId, StoreId, Term};
use crate::storage::conformance::check_log_store;
use crate::storage::node_store::{Identity, StoreInit};
use crate::storage::segments::SegmentRules;
use crate::storage::segments::tests::disk::RecordingDisk;
use crate::storage::{LogStore, StorageError, StoreState, WriteBatch};

fn identity() -> Identity {
    Identity {
        node_id: "node-1".into(),
        cluster_id: "test".to_owned(),
    }
}

fn open(dir: &Path) -> NodeStore {
    NodeStore::open(dir, &identity()).unwrap()
}

fn noop(term: u64, index: u64) -> Entry {
    Entry {
        id: LogId::new(Term(term), Index(index)),
        time_ms: index,
        payload: Payload::Noop,
    }
}

fn append(entries: Vec<Entry>) -> WriteBatch {
    WriteBatch {
        entries,
        ..WriteBatch::default()
    }
}

#[test]
fn the_log_on_disk_conforms() {
    let dir = TempDir::new().unwrap();
    check_log_store(&mut || Box::new(open(dir.path())));
}

#[test]
fn a_store_keeps_its_id_and_is_complete_only_after_it_is_marked() {
    let dir = TempDir::new().unwrap();
    let init = StoreInit {
        store_id: StoreId(7),
        state: StoreState::New,
    };
    let start = |store_id| {
        let init = StoreInit {
            store_id: StoreId(store_id),
            ..init
        };
        NodeStore::open_or_create(dir.path(), &identity(), init).unwrap()
    };
    drop(start(7));
    let mut store = start(8);
    let stored = store.load().unwrap();
    assert_eq!(
        (stored.store_id, stored.state),
        (StoreId(7), StoreState::New)
    );
    store.mark_complete().unwrap();
    drop(store);
    let stored = start(9).load().unwrap();
    assert_eq!(
        (stored.store_id, stored.state),
        (StoreId(7), StoreState::Complete)
    );
}

#[test]
fn a_missing_directory_is_created() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("data/node-1");
    drop(open(&deep));
    assert_eq!(NodeStore::peek(&deep).unwrap(), Some(identity()));
}

#[test]
fn a_second_open_is_refused_while_the_first_is_open() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path());
    let second = NodeStore::open(dir.path(), &identity());
    assert!(
        matches!(second, Err(StorageError::InUse { .. })),
        "{second:?}"
    );
    let third = NodeStore::open_existing(dir.path());
    assert!(
        matches!(third, Err(StorageError::InUse { .. })),
        "{third:?}"
    );
    drop(first);
    drop(open(dir.path()));
}

#[test]
fn the_data_of_another_node_or_cluster_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let others = [
        (
            Identity {
                node_id: "node-2".into(),
                ..identity()
            },
            "node node-1, not node-2",
        ),
        (
            Identity {
                cluster_id: "other".to_owned(),
                ..identity()
            },
            "cluster test, not other",
        ),
    ];
    for (other, text) in others {
        let error = NodeStore::open(dir.path(), &other).unwrap_err();
        assert!(matches!(error, StorageError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    drop(open(dir.path()));
}

#[test]
fn the_identity_of_a_directory_can_be_read() {
    let dir = TempDir::new().unwrap();
    assert_eq!(NodeStore::peek(dir.path()).unwrap(), None);
    assert!(NodeStore::open_existing(dir.path()).unwrap().is_none());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "reading the identity creates no file"
    );

    drop(open(dir.path()));
    assert_eq!(NodeStore::peek(dir.path()).unwrap(), Some(identity()));
    let store = NodeStore::open_existing(dir.path()).unwrap().unwrap();
    assert_eq!(store.identity(), &identity());
}

#[test]
fn an_unfinished_database_is_replaced() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("raft.redb.new"), b"half a header").unwrap();
    assert_eq!(NodeStore::peek(dir.path()).unwrap(), None);
    let mut store = open(dir.path());
    store.write(&append(vec![noop(1, 1)])).unwrap();
    assert!(!dir.path().join("raft.redb.new").exists());
}

#[test]
fn a_node_id_over_the_limit_is_refused_and_leaves_no_database() {
    let dir = TempDir::new().unwrap();
    let long = Identity {
        node_id: "n".repeat(1025).into(),
        ..identity()
    };
    let error = NodeStore::open(dir.path(), &long).unwrap_err();
    assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
    assert_eq!(NodeStore::peek(dir.path()).unwrap(), None);
    drop(open(dir.path()));
}

#[test]
fn after_a_failed_write_the_store_refuses_writes_until_it_is_opened_again() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.write(&append(vec![noop(5, 1)])).unwrap();
    let failed = store.write(&append(vec![noop(4, 2)])).unwrap_err();
    assert!(failed.to_string().contains("never decrease"), "{failed}");
    let next = store.write(&append(vec![noop(5, 2)])).unwrap_err();
    assert!(next.to_string().contains("opened again"), "{next}");
    assert!(store.purge(LogId::new(Term(5), Index(1))).is_err());
    drop(store);

    let mut store = open(dir.path());
    assert_eq!(store.load().unwrap().last, LogId::new(Term(5), Index(1)));
    store.write(&append(vec![noop(5, 2)])).unwrap();
}

/// Copies a directory and what is in it.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_all(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

#[test]
fn a_copy_of_the_files_between_writes_can_be_opened() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let hard_state = HardState {
        term: Term(2),
        vote: Some("node-2".into()),
    };
    for index in 1..=20 {
        let batch = WriteBatch {
            hard_state: Some(hard_state.clone()),
            ..append(vec![noop(2, index)])
        };
        store.write(&batch).unwrap();
        let copy = TempDir::new().unwrap();
        for name in ["raft.redb", "log"] {
            let (from, to) = (dir.path().join(name), copy.path().join(name));
            if from.is_dir() {
                copy_all(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
        let state = open(copy.path()).load().unwrap();
        assert_eq!(state.last, LogId::new(Term(2), Index(index)));
        assert_eq!(state.hard_state, hard_state);
    }
}

/// Segments of 16 sectors.
const SMALL: SegmentRules = SegmentRules {
    first_bytes: 8192,
    max_bytes: 8192,
    spare_max: 2,
};

/// Opens the store on a disk in memory, with small segments.
fn open_small(disk: &RecordingDisk) -> Result<NodeStore, StorageError> {
    let files = Arc::new(disk.clone());
    let name = Path::new("disk");
    let init = StoreInit::default();
    NodeStore::open_or_create_on((disk.clone(), files), name, &identity(), init, (7, SMALL))
}

#[test]
fn a_log_of_many_small_segments_conforms() {
    let disk = RecordingDisk::default();
    check_log_store(&mut || Box::new(open_small(&disk).unwrap()));
}

#[test]
fn only_the_log_that_the_database_names_is_kept() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.write(&append(vec![noop(1, 1)])).unwrap();
    drop(store);
    fs::create_dir(dir.path().join("log/0123456789abcdef")).unwrap();
    assert_eq!(open(dir.path()).load().unwrap().last.index, Index(1));
    assert_eq!(fs::read_dir(dir.path().join("log")).unwrap().count(), 1);
}

#[test]
fn a_log_without_its_database_or_a_database_without_its_log_is_corruption() {
    for name in ["raft.redb", "log"] {
        let dir = TempDir::new().unwrap();
        let mut store = open(dir.path());
        store.write(&append(vec![noop(1, 1)])).unwrap();
        drop(store);
        let path = dir.path().join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let error = NodeStore::open(dir.path(), &identity()).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn an_interrupted_creation_is_repeated() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    // The log is created before the database gets its name.
    fs::remove_file(dir.path().join("raft.redb")).unwrap();
    let mut store = open(dir.path());
    store.write(&append(vec![noop(1, 1)])).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).load().unwrap().last.index, Index(1));
    assert_eq!(fs::read_dir(dir.path().join("log")).unwrap().count(), 1);
}

#[test]
fn a_store_whose_last_write_is_corrupt_takes_nothing_before_it_is_another_store() {
    let disk = RecordingDisk::default();
    let mut store = open_small(&disk).unwrap();
    store.mark_complete().unwrap();
    store.write(&append(vec![noop(1, 1)])).unwrap();
    store.write(&append(vec![noop(1, 2)])).unwrap();
    drop(store);
    disk.change(1, |bytes| bytes[2 * 512 + 7] ^= 1);
    let mut store = open_small(&disk).unwrap();
    assert!(store.doubt().is_some());
    assert_eq!(store.load().unwrap().last.index, Index(1));
    let early = store.write(&append(vec![noop(1, 2)])).unwrap_err();
    assert!(early.to_string().contains("may be missing"), "{early}");
    store.replace_store_id(StoreId(9)).unwrap();
    store.write(&append(vec![noop(2, 2)])).unwrap();
    drop(store);
    let mut store = open_small(&disk).unwrap();
    assert_eq!(store.doubt(), None);
    let stored = store.load().unwrap();
    assert_eq!(stored.last, LogId::new(Term(2), Index(2)));
    assert_eq!(
        (stored.store_id, stored.state),
        (StoreId(9), StoreState::Incomplete)
    );
}
