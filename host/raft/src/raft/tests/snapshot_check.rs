//! Checks of the newest snapshot: what rots is found, is not sent, and is replaced.

use std::time::Duration;

use bytes::Bytes;

use super::kit::*;
use super::snapshots::{reached, sender};
use crate::message::AppendResult;
use crate::raft::ready::SnapshotTask;
use crate::raft::*;

/// The snapshot tasks that the core has now.
fn tasks(node: &mut Node) -> Vec<SnapshotTask> {
    node.core.ready().snapshots
}

/// The offset and the snapshot of each chunk that is to be read.
fn chunks(tasks: Vec<SnapshotTask>) -> Vec<(u64, SnapshotMeta)> {
    let read = tasks.into_iter().filter_map(|task| match task {
        SnapshotTask::ReadChunk { meta, offset, .. } => Some((offset, meta)),
        _ => None,
    });
    read.collect()
}

fn b_reports(node: &mut Node, meta: &SnapshotMeta, offset: u64) {
    let now = node.now;
    node.core
        .step(now, &"b".into(), reached(1, meta.last, offset, false));
}

/// A leader that has sent b a part of its snapshot, and learns that b has lost it or has found it corrupt.
fn suspecting() -> (Node, SnapshotMeta) {
    let (mut node, meta) = sender();
    b_reports(&mut node, &meta, 20);
    assert_eq!(chunks(tasks(&mut node)), [(20, meta.clone())]);
    b_reports(&mut node, &meta, 0);
    (node, meta)
}

#[test]
fn a_snapshot_is_checked_before_it_is_sent_again() {
    let (mut node, meta) = suspecting();
    assert_eq!(tasks(&mut node), [SnapshotTask::Check(meta.clone())]);
    assert_eq!(
        tasks(&mut node),
        [],
        "one check at a time, and no chunk meanwhile"
    );
    node.core.snapshot_checked(node.now, &meta, true);
    assert_eq!(chunks(tasks(&mut node)), [(0, meta)], "b has lost it");
}

#[test]
fn a_snapshot_of_one_chunk_is_checked_when_the_peer_discards_it() {
    let (mut node, meta) = sender();
    assert!(
        node.tasks
            .iter()
            .any(|task| matches!(task, crate::disk::DiskTask::ReadChunk { offset: 0, .. }))
    );
    let whole = Some(Bytes::from(vec![0; usize::try_from(meta.length).unwrap()]));
    node.core.chunk_read(node.now, &"b".into(), &meta, 0, whole);
    tasks(&mut node);
    b_reports(&mut node, &meta, 0);
    assert_eq!(tasks(&mut node), [SnapshotTask::Check(meta.clone())]);
    node.core.snapshot_checked(node.now, &meta, false);
    assert_eq!(tasks(&mut node), [SnapshotTask::Take]);
}

#[test]
fn a_snapshot_that_can_not_be_read_is_checked() {
    let (mut node, meta) = sender();
    node.core.chunk_read(node.now, &"b".into(), &meta, 0, None);
    assert_eq!(tasks(&mut node), [SnapshotTask::Check(meta.clone())]);
    node.core.snapshot_checked(node.now, &meta, true);
    assert_eq!(chunks(tasks(&mut node)), [(0, meta)]);
}

#[test]
fn a_damaged_snapshot_is_replaced_and_the_transfer_goes_on_with_the_new_one() {
    let (mut node, meta) = suspecting();
    tasks(&mut node);
    node.core.snapshot_checked(node.now, &meta, false);
    assert!(node.core.is_snapshot_damaged());
    // Although no entry was applied since the damaged one.
    assert_eq!(tasks(&mut node), [SnapshotTask::Take]);
    let new = SnapshotMeta {
        checksum: meta.checksum.wrapping_add(1),
        ..meta
    };
    node.core.snapshot_taken(node.now, Some(new.clone()));
    assert!(!node.core.is_snapshot_damaged());
    assert_eq!(chunks(tasks(&mut node)), [(0, new)]);
}

#[test]
fn an_attempt_to_replace_a_damaged_snapshot_is_repeated() {
    let (mut node, meta) = suspecting();
    tasks(&mut node);
    node.core.snapshot_checked(node.now, &meta, false);
    for _ in 0..3 {
        assert_eq!(tasks(&mut node), [SnapshotTask::Take], "and no check");
        node.core.snapshot_taken(node.now, None);
        assert_eq!(tasks(&mut node), []);
        node.now += MAX;
        node.core.tick(node.now);
    }
    assert!(node.core.is_snapshot_damaged());
}

#[test]
fn no_transfer_begins_with_a_damaged_snapshot() {
    let (mut node, meta) = suspecting();
    tasks(&mut node);
    node.core.snapshot_checked(node.now, &meta, false);
    tasks(&mut node);
    // c needs the snapshot too.
    for rejected in [id(1, 10), id(1, 5)] {
        let mismatch = AppendResult::Mismatch {
            rejected,
            hint: id(0, 0),
        };
        node.core
            .step(node.now, &"c".into(), appended(1, 0, mismatch));
        assert_eq!(tasks(&mut node), []);
    }
}

#[test]
fn the_newest_snapshot_is_checked_at_an_interval() {
    let (mut node, meta) = sender();
    let interval = node.core.config.limits.snapshot_check_interval;
    node.core
        .tick(node.now + interval - Duration::from_millis(1));
    assert_eq!(tasks(&mut node), []);
    for round in 1..=3 {
        let now = node.now + interval * round;
        node.core.tick(now);
        assert_eq!(tasks(&mut node), [SnapshotTask::Check(meta.clone())]);
        node.core.snapshot_checked(now, &meta, true);
        assert_eq!(tasks(&mut node), []);
        assert_eq!(node.core.snapshot_check_deadline(), Some(now + interval));
    }
}

#[test]
fn the_result_of_a_check_counts_only_for_the_snapshot_that_was_checked() {
    let (mut node, old) = suspecting();
    tasks(&mut node);
    let new = SnapshotMeta {
        last: id(1, 11),
        ..old.clone()
    };
    node.core.take_snapshot();
    tasks(&mut node);
    node.core.snapshot_taken(node.now, Some(new.clone()));
    node.core.snapshot_checked(node.now, &old, false);
    assert!(!node.core.is_snapshot_damaged());
    // The peer keeps the snapshot that it has a part of, until that fails.
    let sent = chunks(tasks(&mut node));
    assert_eq!(sent, [(0, old.clone())]);
    node.core.chunk_read(node.now, &"b".into(), &old, 0, None);
    assert_eq!(chunks(tasks(&mut node)), [(0, new)]);
}

#[test]
fn a_chunk_of_a_suspect_snapshot_that_was_being_read_is_still_sent_at_most_once() {
    let (mut node, meta) = sender();
    b_reports(&mut node, &meta, 20);
    tasks(&mut node);
    b_reports(&mut node, &meta, 0);
    // It was requested before the report.
    let data = Some(Bytes::from_static(b"0123456789"));
    node.core.chunk_read(node.now, &"b".into(), &meta, 20, data);
    assert!(node.core.ready().messages.is_empty());
}
