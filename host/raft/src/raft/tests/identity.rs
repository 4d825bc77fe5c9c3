//! Stores that were replaced, copies of older states, and histories that contradict each other.

use bytes::Bytes;

use super::kit::*;
use crate::entry::{Entry, Payload};
use crate::identity::{History, PeerHello, RunHistory, Sender};
use crate::ids::{Lineage, LogId};
use crate::message::*;
use crate::raft::fault::CoreFault;
use crate::raft::membership::change::Change;
use crate::raft::membership::{Member, MemberRole, Membership};
use crate::raft::*;
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::{LogStore, StoreState};

const ABC: &str = "a b c";

/// A store with this id, in its first run.
fn store(store_id: u64) -> MemoryStore {
    let mut log = MemoryStore::with_store_id(StoreId(store_id));
    log.begin_run(store_id * 100 + 1).unwrap();
    log
}

fn node(id: &str, log: MemoryStore, now: Duration) -> Node {
    Node::start(config(id, ABC), log, MemorySnapshots::new(), now)
}

/// A bootstrapped cluster of a, b, c with the stores 1, 2, 3, led by a, with one committed command. Connections begin with
/// hellos.
fn cluster() -> Cluster {
    let stores = [("a", 1), ("b", 2), ("c", 3)];
    let nodes = stores.map(|(id, number)| node(id, store(number), Duration::ZERO));
    let mut cluster = Cluster::new(nodes).with_hellos();
    cluster.pass(MAX * 2);
    assert_eq!(cluster.leaders(), ["a"]);
    cluster.propose("a", "one");
    cluster
}

/// Puts a disk into a node and starts it.
fn put_disk(cluster: &mut Cluster, id: &str, log: MemoryStore) {
    let node = node(id, log, cluster.now);
    cluster.disconnect(id);
    cluster.nodes.insert(id.to_owned(), node);
}

/// Starts a node again, in a run with this id.
fn restart(cluster: &mut Cluster, id: &str, run: u64) {
    let mut log = cluster.node(id).log.clone();
    log.begin_run(run).unwrap();
    put_disk(cluster, id, log);
}

fn copy(cluster: &mut Cluster, id: &str) -> MemoryStore {
    cluster.node(id).log.copy()
}

fn sender(id: &str, store_id: u64) -> Sender {
    Sender {
        id: id.into(),
        store_id: StoreId(store_id),
        run: store_id * 100 + 1,
    }
}

fn replaced_reports(node: &mut Node) -> Vec<StoreReplaced> {
    let sent = node.sent().into_iter();
    sent.filter_map(|(_, message)| match message {
        Message::Request(RaftRequest::StoreReplaced(report)) => Some(report),
        _ => None,
    })
    .collect()
}

/// A follower or leader whose configuration names the stores 1, 2, 3.
fn named(name: &str, own: u64) -> Node {
    let member = |store_id| Member {
        address: String::new(),
        store_id: StoreId(store_id),
        role: MemberRole::Voter,
    };
    let members = [("a", 1), ("b", 2), ("c", 3)];
    let members = members.map(|(id, number)| (NodeId::from(id), member(number)));
    let mut log = store(own);
    log.set_state(StoreState::Complete);
    let entry = Entry {
        id: id(0, 1),
        time_ms: 0,
        payload: Payload::Membership(Membership::new(members.into())),
    };
    let batch = WriteBatch {
        entries: vec![entry],
        ..WriteBatch::default()
    };
    log.write(&batch).unwrap();
    let mut node = node(name, log, Duration::ZERO);
    node.now += MAX;
    node
}

// ----- stores that the configuration does not name -----

#[test]
fn a_vote_of_another_store_than_the_configuration_names_is_not_counted() {
    let mut a = named("a", 1);
    a.campaign();
    let term = a.core.term().0;
    a.step_from(&sender("b", 22), vote(term, true));
    assert_eq!(a.core.role(), Role::Candidate);
    a.step_from(&sender("b", 2), vote(term, true));
    assert_eq!(a.core.role(), Role::Leader);
}

#[test]
fn an_acknowledgement_of_another_store_is_not_counted_and_its_node_is_told() {
    let mut a = named("a", 1);
    a.lead();
    let last = a.propose("x").index.0;
    let term = a.core.term().0;
    a.sent();
    a.step_from(&sender("b", 22), matched(term, last));
    assert_eq!(a.core.log().committed(), Index(last - 1));
    assert_eq!(a.core.peers()[&NodeId::from("b")].matched, Index(last - 1));
    let reports = replaced_reports(&mut a);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].store_id, StoreId(22));
    a.step_from(&sender("b", 2), matched(term, last));
    assert_eq!(a.core.log().committed(), Index(last));
}

