use bytes::Bytes;

use super::*;
use crate::testing::at;

fn record(index: u64, bytes: usize) -> JournalRecord {
    JournalRecord {
        at: at(index),
        number: 0,
        view: CallView::NORMAL,
        call: StateCall::of([(&Bytes::from(vec![0; bytes]), None)]),
        checksum: 0,
        limits: Arc::default(),
    }
}

/// Number of calls of this size and fuel until a checkpoint is due.
fn calls_until_due(journal: &mut Journal, bytes: usize, fuel: u64) -> u64 {
    (1..)
        .find(|&index| {
            journal.push(record(index, bytes), fuel);
            journal.is_due()
        })
        .unwrap()
}

#[test]
fn a_checkpoint_is_due_by_bytes_and_by_fuel() {
    let calls = calls_until_due(&mut Journal::default(), 1 << 20, 0);
    assert_eq!(calls, BYTES >> 20);
    let calls = calls_until_due(&mut Journal::default(), 0, FUEL / 100);
    assert_eq!(calls, 100);
    // Calls without commands count as well.
    let calls = calls_until_due(&mut Journal::default(), 0, 0);
    assert!(calls <= BYTES / RECORD_BYTES, "{calls}");
}

#[test]
fn the_limits_grow_with_the_last_checkpoint() {
    let mut journal = Journal::default();
    journal.clear(4 * BYTES, 0);
    assert_eq!(calls_until_due(&mut journal, 1 << 20, 0), (4 * BYTES) >> 20);
    journal.clear(0, FUEL);
    let calls = calls_until_due(&mut journal, 0, FUEL / 100);
    assert_eq!(calls, 100 * FUEL_OF_CHECKPOINTS);
}

#[test]
fn a_replay_is_costly_well_before_a_checkpoint_is_due() {
    let mut journal = Journal::default();
    journal.push(record(1, 0), FUEL / 20);
    assert!(!journal.is_costly());
    journal.push(record(2, 0), FUEL / 20);
    assert!(journal.is_costly() && !journal.is_due());
    assert_eq!(journal.last_moment(), Some(at(2)));
    journal.clear(0, 0);
    assert!(!journal.is_costly());
    assert_eq!(journal.last_moment(), None);
}

#[test]
fn a_checkpoint_can_be_postponed_a_limited_number_of_times() {
    let mut journal = Journal::default();
    let mut calls = calls_until_due(&mut journal, 1 << 20, 0);
    for _ in 0..MAX_POSTPONED {
        assert!(journal.postpone());
        assert!(!journal.is_due());
        calls += calls_until_due(&mut journal, 1 << 20, 0);
    }
    assert!(!journal.postpone());
    assert!(calls <= (BYTES << MAX_POSTPONED) >> 20, "{calls}");
    journal.clear(0, 0);
    assert!(journal.postpone(), "a checkpoint resets the count");
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let mut journal = Journal::default();
    journal.clear(u64::MAX, u64::MAX);
    journal.push(record(1, 1), u64::MAX);
    journal.push(record(2, 1), u64::MAX);
    assert!(journal.postpone());
    assert!(!journal.is_due());
}
