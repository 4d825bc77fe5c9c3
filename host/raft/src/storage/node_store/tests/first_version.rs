//! A data directory that the first version wrote. Every later version must read it. A version with another format adds
//! its own directory to `testdata`, and a test like this.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::entry::{ClusterState, Command, SnapshotMeta};
use crate::storage::snapshot::SnapshotFiles;
use crate::storage::{SnapshotStore, StoredState};

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

/// The entries of that directory, before the first three were purged.
pub(super) fn batch() -> WriteBatch {
    let command = |sequence, data: &'static [u8]| Command {
        session: 0x1122_3344_5566_7788,
        sequence,
        data: Bytes::from_static(data),
    };
    let mut entries: Vec<Entry> = (1..=9).map(|index| noop(1 + index / 4, index)).collect();
    entries[8].payload = Payload::Commands(vec![command(1, b"hello"), command(2, b"")]);
    let hard_state = HardState {
        term: Term(4),
        vote: Some("node-2".into()),
    };
    WriteBatch {
        hard_state: Some(hard_state),
        truncate_from: None,
        entries,
    }
}

/// A copy of that directory.
pub(super) fn copy() -> TempDir {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1");
    let dir = TempDir::new().unwrap();
    fs::copy(from.join("raft.redb"), dir.path().join("raft.redb")).unwrap();
    fs::create_dir(dir.path().join("snapshots")).unwrap();
    for file in fs::read_dir(from.join("snapshots")).unwrap() {
        let file = file.unwrap();
        fs::copy(
            file.path(),
            dir.path().join("snapshots").join(file.file_name()),
        )
        .unwrap();
    }
    dir
}

#[test]
fn the_log_of_the_first_version_is_read() {
    let dir = copy();
    let mut store = open(dir.path());
    let expected = StoredState {
        hard_state: HardState {
            term: Term(4),
            vote: Some("node-2".into()),
        },
        purged: id(1, 3),
        last: id(3, 9),
        terms: vec![(Index(4), Term(2)), (Index(8), Term(3))],
        ..StoredState::default()
    };
    assert_eq!(store.load().unwrap(), expected);
    assert_eq!(
        store.read(Index(4), Index(9), u64::MAX).unwrap(),
        batch().entries[3..]
    );
    assert_eq!(NodeStore::identity(&store), &identity());
}

#[test]
fn the_log_of_the_first_version_can_be_appended_to() {
    let dir = copy();
    let mut store = open(dir.path());
    store.load().unwrap();
    store.write(&append(vec![noop(4, 10)])).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).load().unwrap().last, id(4, 10));
}

#[test]
fn the_snapshot_of_the_first_version_is_read() {
    let dir = copy();
    let store = SnapshotFiles::open(dir.path()).unwrap();
    let expected = SnapshotMeta {
        last: id(1, 3),
        time_ms: 1_700_000_000_000,
        length: 5,
        checksum: crc32c::crc32c(b"state"),
        membership: None,
        cluster: ClusterState::default(),
    };
    assert_eq!(store.newest().unwrap(), Some(expected.clone()));
    let mut state = Vec::new();
    store
        .open(&expected)
        .unwrap()
        .read_to_end(&mut state)
        .unwrap();
    assert_eq!(state, b"state");
}