#[test]
fn a_response_that_does_not_count_still_shows_a_newer_term() {
    let mut a = named("a", 1);
    a.lead();
    a.step_from(&sender("b", 22), matched(9, 0));
    assert_eq!((a.core.term(), a.core.role()), (Term(9), Role::Follower));
}

#[test]
fn a_candidate_with_another_store_gets_a_vote_only_if_its_log_is_longer() {
    let ask = |last| vote_message(vote_request("c", 5, last));
    let mut b = named("b", 2);
    b.step_from(&sender("c", 33), ask(id(0, 1)));
    assert!(!b.vote_response_sent().granted, "an equal log");
    let mut b = named("b", 2);
    b.step_from(&sender("c", 3), ask(id(0, 1)));
    assert!(b.vote_response_sent().granted, "the named store");
    // The voter lacks the entry that names the store.
    let mut b = named("b", 2);
    b.step_from(&sender("c", 33), ask(id(4, 9)));
    assert!(b.vote_response_sent().granted, "a longer log");
}

#[test]
fn an_old_disk_that_is_put_back_after_its_replacement_elects_no_leader() {
    let mut cluster = cluster();
    let old = copy(&mut cluster, "c");
    put_disk(&mut cluster, "c", store(4));
    cluster.pass(MAX * 3);
    assert!(cluster.node("c").core.can_vote(), "it has rejoined");
    cluster.cut_off("b");
    let written = cluster.propose("a", "two");
    assert!(cluster.node("a").core.log().committed() >= written.index);
    // The only node that has the write is down, and the old disk of c is put back.
    cluster.heal();
    cluster.cut_off("a");
    put_disk(&mut cluster, "c", old);
    restart(&mut cluster, "c", 3999);
    cluster.pass(MAX * 10);
    let leaders = cluster.leaders();
    assert!(!leaders.contains(&"b") && !leaders.contains(&"c"));
    cluster.heal();
    cluster.pass(MAX * 6);
    let committed = cluster.node("c").core.log().committed();
    assert!(committed >= written.index);
    assert!(cluster.node("c").core.can_vote(), "it has rejoined");
    assert!(cluster.node("c").core.log().holds(written));
}

/// The configuration still names the old store, but the node has met its replacement.
#[test]
fn an_old_disk_is_recognized_by_a_node_that_has_met_its_replacement() {
    let hello = |store_id: u64| PeerHello {
        store_id: StoreId(store_id),
        runs: RunHistory {
            number: 1,
            recent: vec![store_id * 100 + 1],
        },
        ..named("c", 3).hello()
    };
    let mut b = named("b", 2);
    b.meet(&hello(3));
    b.meet(&hello(4));
    b.meet(&hello(3));
    assert_eq!(replaced_reports(&mut b).len(), 1);
    b.step_from(
        &sender("c", 3),
        vote_message(vote_request("c", 5, id(4, 9))),
    );
    assert_eq!(b.core.term(), Term(0));
    assert_eq!(replaced_reports(&mut b)[0].store_id, StoreId(3));
    b.campaign();
    let term = b.core.term().0;
    b.step_from(&sender("c", 3), vote(term, true));
    assert_eq!(b.core.role(), Role::Candidate);
    b.step_from(&sender("a", 1), vote(term, true));
    assert_eq!(b.core.role(), Role::Leader);
}

/// A cluster of five. One node lacks the entry that names the new store of another, and these two and a third one are left.
#[test]
fn a_node_with_a_newer_store_is_elected_by_one_that_lacks_its_entry() {
    const FIVE: &str = "a b c d e";
    let start = |id: &str, number: u64, now| {
        let stores = (store(number), MemorySnapshots::new());
        Node::start(config(id, FIVE), stores.0, stores.1, now)
    };
    let nodes = FIVE.split(' ').zip(1..);
    let nodes = nodes.map(|(id, number)| start(id, number, Duration::ZERO));
    let mut cluster = Cluster::new(nodes).with_hellos();
    cluster.pass(MAX * 2);
    assert_eq!(cluster.leaders(), ["a"]);
    cluster.cut_off("b");
    let now = cluster.now;
    cluster.disconnect("c");
    cluster.nodes.insert("c".into(), start("c", 6, now));
    cluster.pass(MAX * 3);
    assert!(cluster.node("c").core.can_vote(), "it has rejoined");
    let written = cluster.propose("a", "two");
    cluster.heal();
    cluster.cut_off("a");
    cluster.cut_off("d");
    cluster.elect("c");
    assert!(cluster.node("b").core.log().holds(written));
}

