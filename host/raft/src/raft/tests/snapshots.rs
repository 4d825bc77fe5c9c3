//! Log compaction, and snapshots for followers that need purged entries (§7).

use bytes::Bytes;

use super::kit::*;
use crate::entry::ClusterState;
use crate::ids::LogId;
use crate::message::*;
use crate::raft::membership::change::Change;
use crate::raft::progress::ProgressState;
use crate::raft::ready::{ReadFor, SnapshotTask};
use crate::raft::*;
use crate::storage::{LogStore, Received, SnapshotStore};

/// A snapshot every 10 entries, at most 30 entries in the log.
fn small(id: &str, voters: &str) -> CoreConfig {
    let mut config = config(id, voters);
    config.snapshot_threshold = 10;
    config.max_log_entries = 30;
    config
}

fn node(id: &str) -> Node {
    Node::with(small(id, "a b c"), HardState::default(), &[])
}

fn meta(term: u64, index: u64, length: u64) -> SnapshotMeta {
    SnapshotMeta {
        last: id(term, index),
        time_ms: index,
        length,
        checksum: 0,
        membership: None,
        cluster: ClusterState::default(),
    }
}

fn chunk(from: &str, term: u64, meta: &SnapshotMeta, offset: u64, data: &Bytes) -> Message {
    Message::Request(RaftRequest::InstallSnapshot(InstallSnapshot {
        term: Term(term),
        leader_id: from.into(),
        meta: meta.clone(),
        offset,
        data: data.clone(),
    }))
}

pub(super) fn reached(term: u64, last: LogId, next_offset: u64, installed: bool) -> Message {
    let response = InstallSnapshotResponse {
        term: Term(term),
        last,
        next_offset,
        installed,
    };
    Message::Response(RaftResponse::InstallSnapshot(response))
}

/// A snapshot of another node: its description and its bytes.
fn foreign(last: LogId) -> (SnapshotMeta, Bytes) {
    let shelf = crate::storage::memory::MemorySnapshots::new();
    let mut writer = shelf
        .create(last, last.index.0, None, ClusterState::default())
        .unwrap();
    // One command, as the state machine in memory writes it.
    writer
        .write_all(&[0, 0, 0, 0, 0, 0, 0, 3, b'o', b'l', b'd'])
        .unwrap();
    let meta = writer.finish().unwrap();
    let bytes = shelf.read_chunk(&meta, 0, 1000).unwrap();
    (meta, bytes)
}

#[test]
fn a_snapshot_is_taken_at_the_threshold_and_the_log_before_it_is_purged() {
    let mut node = Node::with(small("a", "a"), HardState::default(), &[]);
    node.lead();
    for _ in 0..8 {
        node.propose("x");
    }
    assert_eq!(node.core.snapshot(), None);
    node.propose("x");
    assert_eq!(node.core.snapshot().map(|meta| meta.last), Some(id(1, 10)));
    assert_eq!(
        node.core.log().purged(),
        id(1, 5),
        "half of the threshold is kept for slow followers"
    );
    assert_eq!(
        node.stored(),
        (6..=10).map(|index| id(1, index)).collect::<Vec<_>>()
    );
    assert_eq!(
        node.snapshots.newest().unwrap().map(|meta| meta.last),
        Some(id(1, 10))
    );
}

#[test]
fn the_log_never_exceeds_its_limit_and_always_gets_space_again() {
    let mut node = Node::with(small("a", "a"), HardState::default(), &[]);
    node.lead();
    for _ in 0..500 {
        node.propose("x");
        assert!(node.core.log().len() <= 30);
    }
}

