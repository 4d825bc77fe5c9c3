//! Entries that an earlier release kept in the database move into segments. A crash or an error at any step loses nothing.

use std::fs;
use std::io;
use std::path::PathBuf;

use ::redb::{Builder, Durability, StorageBackend, TableDefinition};
use bytes::Bytes;
use tempfile::TempDir;

use super::first_version::{batch, copy};
use super::{append, identity, noop, open, open_small};
use crate::entry::{Command, Entry, HardState, Payload};
use crate::ids::{Index, LogId, StoreId, Term};
use crate::storage::node_store::{NodeStore, StoreInit};
use crate::storage::segments::tests::disk::{
    CrashRandom, DATABASE, DiskContent, RecordingDisk, after_crash,
};
use crate::storage::{LogStore, StorageError, StoreState, StoredState, schema};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

fn entry(index: u64) -> Entry {
    let command = Command {
        session: 1,
        sequence: index,
        data: Bytes::from(vec![7; 200 * (index as usize % 5)]),
    };
    Entry {
        id: id(1 + index / 20, index),
        time_ms: index,
        payload: Payload::Commands(vec![command]),
    }
}

/// Writes a database as the release before segments did, with these entries after `purged`.
fn write_old(backend: impl StorageBackend, purged: LogId, entries: &[Entry]) {
    let database = Builder::new().create_with_backend(backend).unwrap();
    let mut transaction = database.begin_write().unwrap();
    transaction.set_durability(Durability::Immediate).unwrap();
    {
        let mut table = transaction.open_table(ENTRIES).unwrap();
        let mut record = Vec::new();
        for entry in entries {
            schema::encode_entry(entry, &mut record).unwrap();
            table.insert(entry.id.index.0, record.as_slice()).unwrap();
        }
        let hard_state = HardState {
            term: Term(9),
            vote: Some("node-3".into()),
        };
        let init = StoreInit {
            store_id: StoreId(5),
            state: StoreState::Complete,
        };
        let records = [
            (
                "identity",
                schema::encode_identity("identity", 3, &identity()).unwrap(),
            ),
            (
                "hard_state",
                schema::encode_hard_state("hard_state", &hard_state).unwrap(),
            ),
            ("purged", schema::encode_log_id("purged", purged)),
            ("memory", schema::encode_store_init("memory", init)),
        ];
        let mut meta = transaction.open_table(META).unwrap();
        for (key, record) in &records {
            meta.insert(*key, record.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn old_disk() -> (DiskContent, Vec<Entry>) {
    let disk = RecordingDisk::default();
    let entries: Vec<Entry> = (11..=60).map(entry).collect();
    write_old(disk.clone(), id(1, 10), &entries);
    (disk.content(), entries)
}

fn expected() -> StoredState {
    StoredState {
        hard_state: HardState {
            term: Term(9),
            vote: Some("node-3".into()),
        },
        purged: id(1, 10),
        last: id(4, 60),
        terms: vec![
            (Index(11), Term(1)),
            (Index(20), Term(2)),
            (Index(40), Term(3)),
            (Index(60), Term(4)),
        ],
        store_id: StoreId(5),
        ..StoredState::default()
    }
}

fn check(disk: &RecordingDisk, entries: &[Entry], what: &str) {
    let mut store = open_small(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(store.doubt(), None, "{what}");
    assert_eq!(store.load().unwrap(), expected(), "{what}");
    let read = store.read(Index(11), Index(60), u64::MAX).unwrap();
    assert_eq!(read, entries, "{what}");
}

#[test]
fn a_crash_at_any_operation_of_the_migration_loses_nothing() {
    const SEEDS: u64 = 3;
    let (start, entries) = old_disk();
    let disk = RecordingDisk::with_content(start.clone());
    check(&disk, &entries, "without a crash");
    let operations = disk.take_operations();
    assert!(operations.len() > 30, "{}", operations.len());
    for end in 0..=operations.len() {
        for seed in 0..SEEDS {
            let mut random = CrashRandom(seed << 32 | end as u64);
            let content = after_crash(&start, &operations[..end], || random.coin());
            let disk = RecordingDisk::with_content(content);
            check(&disk, &entries, &format!("crash at {end}, seed {seed}"));
        }
    }
}

#[test]
fn an_error_at_any_operation_of_the_migration_stops_the_node_and_loses_nothing() {
    let (start, entries) = old_disk();
    let disk = RecordingDisk::with_content(start.clone());
    check(&disk, &entries, "without an error");
    let operations = disk.take_operations();
    for (at, kind) in (0..operations.len()).zip(
        [io::ErrorKind::StorageFull, io::ErrorKind::Other]
            .into_iter()
            .cycle(),
    ) {
        let disk = RecordingDisk::with_content(start.clone());
        disk.fail_after(at, kind);
        if let Err(error) = open_small(&disk) {
            let is_told = matches!(&error, StorageError::Io { .. } | StorageError::Full { .. });
            assert!(is_told, "operation {at}: {error}");
        }
        let disk = RecordingDisk::with_content(disk.content());
        check(
            &disk,
            &entries,
            &format!("after an error of operation {at}"),
        );
    }
}

#[test]
fn segments_that_are_left_of_an_interrupted_migration_are_not_used() {
    let (mut start, entries) = old_disk();
    let other = RecordingDisk::default();
    let mut store = open_small(&other).unwrap();
    store.write(&append(vec![noop(8, 1)])).unwrap();
    drop(store);
    start.extend(
        other
            .content()
            .into_iter()
            .filter(|(file, _)| *file != DATABASE),
    );
    check(
        &RecordingDisk::with_content(start),
        &entries,
        "with other segments",
    );
}

#[test]
fn a_corrupt_entry_in_the_old_database_stops_the_migration_and_changes_nothing() {
    let disk = RecordingDisk::default();
    let mut entries: Vec<Entry> = (11..=20).map(entry).collect();
    entries.remove(4);
    write_old(disk.clone(), id(1, 10), &entries);
    for _ in 0..2 {
        let error = open_small(&disk).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("entry 15 is corrupt: it is missing"),
            "{error}"
        );
    }
}

#[test]
fn a_directory_of_the_first_version_is_migrated_once_and_an_earlier_release_refuses_it() {
    let dir = copy();
    drop(open(dir.path()));
    let mut store = open(dir.path());
    let state = store.load().unwrap();
    assert_eq!(
        store.read(Index(4), state.last.index, u64::MAX).unwrap(),
        batch().entries[3..]
    );
    drop(store);
    let path: PathBuf = dir.path().join("raft.redb");
    let database = ::redb::Database::open(path).unwrap();
    let transaction = ::redb::ReadableDatabase::begin_read(&database).unwrap();
    assert!(
        transaction.open_table(ENTRIES).is_err(),
        "the entries are moved"
    );
    let meta = transaction.open_table(META).unwrap();
    let record = meta.get("identity").unwrap().unwrap();
    // A release before knows formats up to 3, and refuses this one.
    assert_eq!(record.value()[1..5], 4_u32.to_be_bytes());
}

#[test]
fn the_space_of_the_entries_is_given_back() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("raft.redb");
    let file = fs::File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let backend = ::redb::backends::FileBackend::new(file).unwrap();
    let entries: Vec<Entry> = (1..=3000)
        .map(|index| Entry {
            id: id(1, index),
            ..entry(4 + 5 * index)
        })
        .collect();
    write_old(backend, LogId::default(), &entries);
    let before = fs::metadata(&path).unwrap().len();
    let mut store = NodeStore::open(dir.path(), &identity()).unwrap();
    assert_eq!(store.load().unwrap().last, id(1, 3000));
    let after = fs::metadata(&path).unwrap().len();
    assert!(after < before / 2, "{before} bytes before, {after} after");
}