#[test]
fn a_node_whose_configuration_names_another_store_takes_a_new_id_and_rejoins() {
    let mut c = named("c", 33);
    c.run();
    assert!(!c.core.can_vote());
    let stored = c.log.load().unwrap();
    assert_eq!(stored.state, StoreState::Incomplete);
    assert_ne!(stored.store_id, StoreId(33));
    assert_eq!(c.core.store_id(), stored.store_id);
    c.step_from(&sender("a", 1), append("a", 5, id(0, 1), &[], 1));
    let sent = c.sent();
    assert!(
        sent.iter().any(|(_, message)| matches!(
            message,
            Message::Response(RaftResponse::StoreMismatch(mismatch))
                if mismatch.store_id == stored.store_id
        )),
        "{sent:?}"
    );
}

#[test]
fn a_member_that_loses_its_disk_again_while_it_rejoins_keeps_its_new_store() {
    let mut cluster = cluster();
    let b = NodeId::from("b");
    cluster.cut_off("c");
    put_disk(&mut cluster, "b", store(70));
    cluster.pass(HEARTBEAT * 2);
    let member = cluster.node("a").core.membership().members()[&b].clone();
    assert_eq!(
        (member.role, member.store_id),
        (MemberRole::Rejoining, StoreId(70))
    );
    put_disk(&mut cluster, "b", store(71));
    cluster.heal();
    cluster.pass(MAX * 3);
    let named = cluster.node("a").core.membership().store_id(&b);
    assert_eq!(
        (named, cluster.node("b").core.store_id()),
        (StoreId(71), StoreId(71))
    );
    assert!(cluster.node("b").core.can_vote());
}

#[test]
fn a_rejoining_member_whose_first_disk_is_put_back_is_told() {
    // The leader may not remember that this disk was replaced: its own was replaced as well, or there were too many.
    let mut a = named("a", 1);
    a.lead();
    let term = a.core.term().0;
    let mismatch = StoreMismatch {
        term: Term(term),
        store_id: StoreId(22),
    };
    let mismatch = Message::Response(RaftResponse::StoreMismatch(mismatch));
    a.step_from(&sender("b", 22), mismatch);
    let last = a.core.log().last().index.0;
    a.step_from(&sender("c", 3), matched(term, last));
    let member = a.core.membership().members()[&NodeId::from("b")].clone();
    assert_eq!(
        (member.role, member.store_id),
        (MemberRole::Rejoining, StoreId(22))
    );
    a.sent();
    // Otherwise it would neither vote nor count as long as this node leads.
    a.step_from(&sender("b", 2), matched(term, last));
    assert_eq!(a.core.peers()[&NodeId::from("b")].matched, Index::ZERO);
    let reports = replaced_reports(&mut a);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].store_id, StoreId(2));
}

#[test]
fn acknowledgements_of_a_learner_do_not_count_for_its_next_store() {
    let mut a = named("a", 1);
    a.lead();
    let change = Change::AddLearner {
        id: "d".into(),
        address: "d.example:7101".into(),
    };
    a.change(&change).unwrap();
    let term = a.core.term().0;
    let last = a.core.log().last().index.0;
    for id in ["b", "c"] {
        let number = if id == "b" { 2 } else { 3 };
        a.step_from(&sender(id, number), matched(term, last));
    }
    let matched_by = |a: &Node| a.core.peers()[&NodeId::from("d")].matched;
    a.step_from(&sender("d", 8), matched(term, last));
    assert_eq!(matched_by(&a), Index(last));
    a.step_from(&sender("d", 9), matched(term, 1));
    assert_eq!(matched_by(&a), Index(1));
}

// ----- copies of older states -----

#[test]
fn a_copy_of_an_older_state_neither_votes_nor_counts_and_rejoins() {
    let mut cluster = cluster();
    let copied = copy(&mut cluster, "c");
    restart(&mut cluster, "c", 3002);
    cluster.pass(MAX);
    cluster.cut_off("b");
    let written = cluster.propose("a", "two");
    assert!(cluster.node("a").core.log().committed() >= written.index);
    cluster.heal();
    cluster.cut_off("a");
    put_disk(&mut cluster, "c", copied);
    restart(&mut cluster, "c", 3992);
    cluster.pass(MAX * 10);
    let leaders = cluster.leaders();
    assert!(!leaders.contains(&"b") && !leaders.contains(&"c"));
    let stored = cluster.node("c").log.load().unwrap();
    assert_eq!(stored.state, StoreState::Incomplete);
    assert_ne!(stored.store_id, StoreId(3));
    cluster.heal();
    cluster.pass(MAX * 6);
    let c = cluster.node("c");
    assert!(c.core.can_vote(), "it has rejoined");
    assert!(c.core.log().holds(written));
    assert_eq!(c.log.load().unwrap().state, StoreState::Complete);
}

