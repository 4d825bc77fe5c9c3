use super::*;
use crate::entry::{ClusterState, Command, Payload};
use bytes::Bytes;

fn id(term: u64, index: u64) -> LogId {
    LogId::new(Term(term), Index(index))
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        id: id(term, index),
        time_ms: index * 10,
        payload: Payload::Noop,
    }
}

/// A log with entries of these terms, from index 1 on, not written yet.
fn fresh(terms: &[u64]) -> RaftLog {
    let mut log = RaftLog::new(id(0, 0), id(0, 0), 0, &[], Index(0), u64::MAX);
    for (&term, index) in terms.iter().zip(1..) {
        log.append(entry(term, index));
    }
    log.check();
    log
}

/// As [`fresh`], with all entries durable.
fn written(terms: &[u64]) -> RaftLog {
    let mut log = fresh(terms);
    log.take_write();
    log.write_done(log.last().index);
    log
}

fn terms(log: &RaftLog) -> Vec<u64> {
    let first = log.purged().index.0 + 1;
    (first..=log.last().index.0)
        .map(|index| log.term_at(Index(index)).unwrap().0)
        .collect()
}

fn meta(last: LogId) -> SnapshotMeta {
    SnapshotMeta {
        last,
        time_ms: 1000,
        length: 0,
        checksum: 0,
        membership: None,
        cluster: ClusterState::default(),
    }
}

#[test]
fn a_new_log_is_empty() {
    let log = fresh(&[]);
    assert!(log.is_empty());
    assert_eq!(
        (log.last(), log.len(), log.needs_write()),
        (id(0, 0), 0, false)
    );
    assert_eq!(
        log.term_at(Index(0)),
        Some(Term(0)),
        "the term before the first entry is defined"
    );
    assert_eq!(log.term_at(Index(1)), None);
}

#[test]
fn each_entry_keeps_its_term() {
    let log = fresh(&[1, 1, 3, 4, 4]);
    assert_eq!(terms(&log), [1, 1, 3, 4, 4]);
    assert!(log.holds(id(3, 3)) && !log.holds(id(4, 3)) && !log.holds(id(4, 6)));
    assert_eq!(log.last_time_ms(), 50);
}

#[test]
fn a_log_starts_with_the_state_of_its_store() {
    let runs = [(Index(6), Term(2)), (Index(8), Term(5))];
    let log = RaftLog::new(id(2, 5), id(5, 9), 70, &runs, Index(7), 100);
    log.check();
    assert_eq!((log.len(), terms(&log)), (4, vec![2, 2, 5, 5]));
    assert_eq!(
        (log.term_at(Index(5)), log.term_at(Index(4))),
        (Some(Term(2)), None)
    );
    assert_eq!(
        (log.committed(), log.applied(), log.stable()),
        (Index(7), Index(7), Index(9))
    );
    assert_eq!(
        log.cached(Index(6), Index(9), u64::MAX),
        None,
        "it is only on the disk"
    );
}

#[test]
#[should_panic(expected = "without a gap")]
fn an_entry_that_leaves_a_gap_panics() {
    fresh(&[1]).append(entry(1, 3));
}

#[test]
#[should_panic(expected = "must not be removed")]
fn the_removal_of_a_committed_entry_panics() {
    let mut log = written(&[1, 1, 1]);
    log.committed = Index(2);
    log.truncate(Index(2));
}

#[test]
fn truncation_removes_the_tail_and_new_entries_replace_it() {
    let mut log = written(&[1, 1, 2, 2, 3]);
    log.truncate(Index(4));
    log.check();
    assert_eq!((log.last(), terms(&log)), (id(2, 3), vec![1, 1, 2]));
    log.append(entry(4, 4));
    assert_eq!(terms(&log), [1, 1, 2, 4]);
    let (from, entries) = log.take_write();
    assert_eq!((from, entries), (Some(Index(4)), vec![entry(4, 4)]));
}

#[test]
fn a_log_can_be_truncated_to_nothing() {
    let mut log = written(&[1, 1]);
    log.truncate(Index(1));
    log.check();
    assert_eq!((log.last(), log.stable()), (id(0, 0), Index(0)));
    log.append(entry(2, 1));
    assert_eq!(terms(&log), [2]);
}

