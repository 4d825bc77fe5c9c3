use std::time::Duration;

use bytes::Bytes;

use crate::entry::{Entry, HardState, Payload, SnapshotMeta};
use crate::ids::{Index, Lineage, LogId, NodeId, Term};
use crate::raft::ready::{ReadFor, SnapshotTask};
use crate::raft::{Core, CoreConfig, Limits};
use crate::storage::{Received, StoredState};

const NOW: Duration = Duration::ZERO;

fn config(voters: &[&'static str]) -> CoreConfig {
    CoreConfig {
        id: "a".into(),
        voters: voters.iter().copied().map(NodeId::from).collect(),
        addresses: std::collections::BTreeMap::new(),
        election_timeout_min: Duration::from_millis(1000),
        election_timeout_max: Duration::from_millis(2000),
        heartbeat_interval: Duration::from_millis(300),
        max_log_entries: 100,
        snapshot_threshold: 10,
        lease_drift_percent: None,
        max_clock_skew: None,
        limits: Limits::default(),
        seed: 1,
        initial_settings: Bytes::new(),
        known_level: 0,
        new_lineage: Lineage::NONE,
    }
}

fn follower() -> Core {
    Core::new(
        config(&["a", "b", "c"]),
        &StoredState::default(),
        None,
        0,
        NOW,
    )
}

/// A node that starts with entries 1 to `last` and a snapshot of them up to `taken`.
fn restarted(config: CoreConfig, last: u64, taken: u64) -> Core {
    let stored = StoredState {
        hard_state: HardState {
            term: Term(1),
            vote: None,
        },
        purged: LogId::default(),
        last: LogId::new(Term(1), Index(last)),
        terms: vec![(Index(1), Term(1))],
        ..StoredState::default()
    };
    Core::new(config, &stored, Some(snapshot(taken)), 0, NOW)
}

fn snapshot(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last: LogId::new(Term(1), Index(index)),
        ..SnapshotMeta::default()
    }
}

/// The snapshot tasks of the core once this snapshot is complete.
fn installs(core: &mut Core, meta: &SnapshotMeta) -> Vec<SnapshotTask> {
    core.chunk_received(NOW, meta, Received::Complete);
    core.ready().snapshots
}

fn applied(core: &mut Core, index: u64) -> Vec<SnapshotTask> {
    core.applied(NOW, Index(index));
    core.ready().snapshots
}

#[test]
fn a_snapshot_is_kept_until_it_or_a_newer_one_is_restored() {
    let (older, newer) = (snapshot(5), snapshot(9));
    let mut core = follower();
    assert_eq!(
        installs(&mut core, &older),
        [SnapshotTask::Restore(older.clone())]
    );
    // The newer snapshot arrives before the state machine has opened the older one.
    assert_eq!(
        installs(&mut core, &newer),
        [SnapshotTask::Restore(newer.clone())]
    );
    assert_eq!(applied(&mut core, 5), []);
    assert_eq!(applied(&mut core, 9), [SnapshotTask::Retain(newer)]);
    assert_eq!(applied(&mut core, 9), []);
}

#[test]
fn a_purge_lost_in_a_crash_is_repeated_at_the_start() {
    let mut core = restarted(config(&["a", "b", "c"]), 18, 12);
    // Half of the threshold is kept for slow followers.
    let up_to = LogId::new(Term(1), Index(7));
    assert_eq!(core.ready().purge, Some(up_to));
    assert_eq!(core.log().purged(), up_to);
}

#[test]
fn a_full_log_triggers_a_snapshot() {
    let mut core = restarted(
        CoreConfig {
            max_log_entries: 12,
            ..config(&["a"])
        },
        18,
        12,
    );
    assert_eq!(core.ready().purge, Some(LogId::new(Term(1), Index(10))));
    core.snapshots_retained(NOW);
    // It elects itself, and the entries up to 21 are applied: 9 since the snapshot, with a threshold of 10, in a log
    // of 11.
    core.tick(Duration::from_secs(3));
    let elected = core.ready().write.map(|(id, _)| id);
    core.persisted(NOW, elected.unwrap_or_default());
    for _ in 0..2 {
        assert!(core.propose(NOW, 0, Vec::new()).is_ok());
    }
    let written = core.ready().write.map(|(id, _)| id);
    core.persisted(NOW, written.unwrap_or_default());
    assert!(core.ready().snapshots.is_empty());
    core.entries_read(NOW, &ReadFor::Apply, entries(13, 21));
    core.ready();
    assert!(core.propose(NOW, 0, Vec::new()).is_ok());
    assert!(core.propose(NOW, 0, Vec::new()).is_err(), "the log is full");
    assert_eq!(applied(&mut core, 21), [SnapshotTask::Take]);
}

#[test]
fn no_snapshot_is_taken_while_the_disk_is_still_to_remove_older_ones() {
    let mut core = restarted(config(&["a"]), 18, 12);
    let retains = |task: &SnapshotTask| matches!(task, SnapshotTask::Retain(_));
    assert!(core.ready().snapshots.iter().any(retains));
    core.tick(Duration::from_secs(3));
    let elected = core.ready().write.map(|(id, _)| id);
    core.persisted(NOW, elected.unwrap_or_default());
    for _ in 0..12 {
        assert!(core.propose(NOW, 0, Vec::new()).is_ok());
        let written = core.ready().write.map(|(id, _)| id);
        core.persisted(NOW, written.unwrap_or_default());
    }
    core.entries_read(NOW, &ReadFor::Apply, entries(13, 31));
    core.ready();
    assert_eq!(applied(&mut core, 31), [], "the disk is slow");
    core.snapshots_retained(NOW);
    assert_eq!(core.ready().snapshots, [SnapshotTask::Take]);
}

fn entries(first: u64, last: u64) -> Vec<Entry> {
    let entry = |index| Entry {
        id: LogId::new(Term(1), Index(index)),
        time_ms: 0,
        payload: Payload::Noop,
    };
    (first..=last).map(entry).collect()
}
