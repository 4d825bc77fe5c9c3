//! The contract of a log store, one check per rule. Each check starts with the log that the previous one left.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::entry::{Command, Entry, HardState, Payload};
use crate::ids::{Index, LogId, NodeId, Term};
use crate::raft::membership::Membership;
use crate::storage::{LogStore, StorageError, StoredState, WriteBatch};

type OpenLog<'a> = &'a mut dyn FnMut() -> Box<dyn LogStore>;

/// Runs every check, in order.
pub(super) fn check(open: OpenLog<'_>) {
    a_new_store_is_empty(open);
    term_and_vote_survive(open);
    the_longest_lease_survives(open);
    appended_entries_are_read_after_reopening(open);
    an_append_must_follow_the_last_entry(open);
    a_refused_batch_changes_nothing(open);
    truncation_removes_the_tail(open);
    truncation_and_append_are_one_batch(open);
    truncation_outside_the_log_is_refused(open);
    terms_never_decrease(open);
    reads_respect_their_limits(open);
    a_purge_inside_the_log_keeps_the_rest(open);
    a_purge_beyond_the_end_moves_the_log(open);
    a_purge_of_a_conflicting_entry_clears_the_log(open);
    a_repeated_purge_changes_nothing(open);
    the_log_continues_after_a_purge_of_everything(open);
}

/// An entry whose content is derived from its term and index.
pub(super) fn entry(term: u64, index: u64) -> Entry {
    let command = |sequence: u64| Command {
        session: term << 32 | index,
        sequence,
        data: Bytes::from(
            format!("{term}/{index}/{sequence}").repeat(usize::try_from(index % 7).unwrap_or(0)),
        ),
    };
    let voter = NodeId::from(format!("n{index}"));
    let members = || Membership::of_voters([&voter], &BTreeMap::new());
    let payload = match index % 4 {
        0 if index.is_multiple_of(8) => Payload::Membership(members()),
        0 => Payload::Noop,
        count => Payload::Commands((0..count - 1).map(command).collect()),
    };
    Entry {
        id: LogId::new(Term(term), Index(index)),
        time_ms: 1_700_000_000_000 + index,
        payload,
    }
}

pub(super) fn append(entries: Vec<Entry>) -> WriteBatch {
    WriteBatch {
        entries,
        ..WriteBatch::default()
    }
}

fn truncate(from: u64, entries: Vec<Entry>) -> WriteBatch {
    WriteBatch {
        truncate_from: Some(Index(from)),
        entries,
        ..WriteBatch::default()
    }
}

pub(super) fn load(store: &mut dyn LogStore) -> StoredState {
    store.load().expect("the store loads")
}

fn write(store: &mut dyn LogStore, batch: &WriteBatch) {
    store.write(batch).expect("the batch is written");
}

pub(super) fn read_all(store: &dyn LogStore, state: &StoredState) -> Vec<Entry> {
    if state.last == state.purged {
        return Vec::new();
    }
    store
        .read(state.purged.index.next(), state.last.index, u64::MAX)
        .expect("the whole log is read")
}

/// Expects exactly these entries after `purged`, now and after reopening.
fn expect_log(open: OpenLog<'_>, purged: LogId, expected: &[Entry]) {
    for _ in 0..2 {
        let mut store = open();
        let state = load(&mut *store);
        let last = expected.last().map_or(purged, |entry| entry.id);
        assert_eq!(
            state.purged, purged,
            "the entry before the first one in the log"
        );
        assert_eq!(state.last, last, "the last entry");
        assert_eq!(state.terms, term_runs(expected), "where each term starts");
        assert_eq!(
            state.memberships,
            memberships(expected),
            "the configurations"
        );
        assert_eq!(
            read_all(&*store, &state),
            expected,
            "the entries in the log"
        );
    }
}

