use tempfile::TempDir;

use super::*;
use crate::storage::{LogStore, SnapshotStore, WriteBatch};
use crate::types::{Entry, Index, LogId, Payload, Term};

fn identity() -> Identity {
    Identity {
        node_id: "node-1".into(),
        cluster_id: "test".to_owned(),
    }
}

/// A log with an entry and a snapshot of it, damaged at the front.
fn damaged() -> (TempDir, StorageError) {
    let dir = TempDir::new().unwrap();
    let id = LogId::new(Term(1), Index(1));
    let mut store = RedbStore::open(dir.path(), &identity()).unwrap();
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
    snapshots.create(id, 1, None).unwrap().finish().unwrap();
    let database = dir.path().join("raft.redb");
    let mut bytes = fs::read(&database).unwrap();
    bytes[0] ^= 1;
    fs::write(&database, bytes).unwrap();
    let damage = RedbStore::open(dir.path(), &identity()).unwrap_err();
    assert!(is_corrupt(&damage), "{damage}");
    (dir, damage)
}

#[test]
fn what_is_set_aside_is_kept_with_its_reason_and_the_new_store_knows_that_it_is_not_new() {
    let (dir, damage) = damaged();
    let before = fs::read(dir.path().join("raft.redb")).unwrap();
    let aside = set_aside(dir.path(), &identity(), 7, &damage).unwrap();
    assert_eq!(aside, dir.path().join("damaged-1"));
    assert_eq!(fs::read(aside.join("raft.redb")).unwrap(), before);
    assert_eq!(fs::read_dir(aside.join("snapshots")).unwrap().count(), 1);
    let reason = fs::read_to_string(aside.join(REASON)).unwrap();
    assert_eq!(reason.trim(), damage.to_string());

    let mut store = RedbStore::open(dir.path(), &identity()).unwrap();
    let stored = store.load().unwrap();
    assert_eq!((stored.memory, stored.incarnation), (Memory::Lost, 7));
    assert_eq!(stored.last, LogId::default());
    let snapshots = SnapshotFiles::open(dir.path()).unwrap();
    assert_eq!(snapshots.newest().unwrap(), None);
}

#[test]
fn a_repair_that_is_cut_short_leaves_the_damaged_log_where_it_was() {
    let (dir, damage) = damaged();
    let birth = Birth {
        incarnation: 7,
        memory: Memory::Lost,
    };
    let cut = RedbStore::replace(dir.path(), &identity(), birth, |_| {
        Err(StorageError::TooManySetAside {
            path: dir.path().to_owned(),
            limit: 0,
        })
    });
    assert!(cut.is_err());
    let again = RedbStore::open(dir.path(), &identity()).unwrap_err();
    assert_eq!(again.to_string(), damage.to_string());
    set_aside(dir.path(), &identity(), 8, &again).unwrap();
}

#[test]
fn no_more_is_kept_than_there_is_room_for_and_then_nothing_is_touched() {
    let (dir, damage) = damaged();
    for number in 1..=MOST_SET_ASIDE {
        fs::create_dir(dir.path().join(format!("damaged-{number}"))).unwrap();
    }
    let refused = set_aside(dir.path(), &identity(), 7, &damage).unwrap_err();
    assert!(refused.to_string().contains("remove those"), "{refused}");
    let again = RedbStore::open(dir.path(), &identity()).unwrap_err();
    assert_eq!(again.to_string(), damage.to_string());
}

#[test]
fn a_directory_in_use_is_not_repaired() {
    let dir = TempDir::new().unwrap();
    let store = RedbStore::open(dir.path(), &identity()).unwrap();
    let damage = StorageError::Corrupt {
        record: "entry 1".to_owned(),
        reason: "it is missing".to_owned(),
    };
    let refused = set_aside(dir.path(), &identity(), 7, &damage).unwrap_err();
    assert!(matches!(refused, StorageError::InUse { .. }), "{refused}");
    drop(store);
}