#[test]
fn a_failed_snapshot_is_retried_later() {
    let mut core = Node::with(small("a", "a"), HardState::default(), &[1; 12]).core;
    let wants_snapshot = |core: &mut Core| core.ready().snapshots.contains(&SnapshotTask::Take);
    core.log.committed = Index(12);
    let handed = core.ready().log_reads;
    assert_eq!(handed.len(), 1);
    core.entries_read(Duration::ZERO, &ReadFor::Apply, entries(1, &[1; 12]));
    assert!(!wants_snapshot(&mut core));
    core.applied(Duration::ZERO, Index(12));
    assert!(wants_snapshot(&mut core));
    assert!(!wants_snapshot(&mut core), "a snapshot is being taken");
    core.snapshot_taken(Duration::ZERO, None);
    assert!(!wants_snapshot(&mut core), "the last one has just failed");
    core.tick(MAX);
    assert!(wants_snapshot(&mut core));
    core.snapshot_taken(MAX, Some(meta(1, 12, 5)));
    assert!(!wants_snapshot(&mut core));
}

#[test]
fn a_follower_that_needs_purged_entries_gets_a_snapshot_and_continues_after_it() {
    let mut cluster = Cluster::new(["a", "b", "c"].map(node));
    cluster.elect("a");
    cluster.cut_off("c");
    for _ in 0..40 {
        cluster.propose("a", "x");
    }
    assert!(cluster.node("a").core.log().purged().index > Index(1));
    cluster.heal();
    cluster.pass(MAX);
    let expected = cluster.node("a").core.log().last();
    let c = cluster.node("c");
    assert_eq!(c.restored.len(), 1);
    assert_eq!(
        (c.core.log().last(), c.core.log().applied()),
        (expected, expected.index)
    );
    let made = cluster.propose("a", "y");
    assert_eq!(cluster.node("c").applied.last(), Some(&made));
}

/// Its uncommitted entries reach beyond the leader's purge position and have older terms than all entries there.
#[test]
fn a_follower_with_a_long_wrong_tail_gets_a_snapshot() {
    let mut cluster = Cluster::new(["a", "b", "c"].map(node));
    cluster.elect("c");
    cluster.cut_off("c");
    for _ in 0..25 {
        cluster.node("c").propose("never committed");
    }
    cluster.elect("a");
    for _ in 0..16 {
        cluster.propose("a", "x");
    }
    let a = cluster.node("a").core.log();
    let (purged, last) = (a.purged(), a.last());
    let c = cluster.node("c").core.log().last();
    assert!(
        purged.index < c.index && purged.term > c.term,
        "{purged} and {c}"
    );
    cluster.heal();
    cluster.pass(MAX);
    let c = cluster.node("c");
    assert_eq!(c.restored.len(), 1);
    assert_eq!(c.core.log().last(), last);
}

/// A leader with a snapshot of 10 entries and 81 bytes, and the entries after 5. It sends the snapshot to b.
pub(super) fn sender() -> (Node, SnapshotMeta) {
    let mut node = Node::with(small("a", "a b c"), HardState::default(), &[]);
    node.lead();
    for index in 2..=10 {
        node.propose("x");
        node.step("c", matched(1, index));
    }
    let meta = node.core.snapshot().cloned().unwrap();
    assert_eq!(meta.last, id(1, 10));
    node.disk_works = false;
    node.sent();
    // b lacks the last entry, and then also the oldest entry in the leader's log.
    for rejected in [id(1, 10), id(1, 5)] {
        let mismatch = AppendResult::Mismatch {
            rejected,
            hint: id(0, 0),
        };
        node.step("b", appended(1, 0, mismatch));
    }
    node.sent();
    assert!(is_sending(&node));
    (node, meta)
}

/// Whether the leader is sending a snapshot to b.
fn is_sending(node: &Node) -> bool {
    matches!(
        node.core.peers()[&NodeId::from("b")].state,
        ProgressState::Snapshot(_)
    )
}

/// The offsets of the chunks requested from the disk.
fn chunks_requested(node: &mut Node) -> Vec<u64> {
    let requested = node.tasks.drain(..).filter_map(|task| match task {
        crate::disk::DiskTask::ReadChunk { offset, .. } => Some(offset),
        _ => None,
    });
    requested.collect()
}

fn chunks_sent(node: &mut Node) -> Vec<(u64, usize)> {
    let sent = node
        .sent()
        .into_iter()
        .filter_map(|(_, message)| match message {
            Message::Request(RaftRequest::InstallSnapshot(chunk)) => {
                Some((chunk.offset, chunk.data.len()))
            }
            _ => None,
        });
    sent.collect()
}

