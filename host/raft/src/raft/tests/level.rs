//! The cluster level: bootstrap, raise, and logs of a later level.

use bytes::Bytes;

use super::kit::*;
use crate::entry::*;
use crate::ids::{Lineage, LogId};
use crate::message::*;
use crate::raft::fault::CoreFault;
use crate::raft::level::RaiseProgress;
use crate::raft::membership::{MemberRole, Membership};
use crate::raft::*;
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::{LogStore, SnapshotStore, StoreState};

const ABC: &str = "a b c";

fn node(id: &str, names: &str, known_level: u32) -> Node {
    let number: u64 = id.bytes().map(u64::from).sum();
    let mut log = MemoryStore::with_store_id(StoreId(number));
    log.begin_run(number).unwrap();
    start(id, names, known_level, log, Duration::ZERO)
}

fn start(id: &str, names: &str, known_level: u32, log: MemoryStore, now: Duration) -> Node {
    let config = CoreConfig {
        known_level,
        new_lineage: Lineage(u128::from(id.as_bytes()[0]) << 8),
        initial_settings: Bytes::copy_from_slice(format!("settings of {id}").as_bytes()),
        ..config(id, names)
    };
    Node::start(config, log, MemorySnapshots::new(), now)
}

fn cluster(levels: [u32; 3]) -> Cluster {
    let nodes = ["a", "b", "c"].into_iter().zip(levels);
    Cluster::new(nodes.map(|(id, level)| node(id, ABC, level))).with_hellos()
}

fn record(node: &Node) -> Option<ClusterRecord> {
    let mut log = node.log.clone();
    let stored = log.load().unwrap();
    stored.clusters.into_iter().next().map(|(_, record)| record)
}

#[test]
fn a_cluster_of_one_begins_with_its_record() {
    let mut a = node("a", "a", 1);
    a.run();
    a.pass(Duration::ZERO);
    assert_eq!(a.core.role(), Role::Leader);
    assert_eq!(a.stored(), [id(0, 1), id(1, 2)]);
    let record = record(&a).unwrap();
    assert_eq!(record.level, 1);
    assert_eq!(record.lineage, Lineage::at_bootstrap(0x6100));
    assert_eq!(record.settings, "settings of a");
    assert_eq!(record.membership.store_id(&"a".into()), StoreId(97));
    assert_eq!(a.core.cluster(), record.state());
    assert_eq!(a.log.load().unwrap().state, StoreState::Complete);

    let mut old = node("a", "a", 0);
    old.run();
    old.pass(Duration::ZERO);
    assert_eq!(old.stored(), [id(1, 1)], "as the release before");
}

#[test]
fn a_cluster_of_nodes_that_know_level_1_begins_there() {
    let mut cluster = cluster([1, 1, 1]);
    cluster.pass(MAX * 2);
    assert_eq!(cluster.leaders(), ["a"]);
    let first = record(cluster.node("a")).unwrap();
    assert_eq!(first.state().level, 1);
    for id in ["a", "b", "c"] {
        let node = cluster.node(id);
        assert_eq!(node.core.cluster(), first.state(), "{id}");
        assert_eq!(record(node).as_ref(), Some(&first), "{id}");
        assert!(node.core.can_vote());
    }
}

#[test]
fn a_cluster_with_a_node_of_the_release_before_begins_at_level_0() {
    let mut cluster = cluster([1, 1, 0]);
    cluster.pass(MAX * 2);
    assert_eq!(cluster.leaders(), ["a"]);
    for id in ["a", "b", "c"] {
        let node = cluster.node(id);
        assert_eq!(node.core.cluster(), ClusterState::default());
        assert_eq!(record(node), None);
        assert_eq!(node.core.membership().voters().count(), 3);
    }
}

