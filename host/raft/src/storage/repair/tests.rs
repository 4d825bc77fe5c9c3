use tempfile::TempDir;

use super::*;
use crate::entry::{ClusterState, Entry, Payload};
use crate::ids::{Index, LogId, StoreId, Term};
use crate::storage::{LogStore, SnapshotStore, WriteBatch};

fn identity() -> Identity {
    Identity {
        node_id: "node-1".into(),
        cluster_id: "test".to_owned(),
    }
}

/// A data directory with one entry and a snapshot of it; the start of the database is corrupt.
fn corrupt_directory() -> (TempDir, StorageError) {
    let dir = TempDir::new().unwrap();
    let id = LogId::new(Term(1), Index(1));
    let mut store = NodeStore::open(dir.path(), &identity()).unwrap();
    let entries = vec![Entry {
        id,
        time_ms: 1,
        payload: Payload::Noop,
    }];
    store
        .write(&WriteBatch {
            entries,
            ..WriteBatch::default()
        })
        .unwrap();
    drop(store);
    let snapshots = SnapshotFiles::open(dir.path()).unwrap();
    snapshots
        .create(id, 1, None, ClusterState::default())
        .unwrap()
        .finish()
        .unwrap();
    let database = dir.path().join("raft.redb");
    let mut bytes = fs::read(&database).unwrap();
    bytes[0] ^= 1;
    fs::write(&database, bytes).unwrap();
    let corruption = NodeStore::open(dir.path(), &identity()).unwrap_err();
    assert!(is_corrupt(&corruption), "{corruption}");
    (dir, corruption)
}

#[test]
fn files_set_aside_are_kept_with_the_reason_and_the_new_store_is_not_new() {
    let (dir, corruption) = corrupt_directory();
    let before = fs::read(dir.path().join("raft.redb")).unwrap();
    let aside = set_aside(dir.path(), &identity(), StoreId(7), &corruption).unwrap();
    assert_eq!(aside, dir.path().join("damaged-1"));
    assert_eq!(fs::read(aside.join("raft.redb")).unwrap(), before);
    assert_eq!(fs::read_dir(aside.join("snapshots")).unwrap().count(), 1);
    let reason = fs::read_to_string(aside.join(REASON)).unwrap();
    assert_eq!(reason.trim(), corruption.to_string());

    let mut store = NodeStore::open(dir.path(), &identity()).unwrap();
    let stored = store.load().unwrap();
    assert_eq!(
        (stored.state, stored.store_id),
        (StoreState::Incomplete, StoreId(7))
    );
    assert_eq!(stored.last, LogId::default());
    let snapshots = SnapshotFiles::open(dir.path()).unwrap();
    assert_eq!(snapshots.newest().unwrap(), None);
}

#[test]
fn an_interrupted_repair_leaves_the_corrupt_log_in_place() {
    let (dir, corruption) = corrupt_directory();
    let init = StoreInit {
        store_id: StoreId(7),
        state: StoreState::Incomplete,
    };
    let cut = NodeStore::replace(dir.path(), &identity(), init, |_| {
        Err(StorageError::TooManySetAside {
            path: dir.path().to_owned(),
            limit: 0,
        })
    });
    assert!(cut.is_err());
    let again = NodeStore::open(dir.path(), &identity()).unwrap_err();
    assert_eq!(again.to_string(), corruption.to_string());
    set_aside(dir.path(), &identity(), StoreId(8), &again).unwrap();
}

#[test]
fn a_repair_over_the_limit_of_kept_sets_changes_nothing() {
    let (dir, corruption) = corrupt_directory();
    for number in 1..=MAX_SET_ASIDE {
        fs::create_dir(dir.path().join(format!("damaged-{number}"))).unwrap();
    }
    let refused = set_aside(dir.path(), &identity(), StoreId(7), &corruption).unwrap_err();
    assert!(refused.to_string().contains("move damaged-1"), "{refused}");
    let again = NodeStore::open(dir.path(), &identity()).unwrap_err();
    assert_eq!(again.to_string(), corruption.to_string());
}

#[test]
fn a_directory_in_use_is_not_repaired() {
    let dir = TempDir::new().unwrap();
    let store = NodeStore::open(dir.path(), &identity()).unwrap();
    let corruption = StorageError::Corrupt {
        record: "entry 1".to_owned(),
        reason: "it is missing".to_owned(),
    };
    let refused = set_aside(dir.path(), &identity(), StoreId(7), &corruption).unwrap_err();
    assert!(matches!(refused, StorageError::InUse { .. }), "{refused}");
    drop(store);
}