/// The disk reads a chunk of ten bytes for b.
fn read_chunk(node: &mut Node, meta: &SnapshotMeta, offset: u64) {
    let data = Bytes::from_static(b"0123456789");
    node.core
        .chunk_read(node.now, &"b".into(), meta, offset, Some(data));
    node.run();
}

#[test]
fn the_first_chunk_probes_the_offset_and_the_next_ones_are_pipelined() {
    let (mut node, meta) = sender();
    assert_eq!(chunks_requested(&mut node), [0]);
    read_chunk(&mut node, &meta, 0);
    assert_eq!(chunks_sent(&mut node), [(0, 10)]);
    assert_eq!(chunks_requested(&mut node), [], "no response yet");
    // b has a part of it from an earlier transfer.
    node.step("b", reached(1, meta.last, 5, false));
    for offset in [5, 15, 25] {
        assert_eq!(
            chunks_requested(&mut node),
            [offset],
            "one is read at a time"
        );
        read_chunk(&mut node, &meta, offset);
        assert_eq!(chunks_sent(&mut node), [(offset, 10)]);
    }
    assert_eq!(chunks_requested(&mut node), [35]);
}

#[test]
fn chunks_in_flight_to_a_follower_are_limited() {
    let (mut node, meta) = sender();
    node.core.limit_chunks(2, None);
    chunks_requested(&mut node);
    node.step("b", reached(1, meta.last, 1, false));
    for offset in [1, 11] {
        assert_eq!(chunks_requested(&mut node), [offset]);
        read_chunk(&mut node, &meta, offset);
    }
    assert_eq!(chunks_requested(&mut node), []);
    node.step("b", reached(1, meta.last, 11, false));
    assert_eq!(chunks_requested(&mut node), [21]);
}

#[test]
fn a_follower_that_lost_its_chunks_gets_them_again() {
    let (mut node, meta) = sender();
    chunks_requested(&mut node);
    node.step("b", reached(1, meta.last, 20, false));
    assert_eq!(chunks_requested(&mut node), [20]);
    // All chunks arrived and were corrupt.
    node.step("b", reached(1, meta.last, 0, false));
    assert_eq!(chunks_requested(&mut node), [0]);
}

#[test]
fn a_repeated_response_does_not_double_the_traffic() {
    let (mut node, meta) = sender();
    node.step("b", reached(1, meta.last, 5, false));
    chunks_requested(&mut node);
    node.step("b", reached(1, meta.last, 5, false));
    assert_eq!(chunks_requested(&mut node), []);
}

#[test]
fn a_lost_chunk_and_the_chunks_after_it_are_sent_again() {
    let (mut node, meta) = sender();
    chunks_requested(&mut node);
    node.step("b", reached(1, meta.last, 5, false));
    for offset in [5, 15] {
        chunks_requested(&mut node);
        read_chunk(&mut node, &meta, offset);
    }
    // The first of the two is lost, and the second one has the wrong offset.
    node.step("b", reached(1, meta.last, 5, false));
    chunks_requested(&mut node);
    read_chunk(&mut node, &meta, 25);
    let mut requested = Vec::new();
    for _ in 0..4 {
        assert_eq!(requested, [0; 0], "a response may be in flight");
        node.pass(HEARTBEAT);
        node.step("c", matched(1, 10));
        requested = chunks_requested(&mut node)
            .into_iter()
            .filter(|offset| *offset == 5)
            .collect();
    }
    assert_eq!(requested, [5], "after an election timeout");
}

#[test]
fn chunks_are_sent_within_the_rate_limit_of_all_peers() {
    let (mut node, meta) = sender();
    node.core.limit_chunks(4, Some(100));
    chunks_requested(&mut node);
    read_chunk(&mut node, &meta, 0);
    node.step("b", reached(1, meta.last, 10, false));
    let (began, tenth) = (node.now, Duration::from_millis(100));
    assert_eq!(chunks_requested(&mut node), [], "ten bytes were just sent");
    assert_eq!(node.core.next_deadline(), began + tenth);
    node.pass(tenth - Duration::from_millis(1));
    assert_eq!(chunks_requested(&mut node), []);
    node.pass(Duration::from_millis(1));
    assert_eq!(chunks_requested(&mut node), [10]);
    // While a chunk is read, nothing is due.
    assert!(node.core.next_deadline() > node.now);
    read_chunk(&mut node, &meta, 10);
    assert_eq!(node.core.next_deadline(), began + tenth * 2);
}

