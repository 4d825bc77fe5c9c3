mod corruption;
mod crash;
mod first_version;
mod full;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::write::PURGE_STEP;
use super::{Identity, RedbStore, StoreInit};
use crate::entry::{Entry, HardState, Payload};
use crate::ids::{Index, LogId, StoreId, Term};
use crate::storage::conformance::check_log_store;
use crate::storage::{LogStore, StorageError, StoreState, WriteBatch};

fn identity() -> Identity {
    Identity {
        node_id: "node-1".into(),
        cluster_id: "test".to_owned(),
    }
}

fn open(dir: &Path) -> RedbStore {
    RedbStore::open(dir, &identity()).unwrap()
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
        RedbStore::open_or_create(dir.path(), &identity(), init).unwrap()
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
    assert_eq!(RedbStore::peek(&deep).unwrap(), Some(identity()));
}

#[test]
fn a_second_open_is_refused_while_the_first_is_open() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path());
    let second = RedbStore::open(dir.path(), &identity());
    assert!(
        matches!(second, Err(StorageError::InUse { .. })),
        "{second:?}"
    );
    let third = RedbStore::open_existing(dir.path());
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
        let error = RedbStore::open(dir.path(), &other).unwrap_err();
        assert!(matches!(error, StorageError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    drop(open(dir.path()));
}

#[test]
fn the_identity_of_a_directory_can_be_read() {
    let dir = TempDir::new().unwrap();
    assert_eq!(RedbStore::peek(dir.path()).unwrap(), None);
    assert!(RedbStore::open_existing(dir.path()).unwrap().is_none());
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "reading the identity creates no file"
    );

    drop(open(dir.path()));
    assert_eq!(RedbStore::peek(dir.path()).unwrap(), Some(identity()));
    let store = RedbStore::open_existing(dir.path()).unwrap().unwrap();
    assert_eq!(store.identity(), &identity());
}

#[test]
fn an_unfinished_database_is_replaced() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("raft.redb.new"), b"half a header").unwrap();
    assert_eq!(RedbStore::peek(dir.path()).unwrap(), None);
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
    let error = RedbStore::open(dir.path(), &long).unwrap_err();
    assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
    assert_eq!(RedbStore::peek(dir.path()).unwrap(), None);
    drop(open(dir.path()));
}

#[test]
fn a_purge_of_many_entries_takes_several_steps_and_removes_them_all() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let last = 2 * PURGE_STEP + 100;
    let entries = (1..=last)
        .map(|index| noop(1 + index / 10_000, index))
        .collect::<Vec<_>>();
    let up_to = entries[usize::try_from(last).unwrap() - 11].id;
    store.write(&append(entries)).unwrap();
    store.purge(up_to).unwrap();
    drop(store);
    let mut store = open(dir.path());
    let state = store.load().unwrap();
    assert_eq!((state.purged, state.last.index), (up_to, Index(last)));
    assert_eq!(
        store
            .read(Index(last - 9), Index(last), u64::MAX)
            .unwrap()
            .len(),
        10
    );
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

#[test]
fn a_copy_of_the_file_between_writes_can_be_opened() {
    let dir = TempDir::new().unwrap();
    let copy = TempDir::new().unwrap();
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
        fs::copy(dir.path().join("raft.redb"), copy.path().join("raft.redb")).unwrap();
        let state = open(copy.path()).load().unwrap();
        assert_eq!(state.last, LogId::new(Term(2), Index(index)));
        assert_eq!(state.hard_state, hard_state);
    }
}
