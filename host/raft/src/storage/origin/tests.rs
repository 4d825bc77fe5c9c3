//! Copies, moves and originals.

use super::*;
use crate::entry::HardState;
use crate::ids::Term;
use crate::storage::node_store::Identity;
use crate::storage::{LogStore, WriteBatch};

fn identity() -> Identity {
    Identity {
        node_id: "n".into(),
        cluster_id: "c".to_owned(),
    }
}

fn open(dir: &Path) -> NodeStore {
    let init = StoreInit {
        store_id: StoreId(7),
        state: StoreState::New,
    };
    NodeStore::open_or_create(dir, &identity(), init).expect("a store")
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
    for log in fs::read_dir(from.join("log")).expect("a directory") {
        let log = log.expect("a log");
        let copied = to.join("log").join(log.file_name());
        fs::create_dir_all(&copied).expect("a directory");
        for file in fs::read_dir(log.path()).expect("a directory") {
            let file = file.expect("a segment");
            fs::copy(file.path(), copied.join(file.file_name())).expect("a copy");
        }
    }
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