#[test]
fn peers_get_their_chunks_in_turn() {
    let (mut node, meta) = sender();
    node.core.limit_chunks(4, Some(1000));
    let asked_for = |node: &mut Node| -> Vec<NodeId> {
        let tasks = node.tasks.drain(..);
        let to = tasks.filter_map(|task| match task {
            crate::disk::DiskTask::ReadChunk { to, .. } => Some(to),
            _ => None,
        });
        to.collect()
    };
    assert_eq!(asked_for(&mut node), ["b".into()]);
    read_chunk(&mut node, &meta, 0);
    let change = Change::AddLearner {
        id: "d".into(),
        address: "d.example:7101".to_owned(),
    };
    node.disk_works = true;
    node.change(&change).unwrap();
    node.disk_works = false;
    for rejected in [id(1, 10), id(1, 5)] {
        let hint = id(0, 0);
        node.step(
            "d",
            appended(1, 0, AppendResult::Mismatch { rejected, hint }),
        );
    }
    node.step("b", reached(1, meta.last, 10, false));
    let mut served = Vec::new();
    for _ in 0..6 {
        node.step("d", reached(1, meta.last, 10, false));
        node.pass(Duration::from_millis(10));
        let to = asked_for(&mut node);
        assert_eq!(to.len(), 1, "one at a time: {to:?}");
        let ProgressState::Snapshot(transfer) = &node.core.peers()[&to[0]].state else {
            panic!("{to:?} does not get a snapshot");
        };
        let (next, data) = (transfer.next, Bytes::from_static(b"0123456789"));
        node.core
            .chunk_read(node.now, &to[0], &meta, next, Some(data));
        served.push(to[0].as_str().to_owned());
    }
    assert_eq!(served, ["d", "b", "d", "b", "d", "b"]);
}

#[test]
fn a_restore_that_takes_longer_than_every_timeout_is_not_restarted() {
    let mut cluster = Cluster::new(["a", "b", "c"].map(node));
    cluster.elect("a");
    cluster.cut_off("c");
    for _ in 0..40 {
        cluster.propose("a", "x");
    }
    cluster.heal();
    cluster.node("c").machine_works = false;
    cluster.pass(MAX * 20);
    for _ in 0..40 {
        cluster.propose("a", "y");
    }
    cluster.pass(MAX * 20);
    let term = cluster.node("a").core.term();
    assert_eq!((cluster.leaders(), term), (vec!["a"], Term(1)));
    let last = cluster.node("a").core.log().last();
    let now = cluster.now;
    let c = cluster.node("c");
    assert_eq!(c.restored.len(), 1, "it is restoring the first one");
    assert_eq!(
        c.core.log().last(),
        last,
        "the log continues in the meantime"
    );
    // The restore ends, and the node catches up.
    c.machine_works = true;
    let restored = c.restored[0].index;
    c.core.applied(now, restored);
    let handed = c.applied.last().map_or(restored, |id| id.index);
    c.core.applied(now, handed);
    cluster.pass(HEARTBEAT);
    assert_eq!(cluster.node("c").core.log().applied(), last.index);
    assert_eq!(cluster.node("c").restored.len(), 1);
}

#[test]
fn a_response_for_another_snapshot_or_term_is_ignored() {
    let (mut node, meta) = sender();
    chunks_requested(&mut node);
    node.step("b", reached(1, id(1, 9), 5, false));
    node.step("b", reached(0, meta.last, 5, false));
    node.step("b", reached(1, id(1, 9), 5, true));
    assert_eq!(chunks_requested(&mut node), []);
    assert!(is_sending(&node));
}