#[test]
fn an_ordinary_restart_keeps_the_vote_and_the_store() {
    let mut cluster = cluster();
    for run in 0..20 {
        restart(&mut cluster, "c", 5000 + run);
        cluster.pass(MAX);
        let c = cluster.node("c");
        assert!(c.core.can_vote());
        assert_eq!(c.core.store_id(), StoreId(3));
    }
}

#[test]
fn the_memory_of_peers_survives_a_restart() {
    let mut cluster = cluster();
    restart(&mut cluster, "b", 2002);
    let met = cluster.node("b").log.load().unwrap().met;
    let c = met.iter().find(|(id, _)| id.as_str() == "c");
    assert_eq!(c.map(|(_, met)| met.store_id), Some(StoreId(3)));
    let mut old = cluster.node("c").hello();
    old.runs = RunHistory {
        number: 1,
        recent: vec![999],
    };
    let b = cluster.node("b");
    b.meet(&old);
    let reports = replaced_reports(b);
    assert_eq!(reports.len(), 1, "the copy has another first run");
    assert_eq!(reports[0].run, 999);
}

#[test]
fn a_report_about_an_earlier_run_is_ignored() {
    let mut c = named("c", 3);
    let report = |store_id, run| {
        Message::Request(RaftRequest::StoreReplaced(StoreReplaced {
            store_id: StoreId(store_id),
            run,
        }))
    };
    c.step_from(&sender("a", 1), report(3, 77));
    c.step_from(&sender("a", 1), report(4, 301));
    c.step_from(&sender("x", 9), report(3, 301));
    assert!(c.core.can_vote());
    c.step_from(&sender("a", 1), report(3, 301));
    assert!(!c.core.can_vote());
}

#[test]
fn a_store_that_is_being_replaced_is_not_marked_as_complete() {
    let mut node = named("a", 1);
    node.disk_works = false;
    // A new term, which the disk has not written yet.
    node.step("b", append("b", 9, id(0, 1), &[], 0));
    let write = node.core.writes.in_flight.as_ref().map(|write| write.id);
    let report = StoreReplaced {
        store_id: StoreId(1),
        run: node.core.runs.current(),
    };
    node.step("c", Message::Request(RaftRequest::StoreReplaced(report)));
    assert!(!node.core.can_vote());
    // The store still has its old id, which the configuration names.
    node.core.persisted(node.now, write.expect("a write"));
    node.disk_works = true;
    node.run();
    let stored = node.log.load().unwrap();
    assert_ne!(stored.store_id, StoreId(1));
    assert_eq!(stored.state, StoreState::Incomplete);
    assert!(!node.core.can_vote());
}

#[test]
fn a_store_that_is_replaced_while_it_is_marked_as_complete_does_not_vote() {
    let mut cluster = cluster();
    put_disk(&mut cluster, "c", store(4));
    cluster.node("c").disk_works = true;
    cluster.settle();
    let c = cluster.node("c");
    c.core.store_completed(c.now);
    assert!(!c.core.can_vote(), "nothing was requested");
}

#[test]
fn a_peer_that_lost_acknowledged_entries_under_way_counts_no_longer() {
    let mut a = named("a", 1);
    a.lead();
    let last = a.propose("x").index;
    let term = a.core.term().0;
    a.step_from(&sender("b", 2), matched(term, last.0));
    let mismatch = |round| {
        appended(
            term,
            round,
            AppendResult::Mismatch {
                rejected: LogId::new(Term(term), last),
                hint: id(0, 1),
            },
        )
    };
    // A late response to a request from before.
    let round = a.core.peers()[&NodeId::from("b")].matched_in;
    a.step_from(&sender("b", 2), mismatch(round));
    assert_eq!(a.core.peers()[&NodeId::from("b")].matched, last);
    a.pass(HEARTBEAT);
    a.sent();
    a.step_from(&sender("b", 2), mismatch(round + 1));
    assert_eq!(a.core.peers()[&NodeId::from("b")].matched, Index::ZERO);
    assert_eq!(replaced_reports(&mut a).len(), 1);
}

// ----- histories -----

fn foreign(node: &Node, lineage: u128) -> PeerHello {
    let mut hello = node.hello();
    hello.history = History {
        lineage: Lineage(lineage),
        has_log: true,
    };
    hello
}

