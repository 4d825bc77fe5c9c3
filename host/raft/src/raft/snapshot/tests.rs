use std::time::Duration;

use crate::raft::ready::SnapshotTask;
use crate::raft::{Core, CoreConfig, Limits};
use crate::storage::{Received, StoredState};
use crate::types::{Index, LogId, NodeId, SnapshotMeta, Term};

const NOW: Duration = Duration::ZERO;

fn follower() -> Core {
    let config = CoreConfig {
        id: "a".into(),
        voters: ["a", "b", "c"].map(NodeId::from).into(),
        election_timeout_min: Duration::from_millis(1000),
        election_timeout_max: Duration::from_millis(2000),
        heartbeat_interval: Duration::from_millis(300),
        max_log_entries: 100,
        snapshot_threshold: 10,
        limits: Limits::default(),
        seed: 1,
    };
    Core::new(config, &StoredState::default(), None, 0, NOW)
}

fn snapshot(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last: LogId::new(Term(1), Index(index)),
        ..SnapshotMeta::default()
    }
}

/// What the core wants done with snapshots once this one is whole.
fn installs(core: &mut Core, meta: &SnapshotMeta) -> Vec<SnapshotTask> {
    core.chunk_received(NOW, meta, Received::Whole);
    core.ready().snapshots
}

fn applied(core: &mut Core, index: u64) -> Vec<SnapshotTask> {
    core.applied(NOW, Index(index));
    core.ready().snapshots
}

#[test]
fn a_snapshot_is_kept_until_the_machine_has_restored_it_or_a_newer_one() {
    let (older, newer) = (snapshot(5), snapshot(9));
    let mut core = follower();
    assert_eq!(
        installs(&mut core, &older),
        [SnapshotTask::Restore(older.clone())]
    );
    // The machine has not opened the older one yet when the newer one arrives.
    assert_eq!(
        installs(&mut core, &newer),
        [SnapshotTask::Restore(newer.clone())]
    );
    assert_eq!(applied(&mut core, 5), []);
    assert_eq!(applied(&mut core, 9), [SnapshotTask::Retain(newer)]);
    assert_eq!(applied(&mut core, 9), []);
}