#[test]
fn a_transfer_goes_on_after_a_chunk_could_not_be_read() {
    let (mut node, meta) = sender();
    chunks_requested(&mut node);
    node.step("b", reached(1, meta.last, 20, false));
    assert_eq!(chunks_requested(&mut node), [20]);
    node.core.chunk_read(node.now, &"b".into(), &meta, 20, None);
    node.run();
    // It was checked, and is sound.
    assert_eq!(chunks_requested(&mut node), [20]);
}

#[test]
fn after_the_snapshot_the_later_entries_follow() {
    let (mut node, meta) = sender();
    let made = node.core.propose(node.now, 0, command("y")).unwrap();
    node.run();
    node.sent();
    node.step("b", reached(1, meta.last, meta.length, true));
    let sent = node.sent_appends();
    let to_b = sent.iter().find(|(to, _)| to == "b").unwrap();
    assert_eq!((to_b.1.previous, to_b.1.entries[0].id), (meta.last, made));
    assert_eq!(
        node.core.peers()[&NodeId::from("b")].matched,
        meta.last.index
    );
}

#[test]
fn a_snapshot_in_transfer_and_the_later_entries_are_kept() {
    let (mut node, old) = sender();
    node.disk_works = true;
    for index in 11..=20 {
        node.propose("x");
        node.step("c", matched(1, index));
    }
    assert_eq!(node.core.snapshot().map(|meta| meta.last), Some(id(1, 20)));
    assert!(node.snapshots.open(&old).is_ok(), "it is still being sent");
    assert!(node.core.log().purged().index <= old.last.index);
    node.sent();
    node.step("b", reached(1, old.last, old.length, true));
    let sent = node.sent_appends();
    assert_eq!(sent[0].1.previous, old.last, "no second snapshot is needed");
    assert_eq!(sent[0].1.entries.len(), 10);
}

#[test]
fn an_unreachable_follower_does_not_keep_an_old_snapshot() {
    let (mut node, old) = sender();
    node.disk_works = true;
    node.run();
    for index in 11..=20 {
        node.propose("x");
        node.step("c", matched(1, index));
    }
    assert!(node.snapshots.open(&old).is_ok(), "it is being sent");
    for _ in 0..5 {
        node.pass(HEARTBEAT);
        node.step("c", matched(1, 20));
    }
    let newest = node.core.snapshot().cloned().unwrap();
    let ProgressState::Snapshot(transfer) = &node.core.peers()[&NodeId::from("b")].state else {
        panic!("b still needs one");
    };
    assert_eq!((newest.last, &transfer.meta), (id(1, 20), &newest));
    assert!(node.snapshots.open(&old).is_err(), "no peer needs it");
}

#[test]
fn a_purge_beyond_a_snapshot_in_transfer_is_harmless() {
    let mut cluster = Cluster::new(["a", "b", "c"].map(node));
    cluster.elect("a");
    cluster.cut_off("c");
    for _ in 0..40 {
        cluster.propose("a", "x");
    }
    // The first chunk was requested; nothing else happens until many more entries are purged.
    cluster.heal();
    let a = cluster.node("a");
    a.disk_works = false;
    let meta = a.core.snapshot().cloned().unwrap();
    let probe = a.core.peers()[&NodeId::from("c")].next.previous();
    let rejected = LogId::new(Term(1), probe);
    a.step(
        "c",
        appended(
            1,
            0,
            AppendResult::Mismatch {
                rejected,
                hint: id(1, 1),
            },
        ),
    );
    a.disk_works = true;
    a.tasks.clear();
    cluster.cut_off("c");
    for _ in 0..60 {
        cluster.propose("a", "x");
    }
    assert!(cluster.node("a").core.log().purged().index > meta.last.index);
    cluster.heal();
    cluster.pass(MAX * 2);
    let last = cluster.node("a").core.log().last();
    assert_eq!(cluster.node("c").core.log().last(), last);
    assert_eq!(cluster.node("c").core.log().applied(), last.index);
}

