//! A corrupt file gives an error or the right contents, never wrong contents.

use std::fs;
use std::path::{Path, PathBuf};

use ::redb::{Database, ReadableDatabase};
use tempfile::TempDir;

use super::{append, identity, open};
use crate::entry::{Command, Entry, HardState, Payload};
use crate::ids::{Index, LogId, Term};
use crate::storage::redb::RedbStore;
use crate::storage::redb::tables::{ENTRIES, META};
use crate::storage::{LogStore, StorageError, StoredState, WriteBatch};

fn commands(term: u64, index: u64) -> Entry {
    let data = format!("command {index} ").repeat(20).into();
    let command = Command {
        session: 7,
        sequence: index,
        data,
    };
    Entry {
        id: LogId::new(Term(term), Index(index)),
        time_ms: index,
        payload: Payload::Commands(vec![command]),
    }
}

/// A small log with several terms that was truncated and purged. Returns its state and entries.
fn fill(dir: &Path) -> Contents {
    let mut store = open(dir);
    let hard_state = Some(HardState {
        term: Term(4),
        vote: Some("node-3".into()),
    });
    store
        .write(&append((1..=30).map(|index| commands(1, index)).collect()))
        .unwrap();
    store.purge(LogId::new(Term(1), Index(5))).unwrap();
    let batch = WriteBatch {
        hard_state,
        truncate_from: Some(Index(21)),
        entries: (21..=40)
            .map(|index| commands(2 + index / 30, index))
            .collect(),
    };
    store.write(&batch).unwrap();
    drop(store);
    contents(dir).unwrap()
}

type Contents = (StoredState, Vec<Entry>);

/// Everything that a node reads at its start.
fn contents(dir: &Path) -> Result<Contents, StorageError> {
    let mut store = RedbStore::open(dir, &identity())?;
    let state = store.load()?;
    let entries = store.read(state.purged.index.next(), state.last.index, u64::MAX)?;
    Ok((state, entries))
}

fn open_bytes(copy: &Path, bytes: &[u8]) -> Result<Contents, StorageError> {
    fs::write(copy.join("raft.redb"), bytes).unwrap();
    contents(copy)
}

fn expect_error_or_right(result: Result<Contents, StorageError>, what: &str, right: &Contents) {
    match result {
        Ok(found) => assert!(found == *right, "{what}: wrong contents without an error"),
        Err(StorageError::Foreign { .. } | StorageError::InUse { .. }) => {
            panic!("{what}: reported as foreign or in use")
        }
        Err(_) => {}
    }
}

/// Every byte of the database's header, which defines what is valid, and then one byte of every 128.
fn positions(length: usize) -> impl Iterator<Item = usize> {
    const HEADER: usize = 512;
    const STEP: usize = 128;
    // A different offset in each step, so that all parts of a page are covered.
    (0..HEADER).chain((HEADER / STEP..length / STEP).map(|step| step * STEP + step * 37 % STEP))
}

/// Opens the database with one flipped bit, for each place; returns how many flips were detected.
fn flip_bits(bytes: &[u8], check: impl Fn(Result<Contents, StorageError>, &str)) -> usize {
    let copy = TempDir::new().unwrap();
    let mut found = 0;
    for at in positions(bytes.len()) {
        let bit = (at * 5 + at / 128) % 8;
        let mut corrupt = bytes.to_vec();
        corrupt[at] ^= 1 << bit;
        let result = open_bytes(copy.path(), &corrupt);
        found += usize::from(result.is_err());
        check(
            result,
            &format!("bit {bit} of byte {at} of {}", bytes.len()),
        );
    }
    found
}

#[test]
fn a_flipped_bit_anywhere_never_gives_wrong_contents() {
    let dir = TempDir::new().unwrap();
    let right = fill(dir.path());
    let bytes = fs::read(dir.path().join("raft.redb")).unwrap();
    let found = flip_bits(&bytes, |result, what| {
        expect_error_or_right(result, what, &right);
    });
    assert!(found > 100, "only {found} flips were detected");
}