#[test]
fn entries_that_were_never_written_need_no_truncation_on_the_disk() {
    let mut log = fresh(&[1, 1, 1]);
    log.truncate(Index(2));
    assert_eq!(log.take_write(), (None, vec![entry(1, 1)]));
}

#[test]
fn two_truncations_are_merged() {
    let mut log = written(&[1, 1, 1, 1]);
    log.truncate(Index(3));
    log.append(entry(2, 3));
    log.truncate(Index(2));
    log.append(entry(3, 2));
    assert_eq!(log.take_write(), (Some(Index(2)), vec![entry(3, 2)]));
    assert!(!log.needs_write());
}

#[test]
fn a_completed_write_makes_only_current_entries_durable() {
    let mut log = fresh(&[1, 1, 1]);
    log.take_write();
    log.truncate(Index(2));
    log.append(entry(2, 2));
    log.write_done(Index(3));
    assert_eq!(log.stable(), Index(1));
    assert_eq!(log.take_write(), (Some(Index(2)), vec![entry(2, 2)]));
    log.write_done(Index(2));
    assert_eq!(log.stable(), Index(2));
}

#[test]
fn the_search_for_a_match_skips_whole_terms() {
    let log = fresh(&[1, 1, 2, 2, 4, 4, 4]);
    let cases = [
        (id(4, 6), id(4, 6)),
        (id(4, 99), id(4, 7)),
        (id(3, 6), id(2, 4)),
        (id(2, 3), id(2, 3)),
        (id(1, 7), id(1, 2)),
        (id(0, 7), id(0, 0)),
        (id(9, 0), id(0, 0)),
    ];
    for (sought, found) in cases {
        assert_eq!(log.agreement_below(sought), found, "below {sought}");
    }
}

/// A follower's tail may be older than all entries in the leader's log. The search must end.
#[test]
fn the_search_for_a_match_stops_at_the_purge_position() {
    let mut log = written(&[1, 2, 5, 5, 5, 6]);
    (log.committed, log.applying, log.applied) = (Index(6), Index(6), Index(6));
    log.purge(id(5, 4));
    for sought in [id(2, 6), id(5, 3), id(0, 4), id(4, 5)] {
        assert_eq!(log.agreement_below(sought), id(5, 4), "below {sought}");
    }
    assert_eq!(log.agreement_below(id(5, 6)), id(5, 5));
}

#[test]
fn a_purged_log_keeps_the_id_of_the_entry_before_its_first() {
    let mut log = written(&[1, 1, 2, 2, 3]);
    (log.committed, log.applying, log.applied) = (Index(5), Index(5), Index(5));
    log.purge(id(2, 3));
    log.check();
    assert_eq!((log.len(), terms(&log)), (2, vec![2, 3]));
    assert_eq!(
        (log.term_at(Index(3)), log.term_at(Index(2))),
        (Some(Term(2)), None)
    );
    assert_eq!(log.cached(Index(3), Index(5), u64::MAX), None);
    assert_eq!(log.cached(Index(4), Index(5), u64::MAX).unwrap().len(), 2);
    log.purge(id(1, 1));
    assert_eq!(log.purged(), id(2, 3), "never back");
}

#[test]
fn a_completely_purged_log_continues() {
    for last in [1, 2, 3] {
        let mut log = written(&[1, 2, 2][..last]);
        let end = log.last();
        (log.committed, log.applying, log.applied) = (end.index, end.index, end.index);
        log.purge(end);
        log.check();
        assert!(log.is_empty());
        log.append(entry(2, end.index.0 + 1));
        assert_eq!(terms(&log), [2]);
        assert_eq!(
            log.cached(log.last().index, log.last().index, 0)
                .unwrap()
                .len(),
            1
        );
    }
}

#[test]
fn a_snapshot_ahead_of_the_log_replaces_it() {
    let mut log = written(&[1, 1, 1]);
    log.install(&meta(id(4, 9)));
    log.check();
    assert_eq!(
        (log.last(), log.purged(), log.len()),
        (id(4, 9), id(4, 9), 0)
    );
    assert_eq!(
        (log.committed(), log.stable(), log.applied()),
        (Index(9), Index(9), Index(0))
    );
    assert_eq!(log.last_time_ms(), 1000);
    log.append(entry(5, 10));
    assert_eq!(log.take_write(), (None, vec![entry(5, 10)]));
}