#[test]
fn a_follower_with_all_entries_of_a_snapshot_does_not_install_it() {
    let mut node = node("a");
    node.step("b", append("b", 1, id(0, 0), &[1, 1, 1], 3));
    node.sent();
    let (meta, bytes) = foreign(id(1, 2));
    node.step("b", chunk("b", 1, &meta, 0, &bytes));
    let installed = reached(1, meta.last, meta.length, true);
    assert_eq!(node.sent(), [("b".into(), installed)]);
    assert_eq!(node.restored, []);
}

#[test]
fn a_follower_reports_its_offset_and_restores_the_complete_snapshot() {
    let mut node = node("a");
    let (meta, bytes) = foreign(id(2, 20));
    node.step("b", chunk("b", 3, &meta, 0, &bytes.slice(..4)));
    assert_eq!(node.sent(), [("b".into(), reached(3, meta.last, 4, false))]);
    // A chunk with the wrong offset.
    node.step("b", chunk("b", 3, &meta, 6, &bytes.slice(6..)));
    assert_eq!(node.sent(), [("b".into(), reached(3, meta.last, 4, false))]);
    node.step("b", chunk("b", 3, &meta, 4, &bytes.slice(4..)));
    assert_eq!(
        node.sent(),
        [("b".into(), reached(3, meta.last, meta.length, true))]
    );
    assert_eq!(node.restored, [meta.last]);
    let log = node.core.log();
    assert_eq!((log.last(), log.purged()), (meta.last, meta.last));
    assert_eq!((log.committed(), log.applied()), (Index(20), Index(20)));
    node.step("b", append("b", 3, meta.last, &[3], 21));
    assert_eq!(node.applied, [id(3, 21)]);
}

#[test]
fn a_slow_disk_gets_few_chunks_at_once() {
    let mut node = node("a");
    let (meta, bytes) = foreign(id(2, 20));
    let now = node.now;
    let received = |core: &mut Core| {
        core.step(now, &"b".into(), chunk("b", 3, &meta, 0, &bytes.slice(..4)));
        let is_chunk = |task: &SnapshotTask| matches!(task, SnapshotTask::Receive { .. });
        core.ready().snapshots.iter().any(is_chunk)
    };
    let most = 2 * node.core.config.limits.in_flight_chunks;
    let taken = (0..100).filter(|_| received(&mut node.core)).count();
    assert_eq!(taken, most);
    // The disk is full, then it has room.
    node.core.chunk_dropped();
    assert!(received(&mut node.core));
    assert!(!received(&mut node.core));
    node.core
        .chunk_received(now, &meta, Received::Partial { next_offset: 4 });
    assert!(received(&mut node.core));
}

#[test]
fn a_corrupt_snapshot_is_received_again() {
    let mut node = node("a");
    let (mut meta, bytes) = foreign(id(2, 20));
    meta.checksum ^= 1;
    node.step("b", chunk("b", 3, &meta, 0, &bytes));
    assert_eq!(node.sent(), [("b".into(), reached(3, meta.last, 0, false))]);
    assert_eq!((node.restored.len(), node.core.log().last()), (0, id(0, 0)));
}

#[test]
fn a_snapshot_of_an_older_term_is_ignored() {
    let mut node = Node::at("a", 5, &[]);
    let (meta, bytes) = foreign(id(2, 20));
    node.step("b", chunk("b", 4, &meta, 0, &bytes));
    assert_eq!(node.sent(), [("b".into(), reached(5, meta.last, 0, false))]);
    assert_eq!(node.core.log().last(), id(0, 0));
}

#[test]
fn a_node_that_stopped_between_snapshot_and_log_continues_after_the_snapshot() {
    let mut node = Node::with(small("a", "a b c"), HardState::default(), &[1, 1, 1]);
    let (meta, bytes) = foreign(id(2, 20));
    assert_eq!(
        node.snapshots.receive(&meta, 0, &bytes).unwrap(),
        Received::Complete
    );
    let (log, snapshots) = (node.log.clone(), node.snapshots.clone());
    node = Node::start(small("a", "a b c"), log, snapshots, node.now);
    assert_eq!(
        (node.core.log().last(), node.core.log().applied()),
        (meta.last, Index(20))
    );
    node.run();
    assert_eq!(node.log.load().unwrap().purged, meta.last);
    node.step("b", append("b", 2, meta.last, &[2], 21));
    assert_eq!(node.stored(), [id(2, 21)]);
}

