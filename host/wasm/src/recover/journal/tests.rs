use bytes::Bytes;

use super::*;
use crate::testing::at;

fn record(index: u64, bytes: usize) -> JournalRecord {
    JournalRecord {
        at: at(index),
        number: 0,
        work: StateCall::of(&[&Bytes::from(vec![0; bytes])]),
        checksum: 0,
    }
}

/// How many calls of so many bytes and so much fuel a journal takes until it is due.
fn calls_until_due(journal: &mut Journal, bytes: usize, fuel: u64) -> u64 {
    (1..)
        .find(|&index| {
            journal.push(record(index, bytes), fuel);
            journal.is_due()
        })
        .unwrap()
}

#[test]
fn it_is_due_by_bytes_and_by_work() {
    let calls = calls_until_due(&mut Journal::default(), 1 << 20, 0);
    assert_eq!(calls, BYTES >> 20);
    let calls = calls_until_due(&mut Journal::default(), 0, FUEL / 100);
    assert_eq!(calls, 100);
    // Calls that do nothing count, too.
    let calls = calls_until_due(&mut Journal::default(), 0, 0);
    assert!(calls <= BYTES / RECORD_BYTES, "{calls}");
}

#[test]
fn after_a_large_checkpoint_it_may_be_as_large_and_a_multiple_of_its_work() {
    let mut journal = Journal::default();
    journal.clear(4 * BYTES, 0);
    assert_eq!(calls_until_due(&mut journal, 1 << 20, 0), (4 * BYTES) >> 20);
    journal.clear(0, FUEL);
    let calls = calls_until_due(&mut journal, 0, FUEL / 100);
    assert_eq!(calls, 100 * FUEL_OF_CHECKPOINTS);
}

#[test]
fn it_is_costly_well_before_it_is_due() {
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
fn it_can_be_postponed_a_few_times_and_not_for_ever() {
    let mut journal = Journal::default();
    let mut calls = calls_until_due(&mut journal, 1 << 20, 0);
    for _ in 0..POSTPONED {
        assert!(journal.postpone());
        assert!(!journal.is_due());
        calls += calls_until_due(&mut journal, 1 << 20, 0);
    }
    assert!(!journal.postpone());
    assert!(calls <= (BYTES << POSTPONED) >> 20, "{calls}");
    journal.clear(0, 0);
    assert!(journal.postpone(), "a checkpoint starts the count anew");
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