#[test]
fn a_snapshot_of_a_conflicting_entry_replaces_the_whole_log() {
    let mut log = written(&[1, 1, 1, 1]);
    log.install(&meta(id(2, 2)));
    log.check();
    assert_eq!(
        (log.last(), log.len(), log.needs_write()),
        (id(2, 2), 0, false)
    );
}

#[test]
fn a_snapshot_of_an_entry_in_the_log_keeps_the_later_entries() {
    let mut log = fresh(&[1, 1, 2, 2]);
    log.install(&meta(id(1, 2)));
    log.check();
    assert_eq!((log.purged(), terms(&log)), (id(1, 2), vec![2, 2]));
    assert_eq!(log.take_write(), (None, vec![entry(2, 3), entry(2, 4)]));
}

/// The disk has an older log. The purge removes it, so nothing is left to truncate.
#[test]
fn a_snapshot_cancels_an_earlier_truncation() {
    let mut log = written(&[1, 1, 1, 1]);
    log.truncate(Index(2));
    for index in 2..=5 {
        log.append(entry(2, index));
    }
    log.install(&meta(id(2, 4)));
    log.check();
    assert_eq!(log.take_write(), (None, vec![entry(2, 5)]));

    let mut log = written(&[1, 1, 1, 1]);
    log.truncate(Index(4));
    log.append(entry(2, 4));
    log.install(&meta(id(1, 2)));
    assert_eq!(
        log.take_write(),
        (Some(Index(4)), vec![entry(2, 4)]),
        "a truncation after it remains"
    );
}

fn large(index: u64) -> Entry {
    let data = Bytes::from(vec![0; 100]);
    let payload = Payload::Commands(vec![Command {
        session: 0,
        sequence: 0,
        data,
    }]);
    Entry {
        id: id(1, index),
        time_ms: 0,
        payload,
    }
}

#[test]
fn entries_are_returned_up_to_a_budget_and_at_least_one() {
    let mut log = fresh(&[]);
    (1..=5).for_each(|index| log.append(large(index)));
    let cost = large(1).cost();
    let count = |budget| log.cached(Index(2), Index(5), budget).unwrap().len();
    assert_eq!(
        [0, 1, cost, 2 * cost - 1, 2 * cost, u64::MAX].map(count),
        [1, 1, 1, 1, 2, 4]
    );
    let found = log.cached(Index(2), Index(3), u64::MAX).unwrap();
    assert_eq!(found, [large(2), large(3)]);
    assert_eq!(log.cached(Index(4), Index(3), u64::MAX), None);
}

#[test]
fn memory_over_the_budget_is_freed_once_the_entries_are_durable() {
    let cost = large(1).cost();
    let mut log = RaftLog::new(id(0, 0), id(0, 0), 0, &[], Index(0), 2 * cost);
    (1..=4).for_each(|index| log.append(large(index)));
    log.evict();
    assert!(
        log.cached(Index(1), Index(4), u64::MAX).is_some(),
        "nowhere else"
    );
    let (_, entries) = log.take_write();
    assert_eq!(entries.len(), 4);
    log.write_done(Index(3));
    log.check();
    assert_eq!(log.cached(Index(2), Index(4), u64::MAX), None);
    assert_eq!(log.cached(Index(3), Index(4), u64::MAX).unwrap().len(), 2);
    assert_eq!(terms(&log), [1, 1, 1, 1], "terms stay");
}

#[test]
fn a_snapshot_that_replaces_the_log_replaces_its_time() {
    // Entry 3 is from a leader whose clock was ahead, and no majority has it.
    let mut log = written(&[1, 1]);
    log.append(Entry {
        time_ms: 500_000,
        ..entry(1, 3)
    });
    log.install(&meta(id(2, 9)));
    assert_eq!(log.last_time_ms(), 1000);
    // Where it only covers the beginning of the log, the later entries count.
    let mut log = written(&[1, 1]);
    log.append(Entry {
        time_ms: 500_000,
        ..entry(1, 3)
    });
    log.install(&meta(id(1, 2)));
    assert_eq!(log.last_time_ms(), 500_000);
}
