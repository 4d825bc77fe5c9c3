//! A damaged file gives an error or the right contents, never wrong ones.

use std::fs;
use std::path::{Path, PathBuf};

use ::redb::{Database, ReadableDatabase};
use tempfile::TempDir;

use super::{append, identity, open};
use crate::storage::redb::RedbStore;
use crate::storage::redb::tables::{ENTRIES, META};
use crate::storage::{LogStore, StorageError, StoredState, WriteBatch};
use crate::types::{Command, Entry, HardState, Index, LogId, Payload, Term};

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

/// A small log with a past: cut, purged, several terms. Returns its state and entries.
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

/// All that a node reads when it starts.
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
            panic!("{what}: taken for somebody else's")
        }
        Err(_) => {}
    }
}

/// Every byte of the database's header, which says what is valid, and then one in each 128.
fn places(length: usize) -> impl Iterator<Item = usize> {
    const HEADER: usize = 512;
    const STEP: usize = 128;
    // A different place in each step, so that all parts of a page get their turn.
    (0..HEADER).chain((HEADER / STEP..length / STEP).map(|step| step * STEP + step * 37 % STEP))
}

/// Opens the database with one bit wrong, for each place; returns how many of them were found out.
fn flip_bits(bytes: &[u8], check: impl Fn(Result<Contents, StorageError>, &str)) -> usize {
    let copy = TempDir::new().unwrap();
    let mut found = 0;
    for at in places(bytes.len()) {
        let bit = (at * 5 + at / 128) % 8;
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 1 << bit;
        let result = open_bytes(copy.path(), &damaged);
        found += usize::from(result.is_err());
        check(
            result,
            &format!("bit {bit} of byte {at} of {}", bytes.len()),
        );
    }
    found
}

#[test]
fn a_flipped_bit_anywhere_is_never_taken_for_the_truth() {
    let dir = TempDir::new().unwrap();
    let right = fill(dir.path());
    let bytes = fs::read(dir.path().join("raft.redb")).unwrap();
    let found = flip_bits(&bytes, |result, what| {
        expect_error_or_right(result, what, &right);
    });
    assert!(found > 100, "only {found} flips hit what is used");
}

/// After a crash the newest commit may be half on the disk, and the one before it counts; damage of the newest
/// looks the same. A mixture of the two, or an older one, is never right.
#[test]
fn a_flipped_bit_after_a_crash_gives_one_commit_or_the_other() {
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
    assert!(found > 50, "only {found} flips hit what is used");
}

#[test]
fn a_torn_tail_is_never_taken_for_the_truth() {
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
fn what_is_no_database_is_called_damaged() {
    for bytes in [&b""[..], b"garbage", &[0; 100_000], &[0xff; 100_000]] {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("raft.redb"), bytes).unwrap();
        let error = RedbStore::open(dir.path(), &identity()).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(
            error.to_string().contains("raft.redb is damaged"),
            "{error}"
        );
        let kept = fs::read(dir.path().join("raft.redb")).unwrap();
        assert!(kept == bytes, "what can't be read is left as it is");
    }
}

/// Changes the database behind the store's back.
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

fn expect_damage(dir: &Path, words: &str) {
    let error = contents(dir).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn a_record_that_the_database_trusts_is_checked_all_the_same() {
    let dir = TempDir::new().unwrap();
    fill(dir.path());
    tamper(dir.path(), |database| {
        let mut record = entry_record(database, 17);
        record[40] ^= 4;
        put_entry(database, 17, Some(&record));
    });
    expect_damage(dir.path(), "entry 17 is damaged: its checksum is wrong");
}

#[test]
fn a_record_in_another_ones_place_is_damage() {
    let dir = TempDir::new().unwrap();
    fill(dir.path());
    tamper(dir.path(), |database| {
        let record = entry_record(database, 16);
        put_entry(database, 17, Some(&record));
    });
    expect_damage(dir.path(), "entry 17 is damaged: its checksum is wrong");
}

#[test]
fn a_missing_entry_is_damage() {
    for index in [6, 17] {
        let dir = TempDir::new().unwrap();
        fill(dir.path());
        tamper(dir.path(), |database| put_entry(database, index, None));
        expect_damage(
            dir.path(),
            &format!("entry {index} is damaged: it is missing"),
        );
    }
}

#[test]
fn a_missing_vote_is_damage_and_not_a_node_that_never_voted() {
    for key in ["hard_state", "purged", "identity"] {
        let dir = TempDir::new().unwrap();
        fill(dir.path());
        tamper(dir.path(), |database| {
            let transaction = database.begin_write().unwrap();
            transaction.open_table(META).unwrap().remove(key).unwrap();
            transaction.commit().unwrap();
        });
        expect_damage(dir.path(), &format!("{key:?}"));
    }
}

#[test]
fn a_missing_memory_is_damage_and_not_a_store_that_holds_all() {
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
    expect_damage(dir.path(), "\"memory\"");
}
