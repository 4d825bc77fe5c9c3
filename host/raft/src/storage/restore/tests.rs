use std::fs;
use std::io::Read;

use tempfile::TempDir;

use super::*;
use crate::ids::{Index, NodeId, Term};

const LAST: LogId = LogId {
    term: Term(7),
    index: Index(42),
};

fn cluster() -> RestoredCluster {
    RestoredCluster {
        identity: Identity {
            node_id: "node1".into(),
            cluster_id: "new".to_owned(),
        },
        address: "127.0.0.1:7101".to_owned(),
        store_id: StoreId(5),
        random: 8,
        level: 1,
        last: LAST,
        time_ms: 1000,
    }
}

#[test]
fn the_directory_has_the_state_and_a_log_that_continues_after_it() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("node1");
    let meta = restore(&dir, &cluster(), &mut &b"state"[..]).unwrap();
    assert_eq!((meta.last, meta.length, meta.time_ms), (LAST, 5, 1000));

    let mut log = NodeStore::open_existing(&dir).unwrap().unwrap();
    let stored = log.load().unwrap();
    assert_eq!((stored.purged, stored.last), (LAST, LAST));
    assert_eq!(stored.hard_state.term, LAST.term);
    assert_eq!(stored.hard_state.vote, None);
    assert_eq!(log.init().store_id, StoreId(5));
    assert_eq!(log.init().state, StoreState::Complete);
    assert_eq!(log.identity().cluster_id, "new");

    let snapshots = SnapshotFiles::open(&dir).unwrap();
    let newest = snapshots.newest().unwrap().unwrap();
    assert_eq!(newest, meta);
    assert_eq!(newest.cluster.level, 1);
    assert_eq!(newest.cluster.lineage, Lineage(9));
    let members = newest.membership.clone().unwrap();
    let names: Vec<_> = members.voters().map(NodeId::as_str).collect();
    assert_eq!(names, ["node1"]);
    assert_eq!(members.store_id(&"node1".into()), StoreId(5));
    let mut state = Vec::new();
    let mut reader = snapshots.open(&newest).unwrap();
    reader.read_to_end(&mut state).unwrap();
    assert_eq!(state, b"state");
}

#[test]
fn a_directory_with_files_is_refused_and_unchanged() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("node1");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "content").unwrap();
    let error = restore(&dir, &cluster(), &mut &b"state"[..]).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn a_state_that_can_not_be_read_leaves_no_directory() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("node1");
    restore(&dir, &cluster(), &mut Broken).unwrap_err();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    // What a crash has left is replaced, and so is an empty directory.
    fs::create_dir(parent.path().join("node1.restoring")).unwrap();
    fs::create_dir(&dir).unwrap();
    restore(&dir, &cluster(), &mut &b"state"[..]).unwrap();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}
