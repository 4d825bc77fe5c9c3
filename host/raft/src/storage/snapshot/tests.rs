use std::fs;

use tempfile::TempDir;

use super::*;
use crate::entry::ClusterState;
use crate::ids::{Index, Term};
use crate::storage::conformance::check_snapshot_store;
use crate::storage::schema::SNAPSHOT_HEADER_BYTES;

const LAST: LogId = LogId {
    term: Term(3),
    index: Index(42),
};
const NAME: &str = "00000000000000000042-00000000000000000003";

fn open(dir: &TempDir) -> SnapshotFiles {
    SnapshotFiles::open(dir.path()).unwrap()
}

fn take(store: &SnapshotFiles, data: &[u8]) -> SnapshotMeta {
    let mut writer = store
        .create(LAST, 1_700_000_000_123, None, ClusterState::default())
        .unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn names(dir: &TempDir) -> Vec<String> {
    let list = fs::read_dir(dir.path().join("snapshots")).unwrap();
    let mut names: Vec<String> = list
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn file(dir: &TempDir, extension: &str) -> PathBuf {
    dir.path().join(format!("snapshots/{NAME}.{extension}"))
}

#[test]
fn the_snapshots_on_disk_conform() {
    let dir = TempDir::new().unwrap();
    check_snapshot_store(&mut || Box::new(open(&dir)));
}

#[test]
fn a_file_has_the_documented_name_and_bytes() {
    let dir = TempDir::new().unwrap();
    let meta = take(&open(&dir), b"state");
    assert_eq!(names(&dir), [format!("{NAME}.snap")]);
    let bytes = fs::read(file(&dir, "snap")).unwrap();
    assert_eq!(bytes[..52], schema::encode_snapshot_header(&meta));
    assert_eq!(bytes[52..], *b"state");
}

#[test]
fn a_check_detects_a_corrupt_snapshot_and_names_its_file() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let meta = take(&store, b"state");
    store.check(&meta).unwrap();
    let path = file(&dir, "snap");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    // A peer finds the checksum wrong, discards the bytes and starts again.
    assert_eq!(store.read_chunk(&meta, 0, 100).unwrap().len(), 5);
    let error = store.check(&meta).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(".snap"), "{error}");
}

#[test]
fn a_snapshot_can_be_read_by_several_peers() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let meta = take(&store, b"state");
    for _ in 0..3 {
        assert_eq!(store.read_chunk(&meta, 0, 3).unwrap(), "sta");
        assert_eq!(store.read_chunk(&meta, 3, 3).unwrap(), "te");
    }
}

#[test]
fn after_a_crash_unfinished_files_are_removed_and_a_transfer_is_kept() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    take(&store, b"state");
    let data = [7; 100];
    let sent = SnapshotMeta {
        last: LogId::new(Term(3), Index(50)),
        time_ms: 1,
        length: 100,
        checksum: crc32c::crc32c(&data),
        membership: None,
        cluster: ClusterState::default(),
    };
    store.receive(&sent, 0, &data[..60]).unwrap();
    drop(store);
    let left = dir.path().join(format!("snapshots/{NAME}.0.tmp"));
    fs::write(left, b"half").unwrap();
    fs::write(dir.path().join("snapshots/notes.txt"), b"mine").unwrap();

    let store = open(&dir);
    let part = "00000000000000000050-00000000000000000003.part".to_owned();
    assert_eq!(
        names(&dir),
        [format!("{NAME}.snap"), part, "notes.txt".to_owned()]
    );
    let next = store.receive(&sent, 60, &data[60..]).unwrap();
    assert_eq!(next, Received::Complete);
}

#[test]
fn an_unfinished_snapshot_leaves_no_file() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let mut writer = store
        .create(LAST, 0, None, ClusterState::default())
        .unwrap();
    writer.write_all(&[1; 200_000]).unwrap();
    assert_eq!(names(&dir), [format!("{NAME}.0.tmp")]);
    drop(writer);
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn a_flipped_bit_anywhere_in_a_file_is_detected_before_it_is_restored() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let meta = take(&store, &[9; 300]);
    let bytes = fs::read(file(&dir, "snap")).unwrap();
    for at in 0..bytes.len() {
        let mut corrupt = bytes.clone();
        corrupt[at] ^= 1 << (at % 8);
        fs::write(file(&dir, "snap"), corrupt).unwrap();
        let error = store
            .open(&meta)
            .err()
            .expect("the flipped bit is detected");
        assert!(
            matches!(error, StorageError::Corrupt { .. }),
            "byte {at}: {error}"
        );
        if at < 52 {
            assert!(
                store.newest().is_err(),
                "byte {at}: an older snapshot is not used instead"
            );
        }
    }
}