#[test]
fn a_node_is_never_in_an_older_term_than_its_log() {
    let node = Node::with(
        small("a", "a b c"),
        HardState {
            term: Term(1),
            vote: Some("b".into()),
        },
        &[1],
    );
    let (meta, bytes) = foreign(id(4, 20));
    node.snapshots.receive(&meta, 0, &bytes).unwrap();
    let (log, snapshots) = (node.log.clone(), node.snapshots.clone());
    let mut node = Node::start(small("a", "a b c"), log, snapshots, node.now);
    assert_eq!((node.core.term(), node.core.vote()), (Term(4), None));
    node.run();
    assert_eq!(node.log.load().unwrap().hard_state.term, Term(4));
}

/// The log has the snapshot's last entry, and later entries that are not durable yet.
#[test]
fn entries_after_a_snapshot_are_written_after_the_log_was_moved() {
    let mut node = node("a");
    let (meta, bytes) = foreign(id(1, 9));
    node.disk_works = false;
    node.step("b", append("b", 1, id(0, 0), &[1, 1], 0));
    node.step("b", append("b", 1, id(1, 2), &[1; 10], 0));
    assert_eq!(node.core.log().last(), id(1, 12));
    // The first two entries become durable; the snapshot arrives before the next disk task.
    let received = node.snapshots.receive(&meta, 0, &bytes).unwrap();
    assert!(node.finish_task());
    node.core.chunk_received(node.now, &meta, received);
    node.disk_works = true;
    node.run();
    assert_eq!(node.stored(), [id(1, 10), id(1, 11), id(1, 12)]);
}

/// The leader's commit index is higher, and arrives at the same time as the end of the snapshot.
#[test]
fn entries_after_a_snapshot_are_applied_after_it_was_restored() {
    let mut node = node("a");
    let (meta, bytes) = foreign(id(1, 9));
    node.step("b", append("b", 1, id(0, 0), &[1; 12], 0));
    let received = node.snapshots.receive(&meta, 0, &bytes).unwrap();
    node.core.chunk_received(node.now, &meta, received);
    node.step("b", append("b", 1, id(1, 12), &[], 12));
    assert_eq!(node.restored, [meta.last]);
    assert_eq!(node.applied, [id(1, 10), id(1, 11), id(1, 12)]);
}

/// Some entries were handed to the state machine at the same time, and the snapshot contains them too.
#[test]
fn entries_in_a_snapshot_are_not_applied_again() {
    let mut node = node("a");
    let (meta, bytes) = foreign(id(1, 9));
    node.step("b", append("b", 1, id(0, 0), &[1; 12], 0));
    let received = node.snapshots.receive(&meta, 0, &bytes).unwrap();
    node.core
        .step(node.now, &"b".into(), append("b", 1, id(1, 12), &[], 5));
    node.core
        .entries_read(node.now, &ReadFor::Apply, entries(1, &[1; 5]));
    node.core.chunk_received(node.now, &meta, received);
    node.run();
    assert_eq!(
        (node.restored.as_slice(), node.applied.as_slice()),
        (&[meta.last][..], &[][..])
    );
}

/// The disk has entries of an older leader at the index of the snapshot's last entry.
#[test]
fn a_snapshot_replaces_a_log_with_a_pending_truncation() {
    let mut node = Node::with(small("a", "a b c"), HardState::default(), &[1; 12]);
    let (meta, bytes) = foreign(id(2, 9));
    node.disk_works = false;
    // The new term is being written, so the truncation has to wait.
    node.step("b", append("b", 2, id(1, 12), &[], 0));
    node.step("b", append("b", 2, id(1, 4), &[2; 8], 0));
    let received = node.snapshots.receive(&meta, 0, &bytes).unwrap();
    node.core.chunk_received(node.now, &meta, received);
    node.disk_works = true;
    node.run();
    assert_eq!(node.stored(), [id(2, 10), id(2, 11), id(2, 12)]);
    assert_eq!(node.core.log().stable(), Index(12));
}
