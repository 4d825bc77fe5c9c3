//! A corrupt file gives an error or the right contents, never wrong contents.

use std::fs;
use std::path::{Path, PathBuf};

use ::redb::{Database, TableDefinition};
use tempfile::TempDir;

use super::{append, copy_all, identity, open};
use crate::entry::{Command, Entry, HardState, Payload};
use crate::ids::{Index, LogId, Term};
use crate::storage::node_store::NodeStore;
use crate::storage::{LogStore, StorageError, StoredState, WriteBatch};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

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
    let mut store = NodeStore::open(dir, &identity())?;
    let state = store.load()?;
    let entries = store.read(state.purged.index.next(), state.last.index, u64::MAX)?;
    Ok((state, entries))
}

/// Opens a copy of a directory with another database.
fn open_bytes(copy: &Path, bytes: &[u8]) -> Result<Contents, StorageError> {
    fs::write(copy.join("raft.redb"), bytes).unwrap();
    contents(copy)
}

/// A copy of the log of a directory, without the database.
fn copy_of(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_all(&dir.join("log"), &copy.path().join("log"));
    copy
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
fn flip_bits(
    copy: &TempDir,
    bytes: &[u8],
    check: impl Fn(Result<Contents, StorageError>, &str),
) -> usize {
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
    let found = flip_bits(&copy_of(dir.path()), &bytes, |result, what| {
        expect_error_or_right(result, what, &right);
    });
    assert!(found > 20, "only {found} flips were detected");
}

/// The newest transaction was acknowledged: if it is corrupt, it is not taken for one that a crash interrupted. The header has one
/// bit without a checksum, which tells which transaction is the newest one: both contain the vote.
#[test]
fn a_flipped_bit_after_a_crash_never_gives_the_vote_before_the_last_one() {
    /// The byte of the header with that bit, which is its lowest.
    const NEWEST: usize = 9;
    let dir = TempDir::new().unwrap();
    fill(dir.path());
    let mut store = open(dir.path());
    let vote = |term: u64| WriteBatch {
        hard_state: Some(HardState {
            term: Term(term),
            vote: Some("node-1".into()),
        }),
        ..WriteBatch::default()
    };
    store.write(&vote(8)).unwrap();
    store.write(&vote(9)).unwrap();
    // The process has no time to close the database.
    let bytes = fs::read(dir.path().join("raft.redb")).unwrap();
    let copy = copy_of(dir.path());
    drop(store);
    let right = contents(dir.path()).unwrap();
    let found = flip_bits(&copy, &bytes, |result, what| {
        expect_error_or_right(result, what, &right);
    });
    assert!(found > 20, "only {found} flips were detected");
    let mut other = bytes;
    other[NEWEST] ^= 1;
    let result = open_bytes(copy.path(), &other);
    expect_error_or_right(result, "the other transaction", &right);
}

#[test]
fn a_truncated_file_never_gives_wrong_contents() {
    let dir = TempDir::new().unwrap();
    let right = fill(dir.path());
    let bytes = fs::read(dir.path().join("raft.redb")).unwrap();
    let copy = copy_of(dir.path());
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
        let error = NodeStore::open(dir.path(), &identity()).unwrap_err();
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

fn expect_corruption(dir: &Path, text: &str) {
    let error = contents(dir).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn a_missing_vote_is_corruption_and_not_a_node_that_never_voted() {
    for key in ["hard_state", "log", "identity"] {
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