#[test]
fn a_file_of_the_wrong_length_is_corrupt() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let meta = take(&store, &[9; 100]);
    let bytes = fs::read(file(&dir, "snap")).unwrap();
    let longer = [&bytes[..], b"x"].concat();
    for wrong in [
        &bytes[..0],
        &bytes[..30],
        &bytes[..52],
        &bytes[..151],
        &longer,
    ] {
        fs::write(file(&dir, "snap"), wrong).unwrap();
        let error = store.newest().unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(NAME), "{error}");
        assert!(store.open(&meta).is_err());
        assert!(store.read_chunk(&meta, 0, 10).is_err());
    }
}

#[test]
fn a_corrupt_snapshot_is_replaced_by_receiving_it_again() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let meta = take(&store, &[9; 100]);
    fs::write(file(&dir, "snap"), b"garbage").unwrap();
    assert_eq!(
        store.receive(&meta, 0, &[9; 100]).unwrap(),
        Received::Complete
    );
    let mut found = Vec::new();
    store.open(&meta).unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, [9; 100]);
}

#[test]
fn a_file_under_another_name_is_corrupt() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    take(&store, b"state");
    let other = dir
        .path()
        .join("snapshots/00000000000000000043-00000000000000000003.snap");
    fs::rename(file(&dir, "snap"), other).unwrap();
    let error = store.newest().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it holds the snapshot of entry 3/42"),
        "{error}"
    );
}

#[test]
fn a_truncated_or_corrupt_transfer_is_resumed_restarted_or_rejected() {
    let data = [5; 1000];
    let sent = SnapshotMeta {
        last: LAST,
        time_ms: 1,
        length: 1000,
        checksum: crc32c::crc32c(&data),
        membership: None,
        cluster: ClusterState::default(),
    };
    let dir = TempDir::new().unwrap();
    open(&dir).receive(&sent, 0, &data[..600]).unwrap();
    let bytes = fs::read(file(&dir, "part")).unwrap();

    // The end of the file is missing: the transfer continues from the bytes that are there.
    fs::write(file(&dir, "part"), &bytes[..252]).unwrap();
    let next = open(&dir).receive(&sent, 600, &data[600..]).unwrap();
    assert_eq!(next, Received::Partial { next_offset: 200 });
    assert_eq!(
        open(&dir).receive(&sent, 200, &data[200..]).unwrap(),
        Received::Complete
    );
    fs::remove_file(file(&dir, "snap")).unwrap();

    // The header is truncated or wrong, or the file is too long: the transfer starts again.
    let mut wrong = bytes.clone();
    wrong[20] ^= 1;
    let longer = [&bytes[..], &[0; 401]].concat();
    for wrong in [&bytes[..30], &wrong, &longer] {
        fs::write(file(&dir, "part"), wrong).unwrap();
        let next = open(&dir).receive(&sent, 600, &data[600..]).unwrap();
        assert_eq!(next, Received::Partial { next_offset: 0 });
    }

    // The file has its length, but some bytes were not synced.
    let mut hole = bytes.clone();
    hole[500..600].fill(0);
    fs::write(file(&dir, "part"), hole).unwrap();
    assert_eq!(
        open(&dir).receive(&sent, 600, &data[600..]).unwrap(),
        Received::Corrupt
    );
    assert_eq!(names(&dir), [""; 0]);
    assert_eq!(
        open(&dir).receive(&sent, 0, &data).unwrap(),
        Received::Complete
    );
}

#[test]
fn a_transfer_with_all_bytes_is_completed_by_any_chunk() {
    let data = [5; 100];
    let sent = SnapshotMeta {
        last: LAST,
        time_ms: 1,
        length: 100,
        checksum: crc32c::crc32c(&data),
        membership: None,
        cluster: ClusterState::default(),
    };
    let dir = TempDir::new().unwrap();
    // The file after a crash between the last chunk and the rename.
    let bytes = [&schema::encode_snapshot_header(&sent)[..], &data].concat();
    drop(open(&dir));
    fs::write(file(&dir, "part"), bytes).unwrap();
    assert_eq!(
        open(&dir).receive(&sent, 0, &data[..10]).unwrap(),
        Received::Complete
    );
    assert_eq!(open(&dir).newest().unwrap(), Some(sent));
    assert_eq!(names(&dir), [format!("{NAME}.snap")]);
}