#[test]
fn messages_of_another_lineage_are_dropped() {
    let stores = |own: u128, id: &str, number: u64| {
        let config = CoreConfig {
            known_level: 1,
            new_lineage: Lineage(own),
            ..config(id, id)
        };
        Node::start(
            config,
            store(number),
            MemorySnapshots::new(),
            Duration::ZERO,
        )
    };
    let mut a = stores(10, "a", 1);
    a.run();
    a.pass(Duration::ZERO);
    assert_eq!(a.core.role(), Role::Leader);
    let before = (a.core.term(), a.core.log().last());
    let mut b = stores(20, "b", 2);
    b.run();
    b.pass(Duration::ZERO);
    let hello = foreign(&b, b.core.cluster().lineage.0);
    a.meet(&hello);
    a.step_from(&hello.sender(), append("b", 9, id(0, 1), &[9, 9, 9, 9], 5));
    a.step_from(
        &hello.sender(),
        vote_message(vote_request("b", 9, id(9, 9))),
    );
    assert_eq!((a.core.term(), a.core.log().last()), before);
    assert_eq!(a.core.fault(), None);
}

#[test]
fn a_stranger_with_the_name_of_a_peer_does_not_take_its_place() {
    let mut cluster = cluster();
    let real = cluster.node("b").hello();
    let a = cluster.node("a");
    let mut stranger = foreign(a, 21);
    stranger.id = "b".into();
    stranger.store_id = StoreId(99);
    a.meet(&stranger);
    a.sent();
    let term = a.core.term();
    let vote = vote_request("b", term.0 + 9, id(term.0 + 8, 9));
    let transfer = RequestVote {
        transfer: true,
        ..vote
    };
    a.step_from(&stranger.sender(), vote_message(transfer.clone()));
    assert_eq!((a.core.term(), a.sent()), (term, vec![]));
    // The peer itself still counts, on the connection that it had before.
    a.step_from(&real.sender(), vote_message(transfer));
    assert_eq!(a.core.term(), Term(term.0 + 9));
}

#[test]
fn a_leader_with_another_entry_at_a_committed_index_stops_the_node() {
    let mut b = Node::at("b", 1, &[1, 1, 1]);
    b.step("a", append("a", 1, id(1, 3), &[], 2));
    assert_eq!(b.core.log().committed(), Index(2));
    b.step("c", append("c", 2, id(1, 1), &[2, 2], 3));
    let expected = CoreFault::Conflict {
        ours: id(1, 2),
        theirs: id(2, 2),
        peer: "c".into(),
    };
    assert_eq!(b.core.fault(), Some(&expected));
    let text = expected.to_string();
    for part in ["node c", "2/2", "1/2", "Keep the data directories"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        b.stored(),
        [id(1, 1), id(1, 2), id(1, 3)],
        "nothing changed"
    );
    b.sent();
    b.pass(MAX * 3);
    b.step("a", append("a", 3, id(1, 3), &[3], 4));
    assert_eq!(b.sent(), [], "it does nothing more");
}

#[test]
fn a_leader_whose_previous_entry_contradicts_a_committed_one_stops_the_node() {
    let mut b = Node::at("b", 1, &[1, 1, 1]);
    b.step("a", append("a", 1, id(1, 3), &[], 3));
    b.step("c", append("c", 2, id(2, 3), &[], 3));
    assert!(matches!(b.core.fault(), Some(CoreFault::Conflict { .. })));
}

#[test]
fn a_snapshot_that_contradicts_a_committed_entry_stops_the_node() {
    let mut b = Node::at("b", 1, &[1, 1, 1]);
    b.step("a", append("a", 1, id(1, 3), &[], 3));
    let chunk = InstallSnapshot {
        term: Term(2),
        leader_id: "c".into(),
        meta: SnapshotMeta {
            last: id(2, 3),
            ..SnapshotMeta::default()
        },
        offset: 0,
        data: Bytes::new(),
    };
    b.step("c", Message::Request(RaftRequest::InstallSnapshot(chunk)));
    assert!(matches!(b.core.fault(), Some(CoreFault::Conflict { .. })));
}

#[test]
fn an_uncommitted_entry_is_replaced_as_before() {
    let mut b = Node::at("b", 1, &[1, 1, 1]);
    b.step("a", append("a", 1, id(1, 3), &[], 2));
    b.step("c", append("c", 2, id(1, 2), &[2], 3));
    assert_eq!(b.core.fault(), None);
    assert_eq!(b.core.log().last(), id(2, 3));
}
