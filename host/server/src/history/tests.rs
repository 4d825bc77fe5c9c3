use super::*;

fn at(seconds: u64) -> CounterSample {
    CounterSample {
        at: Duration::from_secs(seconds),
        ..CounterSample::default()
    }
}

/// The entries of the log, and those on the disk of a peer.
fn log(seconds: u64, last_index: u64, matched: u64) -> CounterSample {
    CounterSample {
        last_index,
        matched: BTreeMap::from([("node2".to_owned(), matched)]),
        ..at(seconds)
    }
}

#[test]
fn counters_are_counted_from_the_oldest_sample_on() {
    let history = CounterHistory::default();
    let sample = |seconds, writes, write_us, slowest_write_us| CounterSample {
        leader_changes: writes,
        log_writes: writes,
        log_write_us: write_us,
        slowest_write_us,
        ..at(seconds)
    };
    // The first sample has the slowest write before the window.
    history.add(sample(5, 10, 1_000, 900));
    history.add(sample(10, 12, 1_200, 150));
    let recent = history.until(&sample(12, 14, 1_800, 300));
    assert_eq!(
        recent,
        RecentFacts {
            window_ms: 7_000,
            leader_changes: 4,
            log_writes: 4,
            mean_write_us: 200,
            slowest_write_us: 300,
            ..RecentFacts::default()
        }
    );
}

#[test]
fn failures_count_from_the_time_on_when_the_node_had_caught_up() {
    let history = CounterHistory::default();
    let failures = |seconds, guest_failures| CounterSample {
        guest_failures,
        ..at(seconds)
    };
    let recent = |now: CounterSample| history.until(&now).guest_failures;
    assert_eq!(recent(failures(1, Some(7))), 0);
    history.add(failures(5, None));
    history.add(failures(10, Some(7)));
    assert_eq!(recent(failures(12, Some(9))), 2);
    assert_eq!(recent(failures(12, None)), 0);
}

#[test]
fn without_a_sample_everything_since_the_start_counts() {
    let recent = CounterHistory::default().until(&CounterSample {
        refused_peers: 3,
        ..at(2)
    });
    assert_eq!((recent.window_ms, recent.refused_peers), (2_000, 3));
    assert_eq!(recent.mean_write_us, 0);
}

#[test]
fn the_oldest_samples_are_dropped() {
    let history = CounterHistory::default();
    for second in 0..2 * KEPT_SAMPLES as u64 {
        history.add(at(second));
    }
    let kept = history.read(VecDeque::len);
    assert_eq!(kept, KEPT_SAMPLES);
    let now = at(2 * KEPT_SAMPLES as u64);
    assert_eq!(history.until(&now).window_ms, KEPT_SAMPLES as u64 * 1000);
}

#[test]
fn a_peer_is_stalled_while_entries_wait_and_none_arrives() {
    let history = CounterHistory::default();
    for sample in [log(0, 7, 7), log(5, 9, 7), log(10, 9, 7)] {
        history.add(sample);
    }
    let stalled = |now: CounterSample| history.stalled_for(&now, "node2").as_secs();
    assert_eq!(stalled(log(12, 10, 7)), 7);
    // It has just made progress.
    assert_eq!(stalled(log(12, 10, 8)), 0);
    // Nothing waits for it.
    assert_eq!(stalled(log(12, 7, 7)), 0);
    assert_eq!(
        history.stalled_for(&log(12, 10, 7), "node3"),
        Duration::ZERO
    );
}

#[test]
fn a_deferred_command_is_as_old_as_the_samples_that_have_it() {
    let history = CounterHistory::default();
    let deferred = |seconds, lowest_deferred| CounterSample {
        lowest_deferred,
        ..at(seconds)
    };
    for sample in [
        deferred(0, Some(1)),
        deferred(5, Some(2)),
        deferred(10, Some(2)),
    ] {
        history.add(sample);
    }
    let waited = |now: CounterSample| history.deferred_for(&now).as_secs();
    assert_eq!(waited(deferred(11, Some(2))), 6);
    assert_eq!(waited(deferred(11, Some(3))), 0);
    assert_eq!(waited(deferred(11, None)), 0);
}