/// After a crash the newest commit may be incomplete, and then the previous one is valid. Corruption of the newest commit
/// looks the same. A mixture of the two, or an older commit, is always wrong.
#[test]
fn a_flipped_bit_after_a_crash_gives_the_last_commit_or_the_one_before() {
    let dir = TempDir::new().unwrap();
    let before = fill(dir.path());
    let mut store = open(dir.path());
    let last = store.load().unwrap().last;
    let next = commands(last.term.0, last.index.0 + 1);
    store.write(&append(vec![next.clone()])).unwrap();
    let bytes = fs::read(dir.path().join("raft.redb")).unwrap();
    drop(store);
    let after = contents(dir.path()).unwrap();
    assert_eq!(after.1.last(), Some(&next));
    let found = flip_bits(&bytes, |result, what| {
        if result.as_ref().is_ok_and(|found| *found != before) {
            expect_error_or_right(result, what, &after);
        }
    });
    assert!(found > 50, "only {found} flips were detected");
}

#[test]
fn a_truncated_file_never_gives_wrong_contents() {
    let dir = TempDir::new().unwrap();
    let right = fill(dir.path());
    let bytes = fs::read(dir.path().join("raft.redb")).unwrap();
    let copy = TempDir::new().unwrap();
    for length in (0..bytes.len()).step_by(16 * 1024 + 512) {
        let what = format!("the first {length} of {} bytes", bytes.len());
        expect_error_or_right(open_bytes(copy.path(), &bytes[..length]), &what, &right);
    }
}

#[test]
fn a_file_that_is_not_a_database_is_reported_as_corrupt() {
    for bytes in [&b""[..], b"garbage", &[0; 100_000], &[0xff; 100_000]] {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("raft.redb"), bytes).unwrap();
        let error = RedbStore::open(dir.path(), &identity()).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(
            error.to_string().contains("raft.redb is corrupt"),
            "{error}"
        );
        let kept = fs::read(dir.path().join("raft.redb")).unwrap();
        assert!(kept == bytes, "the file is left unchanged");
    }
}

/// Changes the database without the store.
fn tamper(dir: &Path, change: impl FnOnce(&Database)) {
    let path: PathBuf = dir.join("raft.redb");
    change(&Database::open(path).unwrap());
}

fn entry_record(database: &Database, index: u64) -> Vec<u8> {
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(ENTRIES).unwrap();
    table.get(index).unwrap().unwrap().value().to_vec()
}

fn put_entry(database: &Database, index: u64, record: Option<&[u8]>) {
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(ENTRIES).unwrap();
        match record {
            Some(record) => drop(table.insert(index, record).unwrap()),
            None => drop(table.remove(index).unwrap()),
        }
    }
    transaction.commit().unwrap();
}

fn expect_corruption(dir: &Path, text: &str) {
    let error = contents(dir).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_corrupt_record_in_a_valid_page_is_detected() {
    let dir = TempDir::new().unwrap();
    fill(dir.path());
    tamper(dir.path(), |database| {
        let mut record = entry_record(database, 17);
        record[40] ^= 4;
        put_entry(database, 17, Some(&record));
    });
    expect_corruption(dir.path(), "entry 17 is corrupt: its checksum is wrong");
}

#[test]
fn a_record_under_another_key_is_corrupt() {
    let dir = TempDir::new().unwrap();
    fill(dir.path());
    tamper(dir.path(), |database| {
        let record = entry_record(database, 16);
        put_entry(database, 17, Some(&record));
    });
    expect_corruption(dir.path(), "entry 17 is corrupt: its checksum is wrong");
}

#[test]
fn a_missing_entry_is_corruption() {
    for index in [6, 17] {
        let dir = TempDir::new().unwrap();
        fill(dir.path());
        tamper(dir.path(), |database| put_entry(database, index, None));
        expect_corruption(
            dir.path(),
            &format!("entry {index} is corrupt: it is missing"),
        );
    }
}

#[test]
fn a_missing_vote_is_corruption_and_not_a_node_that_never_voted() {
    for key in ["hard_state", "purged", "identity"] {
        let dir = TempDir::new().unwrap();
        fill(dir.path());
        tamper(dir.path(), |database| {
            let transaction = database.begin_write().unwrap();
            transaction.open_table(META).unwrap().remove(key).unwrap();
            transaction.commit().unwrap();
        });
        expect_corruption(dir.path(), &format!("{key:?}"));
    }
}

#[test]
fn a_missing_store_state_is_corruption_and_not_a_complete_store() {
    let dir = TempDir::new().unwrap();
    fill(dir.path());
    tamper(dir.path(), |database| {
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(META)
            .unwrap()
            .remove("memory")
            .unwrap();
        transaction.commit().unwrap();
    });
    expect_corruption(dir.path(), "\"memory\"");
}