/// The configurations among entries.
pub(super) fn memberships(entries: &[Entry]) -> Vec<(Index, Membership)> {
    let membership = |entry: &Entry| {
        let membership = entry.payload.membership()?;
        Some((entry.id.index, membership.clone()))
    };
    entries.iter().filter_map(membership).collect()
}

/// The first index of each term.
pub(super) fn term_runs(entries: &[Entry]) -> Vec<(Index, Term)> {
    let mut runs: Vec<(Index, Term)> = entries
        .iter()
        .map(|entry| (entry.id.index, entry.id.term))
        .collect();
    runs.dedup_by_key(|(_, term)| *term);
    runs
}

/// Opens the store with a log that was cleared and starts after the returned entry.
fn cleared(open: OpenLog<'_>) -> (Box<dyn LogStore>, u64) {
    let mut store = open();
    let before = load(&mut *store).last;
    let base = LogId::new(Term(1), Index(before.index.0 + 100));
    store.purge(base).expect("a purge beyond the end");
    (store, base.index.0)
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

fn expect_out_of_range<T>(result: Result<T, StorageError>, what: &str) {
    match result {
        Err(StorageError::OutOfRange { .. }) => {}
        Err(error) => panic!("{what} must be out of range, and is: {error}"),
        Ok(_) => panic!("{what} must be out of range, and was taken"),
    }
}

fn a_new_store_is_empty(open: OpenLog<'_>) {
    let state = load(&mut *open());
    assert_eq!(
        state,
        StoredState::default(),
        "a new store holds nothing; was it really new?"
    );
    expect_out_of_range(
        open().read(Index(1), Index(1), 1),
        "entry 1 of an empty log",
    );
    expect_out_of_range(open().read(Index(0), Index(0), 1), "entry 0");
    expect_log(open, LogId::default(), &[]);
}

fn term_and_vote_survive(open: OpenLog<'_>) {
    for (term, vote) in [
        (3, Some("node-2")),
        (4, None),
        (5, Some("")),
        (u64::MAX, Some("ключ")),
    ] {
        let hard_state = HardState {
            term: Term(term),
            vote: vote.map(NodeId::from),
        };
        let batch = WriteBatch {
            hard_state: Some(hard_state.clone()),
            ..WriteBatch::default()
        };
        write(&mut *open(), &batch);
        assert_eq!(
            load(&mut *open()).hard_state,
            hard_state,
            "term and vote as last written"
        );
    }
    let before = load(&mut *open());
    write(&mut *open(), &WriteBatch::default());
    assert_eq!(load(&mut *open()), before, "an empty batch changes nothing");
}

fn the_longest_lease_survives(open: OpenLog<'_>) {
    assert_eq!(load(&mut *open()).granted_lease, Duration::ZERO);
    for ms in [1500, 300] {
        let longest = Duration::from_millis(ms);
        let mut store = open();
        load(&mut *store);
        store.record_lease(longest).expect("the lease is recorded");
        drop(store);
        assert_eq!(load(&mut *open()).granted_lease, longest);
    }
}

fn appended_entries_are_read_after_reopening(open: OpenLog<'_>) {
    let entries: Vec<Entry> = (1..=20).map(|index| entry(1 + index / 7, index)).collect();
    for part in entries.chunks(6) {
        write(&mut *open(), &append(part.to_vec()));
    }
    expect_log(open, LogId::default(), &entries);
}

fn an_append_must_follow_the_last_entry(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    expect_out_of_range(
        store.write(&append(vec![entry(1, base + 2)])),
        "an append that leaves a gap",
    );
    expect_out_of_range(
        store.write(&append(vec![entry(1, base)])),
        "an append over the purged entry",
    );
    expect_out_of_range(
        store.write(&append(vec![entry(1, base + 1), entry(1, base + 3)])),
        "a batch with a gap inside",
    );
    drop(store);
    expect_log(open, id(1, base), &[]);
}

fn a_refused_batch_changes_nothing(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(
        &mut *store,
        &append(vec![entry(1, base + 1), entry(1, base + 2)]),
    );
    let before = load(&mut *store);
    let batch = WriteBatch {
        hard_state: Some(HardState {
            term: Term(77),
            vote: None,
        }),
        truncate_from: Some(Index(base + 2)),
        entries: vec![entry(1, base + 3)],
    };
    expect_out_of_range(
        store.write(&batch),
        "a batch with a gap after its truncation",
    );
    assert_eq!(load(&mut *store), before, "all of a batch or nothing");
    drop(store);
    expect_log(open, id(1, base), &[entry(1, base + 1), entry(1, base + 2)]);
}

fn truncation_removes_the_tail(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(
        &mut *store,
        &append((1..=5).map(|n| entry(1, base + n)).collect()),
    );
    write(&mut *store, &truncate(base + 4, Vec::new()));
    expect_out_of_range(
        store.read(Index(base + 4), Index(base + 4), 1),
        "an entry that was removed",
    );
    write(&mut *store, &truncate(base + 4, Vec::new()));
    drop(store);
    let left: Vec<Entry> = (1..=3).map(|n| entry(1, base + n)).collect();
    expect_log(open, id(1, base), &left);
    write(&mut *open(), &truncate(base + 1, Vec::new()));
    expect_log(open, id(1, base), &[]);
}

fn truncation_and_append_are_one_batch(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(
        &mut *store,
        &append((1..=5).map(|n| entry(2, base + n)).collect()),
    );
    let mut batch = truncate(base + 3, vec![entry(3, base + 3), entry(4, base + 4)]);
    batch.hard_state = Some(HardState {
        term: Term(4),
        vote: Some("node-1".into()),
    });
    write(&mut *store, &batch);
    drop(store);
    let expected = [
        entry(2, base + 1),
        entry(2, base + 2),
        entry(3, base + 3),
        entry(4, base + 4),
    ];
    expect_log(open, id(1, base), &expected);
    assert_eq!(
        Some(load(&mut *open()).hard_state),
        batch.hard_state,
        "term and vote of the same batch"
    );

    write(&mut *open(), &truncate(base + 1, vec![entry(5, base + 1)]));
    expect_log(open, id(1, base), &[entry(5, base + 1)]);
}

fn truncation_outside_the_log_is_refused(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(&mut *store, &append(vec![entry(1, base + 1)]));
    expect_out_of_range(
        store.write(&truncate(base, Vec::new())),
        "a truncation before the first entry",
    );
    expect_out_of_range(
        store.write(&truncate(base + 3, Vec::new())),
        "a truncation beyond the end",
    );
    drop(store);
    expect_log(open, id(1, base), &[entry(1, base + 1)]);
}

fn terms_never_decrease(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(
        &mut *store,
        &append(vec![entry(3, base + 1), entry(5, base + 2)]),
    );
    assert!(
        open_and_write(open, store, &append(vec![entry(4, base + 3)])).is_err(),
        "term 4 after term 5"
    );
    let within = append(vec![entry(6, base + 3), entry(5, base + 4)]);
    let store = open();
    assert!(
        open_and_write(open, store, &within).is_err(),
        "term 5 after term 6 in one batch"
    );
    let store = open();
    let cut = truncate(base + 2, vec![entry(2, base + 2)]);
    assert!(
        open_and_write(open, store, &cut).is_err(),
        "term 2 after term 3, after a truncation"
    );
    expect_log(open, id(1, base), &[entry(3, base + 1), entry(5, base + 2)]);
    write(&mut *open(), &truncate(base + 2, vec![entry(4, base + 2)]));
    expect_log(open, id(1, base), &[entry(3, base + 1), entry(4, base + 2)]);
}

/// Writes, then opens the store again: after an error other than out-of-range, a store may refuse everything else.
fn open_and_write(
    open: OpenLog<'_>,
    mut store: Box<dyn LogStore>,
    batch: &WriteBatch,
) -> Result<(), StorageError> {
    let result = store.write(batch);
    drop(store);
    drop(open());
    result
}

fn reads_respect_their_limits(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    let entries: Vec<Entry> = (1..=10).map(|n| entry(1, base + n)).collect();
    write(&mut *store, &append(entries.clone()));
    let read = |from: u64, to: u64, max: u64| {
        store
            .read(Index(base + from), Index(base + to), max)
            .expect("a read")
    };

    assert_eq!(
        read(3, 6, u64::MAX),
        entries[2..6],
        "from and to are included"
    );
    assert_eq!(
        read(3, 3, 0),
        entries[2..3],
        "at least one entry, however small the budget"
    );
    assert_eq!(
        read(8, 99, u64::MAX),
        entries[7..],
        "up to the end where `to` is beyond it"
    );
    assert_eq!(
        read(5, 4, u64::MAX),
        [],
        "nothing where `to` is before `from`"
    );
    let three: u64 = entries[3..6].iter().map(Entry::cost).sum();
    assert_eq!(
        read(4, 10, three),
        entries[3..6],
        "as many as fit the budget exactly"
    );
    assert_eq!(
        read(4, 10, three - 1),
        entries[3..5],
        "none that does not fit it"
    );
    expect_out_of_range(
        store.read(Index(base), Index(base + 3), 1),
        "an entry that was purged",
    );
    expect_out_of_range(
        store.read(Index(base + 11), Index(base + 12), 1),
        "an entry after the last one",
    );
}

fn a_purge_inside_the_log_keeps_the_rest(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    let entries: Vec<Entry> = (1..=9).map(|n| entry(1 + n / 4, base + n)).collect();
    write(&mut *store, &append(entries.clone()));
    store.purge(entries[4].id).expect("a purge inside the log");
    expect_out_of_range(
        store.read(entries[4].id.index, entries[6].id.index, 1),
        "a purged entry",
    );
    drop(store);
    expect_log(open, entries[4].id, &entries[5..]);
    open()
        .purge(entries[8].id)
        .expect("a purge of the last entry");
    expect_log(open, entries[8].id, &[]);
}

fn a_purge_beyond_the_end_moves_the_log(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(
        &mut *store,
        &append(vec![entry(1, base + 1), entry(2, base + 2)]),
    );
    store
        .purge(id(9, base + 50))
        .expect("a purge beyond the end");
    expect_out_of_range(
        store.write(&append(vec![entry(9, base + 3)])),
        "an append at the old end of the log",
    );
    write(&mut *store, &append(vec![entry(9, base + 51)]));
    drop(store);
    expect_log(open, id(9, base + 50), &[entry(9, base + 51)]);
}

fn a_purge_of_a_conflicting_entry_clears_the_log(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(
        &mut *store,
        &append((1..=6).map(|n| entry(2, base + n)).collect()),
    );
    store
        .purge(id(3, base + 4))
        .expect("a purge up to an entry that conflicts");
    drop(store);
    expect_log(open, id(3, base + 4), &[]);
}

fn a_repeated_purge_changes_nothing(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(
        &mut *store,
        &append(vec![entry(1, base + 1), entry(1, base + 2)]),
    );
    store.purge(id(1, base)).expect("the same purge again");
    store.purge(id(1, base - 1)).expect("a purge from before");
    store.purge(LogId::default()).expect("a purge of nothing");
    drop(store);
    expect_log(open, id(1, base), &[entry(1, base + 1), entry(1, base + 2)]);
}

fn the_log_continues_after_a_purge_of_everything(open: OpenLog<'_>) {
    let (mut store, base) = cleared(open);
    write(&mut *store, &append(vec![entry(4, base + 1)]));
    store.purge(id(4, base + 1)).expect("a purge of everything");
    drop(store);
    let mut store = open();
    load(&mut *store);
    write(
        &mut *store,
        &append(vec![entry(4, base + 2), entry(5, base + 3)]),
    );
    drop(store);
    expect_log(
        open,
        id(4, base + 1),
        &[entry(4, base + 2), entry(5, base + 3)],
    );
}