#[test]
fn a_member_that_missed_the_bootstrap_gets_the_record_from_a_node_that_has_restarted() {
    let mut cluster = cluster([1, 1, 1]);
    cluster.now += HEARTBEAT;
    for id in ["a", "b", "c"] {
        let now = cluster.now;
        let node = cluster.node(id);
        node.now = now;
        node.core.tick(now);
        node.run();
    }
    cluster.settle();
    let first = record(cluster.node("b")).unwrap();
    // c has lost what it did not write, and a is gone.
    let mut log = MemoryStore::with_store_id(StoreId(99));
    log.begin_run(99).unwrap();
    log.begin_run(100).unwrap();
    let now = cluster.now;
    cluster.disconnect("c");
    cluster
        .nodes
        .insert("c".into(), start("c", ABC, 1, log, now));
    let mut log = cluster.node("b").log.clone();
    log.begin_run(1).unwrap();
    cluster.disconnect("b");
    cluster
        .nodes
        .insert("b".into(), start("b", ABC, 1, log, now));
    cluster.cut_off("a");
    cluster.pass(MAX * 4);
    assert_eq!(record(cluster.node("c")), Some(first));
}

fn raise(cluster: &mut Cluster, id: &str) -> Result<RaiseProgress, RaiseError> {
    let now = cluster.now;
    let node = cluster.node(id);
    let result = node.core.raise_level(now, 0);
    node.run();
    cluster.settle();
    result
}

/// A cluster at level 0, led by a, whose nodes restart with the new release.
fn upgraded(levels: [u32; 3]) -> Cluster {
    let mut cluster = cluster([0, 0, 0]);
    cluster.pass(MAX * 2);
    let now = cluster.now;
    for (id, level) in ["a", "b", "c"].into_iter().zip(levels) {
        let mut log = cluster.node(id).log.clone();
        log.begin_run(5).unwrap();
        cluster.disconnect(id);
        let node = start(id, ABC, level, log, now);
        cluster.nodes.insert(id.to_owned(), node);
    }
    cluster.pass(MAX * 3);
    assert_eq!(cluster.leaders().len(), 1);
    cluster
}

/// Elects this node, if another one leads.
fn led_by(cluster: &mut Cluster, id: &str) {
    if cluster.leaders() != [id] {
        cluster.elect(id);
    }
    assert_eq!(cluster.leaders(), [id]);
}

#[test]
fn a_raise_is_refused_while_a_member_does_not_know_the_level_and_names_it() {
    let mut cluster = upgraded([1, 1, 0]);
    led_by(&mut cluster, "a");
    let refused = raise(&mut cluster, "a").unwrap_err();
    let expected = RaiseError::UnknownLevel {
        node: "c".into(),
        level: 1,
    };
    assert_eq!(refused, expected);
    assert!(refused.to_string().contains("c has not shown"), "{refused}");
    assert_eq!(cluster.node("b").core.cluster().level, 0);
    assert_eq!(raise(&mut cluster, "b"), Err(RaiseError::NotLeader));
}

#[test]
fn a_leader_of_the_release_before_has_nothing_to_raise() {
    let mut cluster = upgraded([1, 1, 0]);
    led_by(&mut cluster, "c");
    let committed = cluster.node("c").core.log().committed();
    let raised = raise(&mut cluster, "c");
    assert_eq!(raised, Ok(RaiseProgress::Done(committed)));
    assert_eq!(cluster.node("a").core.cluster().level, 0);
}

#[test]
fn a_raise_gives_the_cluster_a_lineage_and_is_done_once() {
    let mut cluster = upgraded([1, 1, 1]);
    let leader = cluster.leaders()[0].to_owned();
    let before = cluster.node(&leader).core.membership().clone();
    assert_eq!(raise(&mut cluster, &leader), Ok(RaiseProgress::InProgress));
    let done = raise(&mut cluster, &leader);
    assert!(matches!(done, Ok(RaiseProgress::Done(_))), "{done:?}");
    cluster.pass(HEARTBEAT * 2);
    let state = cluster.node(&leader).core.cluster();
    assert_eq!(state.level, 1);
    assert!(state.lineage != Lineage::NONE && !state.lineage.is_from_bootstrap());
    for id in ["a", "b", "c"] {
        let node = cluster.node(id);
        assert_eq!(node.core.cluster(), state, "{id}");
        assert_eq!(*node.core.membership(), before, "{id}");
        let last = node.log.load().unwrap().last;
        assert!(last.index > Index(2));
    }
}