#[test]
fn the_limit_applies_to_taken_and_received_snapshots() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).with_max_bytes(100);
    let mut writer = store
        .create(LAST, 0, None, ClusterState::default())
        .unwrap();
    writer.write_all(&[1; 60]).unwrap();
    let error = writer.write_all(&[1; 60]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("limit of 100 bytes"), "{error}");
    drop(writer);

    let sent = SnapshotMeta {
        last: LAST,
        time_ms: 1,
        length: 101,
        checksum: 0,
        membership: None,
        cluster: ClusterState::default(),
    };
    let error = store.receive(&sent, 0, &[1; 50]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("entry 3/42 has 101 bytes, and the limit is 100"),
        "{error}"
    );
    assert_eq!(names(&dir), [""; 0]);
}

/// Takes a snapshot with a configuration in its header.
fn take_with_members(store: &SnapshotFiles, data: &[u8]) -> SnapshotMeta {
    let ids = ["a".into(), "b".into()];
    let members = Membership::of_voters(&ids, &std::collections::BTreeMap::new());
    let mut writer = store
        .create(LAST, 7, Some(&members), ClusterState::default())
        .unwrap();
    writer.write_all(data).unwrap();
    let meta = writer.finish().unwrap();
    assert_eq!(meta.membership, Some(members));
    meta
}

#[test]
fn a_snapshot_with_members_is_read_back() {
    let dir = TempDir::new().unwrap();
    let data: Vec<u8> = (0..200).collect();
    let meta = take_with_members(&open(&dir), &data);
    let again = open(&dir);
    assert_eq!(again.newest().unwrap(), Some(meta.clone()));
    let mut found = Vec::new();
    again.open(&meta).unwrap().read_to_end(&mut found).unwrap();
    assert_eq!(found, data);
    assert_eq!(again.read_chunk(&meta, 150, 20).unwrap(), data[150..170]);
}

#[test]
fn an_interrupted_transfer_of_a_snapshot_with_members_is_resumed() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let data = [9; 100];
    let meta = take_with_members(&open(&from), &data);
    let half = open(&to).receive(&meta, 0, &data[..50]).unwrap();
    assert_eq!(half, Received::Partial { next_offset: 50 });
    assert_eq!(
        open(&to).receive(&meta, 50, &data[50..]).unwrap(),
        Received::Complete
    );
    assert_eq!(open(&to).newest().unwrap(), Some(meta.clone()));
    // The same bytes with another configuration are another snapshot.
    let other = SnapshotMeta {
        membership: None,
        ..meta
    };
    assert!(open(&to).open(&other).is_err());
}

#[test]
fn quarantined_snapshots_stay_and_four_are_kept() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let take = |index: u64, data: &[u8]| {
        let last = LogId::new(Term(3), Index(index));
        let mut writer = store
            .create(last, 0, None, ClusterState::default())
            .unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    };
    let kept = || {
        let list = fs::read_dir(dir.path().join("quarantine")).unwrap();
        let mut kept: Vec<_> = list.map(|item| item.unwrap().path()).collect();
        kept.sort();
        kept
    };
    for index in 1..=6 {
        store.quarantine(&take(index, b"state")).unwrap();
    }
    let newest = take(7, b"another");
    store.retain(&newest).unwrap();
    let read = |path: &PathBuf| fs::read(path).unwrap()[SNAPSHOT_HEADER_BYTES..].to_vec();
    assert_eq!(kept().len(), 4);
    assert!(kept().iter().all(|path| read(path) == b"state"));
    assert!(kept()[0].ends_with(format!("{:020}-{:020}.snap", 3, 3)));
    // A snapshot of the same entry replaces the previous one.
    store.quarantine(&take(6, b"later")).unwrap();
    assert_eq!((kept().len(), read(&kept()[3])), (4, b"later".to_vec()));
    let gone = store.quarantine(&meta_of_nothing()).unwrap_err();
    assert!(matches!(gone, StorageError::Io { .. }), "{gone}");
}

fn meta_of_nothing() -> SnapshotMeta {
    SnapshotMeta {
        last: LAST,
        time_ms: 0,
        length: 0,
        checksum: 0,
        membership: None,
        cluster: ClusterState::default(),
    }
}