#[test]
fn a_raise_names_the_stores_that_the_configuration_lacks() {
    // Stores of the release before: the initial members of a cluster that was never changed have none.
    let nodes = ["a", "b", "c"].map(|id| {
        let mut log = MemoryStore::with_store_id(StoreId(u64::from(id.as_bytes()[0])));
        log.set_state(StoreState::Complete);
        log.begin_run(9).unwrap();
        start(id, ABC, 1, log, Duration::ZERO)
    });
    let mut cluster = Cluster::new(nodes).with_hellos();
    cluster.pass(MAX * 3);
    let leader = cluster.leaders()[0].to_owned();
    assert_eq!(raise(&mut cluster, &leader), Ok(RaiseProgress::InProgress));
    cluster.pass(HEARTBEAT * 2);
    for id in ["a", "b", "c"] {
        let store_id = cluster.node(&leader).core.membership().store_id(&id.into());
        assert_eq!(store_id, StoreId(u64::from(id.as_bytes()[0])), "{id}");
        assert!(cluster.node(id).core.can_vote());
    }
}

#[test]
fn above_level_0_a_sender_without_a_store_does_not_count() {
    let mut cluster = cluster([1, 1, 1]);
    cluster.pass(MAX * 2);
    let a = cluster.node("a");
    let last = a.propose("x").index.0;
    let term = a.core.term().0;
    a.step("b", matched(term, last));
    assert_eq!(a.core.log().committed(), Index(last - 1));
}

#[test]
fn a_node_that_does_not_know_the_level_of_its_log_stops() {
    let mut cluster = cluster([1, 1, 1]);
    cluster.pass(MAX * 2);
    let log = cluster.node("b").log.clone();
    let now = cluster.now;
    let mut old = start("b", ABC, 0, log, now);
    let expected = CoreFault::Level { level: 1, known: 0 };
    assert_eq!(old.core.fault(), Some(&expected));
    assert!(expected.to_string().contains("knows level 1"));
    old.pass(MAX * 3);
    assert_eq!(old.sent(), []);

    // It gets the record from a leader.
    let mut empty = start("d", "", 0, MemoryStore::new(), now);
    let entry = Entry {
        id: id(1, 1),
        time_ms: 0,
        payload: Payload::Cluster(Box::new(record(cluster.node("a")).unwrap())),
    };
    let append = AppendEntries {
        term: Term(1),
        leader_id: "a".into(),
        previous: LogId::default(),
        entries: vec![entry],
        leader_commit: Index(1),
        round: 1,
    };
    empty.step("a", Message::Request(RaftRequest::AppendEntries(append)));
    assert_eq!(empty.core.fault(), Some(&expected));
    assert_eq!(empty.stored(), []);
}

#[test]
fn a_snapshot_above_level_0_is_sent_with_level_and_lineage() {
    let mut cluster = cluster([1, 1, 1]);
    cluster.pass(MAX * 2);
    let state = cluster.node("a").core.cluster();
    cluster.node("a").core.take_snapshot();
    cluster.settle();
    let meta = cluster.node("a").core.snapshot().cloned().unwrap();
    assert_eq!(meta.cluster, state);
    let mut follower = Node::start(
        CoreConfig {
            known_level: 1,
            ..config("d", "")
        },
        MemoryStore::new(),
        MemorySnapshots::new(),
        Duration::ZERO,
    );
    let membership: Membership = meta.membership.clone().unwrap();
    assert!(
        membership
            .members()
            .values()
            .all(|m| m.role == MemberRole::Voter)
    );
    let data = cluster
        .node("a")
        .snapshots
        .read_chunk(&meta, 0, 1 << 20)
        .unwrap();
    let sent = SnapshotMeta {
        membership: None,
        cluster: ClusterState::default(),
        ..meta
    };
    let chunk = InstallSnapshot {
        term: Term(1),
        leader_id: "a".into(),
        meta: sent,
        offset: 0,
        data,
    };
    let request = RaftRequest::InstallCluster(chunk, membership, state);
    assert_eq!(request.min_protocol(), 2);
    follower.step("a", Message::Request(request));
    assert_eq!(follower.core.cluster(), state);
    assert_eq!(follower.core.membership().voters().count(), 3);
}
