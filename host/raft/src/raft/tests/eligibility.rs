//! Bootstrap of a new cluster, and rejoin of a node with an empty disk.

use super::kit::*;
use crate::ids::LogId;
use crate::message::*;
use crate::raft::membership::change::Change;
use crate::raft::membership::{MemberRole, Membership};
use crate::raft::voting::VotingStatus;
use crate::raft::*;
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::{LogStore, StoreState};

const ABC: &str = "a b c";

/// The id of a node's first store.
fn first_store(id: &str) -> u64 {
    id.bytes().map(u64::from).sum()
}

/// Nodes with new stores.
fn new_nodes(names: &str) -> Cluster {
    let node = |id: &str| new_node(id, names, first_store(id));
    Cluster::new(names.split(' ').map(node))
}

fn new_node(id: &str, names: &str, store_id: u64) -> Node {
    let log = MemoryStore::with_store_id(StoreId(store_id));
    Node::start(
        config(id, names),
        log,
        MemorySnapshots::new(),
        Duration::ZERO,
    )
}

/// A bootstrapped cluster, led by a, with one committed command.
fn bootstrapped(names: &str) -> Cluster {
    let mut cluster = new_nodes(names);
    cluster.pass(MAX * 2);
    assert_eq!(
        cluster.leaders(),
        ["a"],
        "the first initial member starts the bootstrap"
    );
    cluster.propose("a", "one");
    cluster
}

fn role(node: &Node, id: &str) -> MemberRole {
    node.core.membership().members()[&NodeId::from(id)].role
}

fn store_state(node: &mut Node) -> StoreState {
    node.log.load().unwrap().state
}

fn store_mismatches(node: &mut Node) -> usize {
    let sent = node.sent().into_iter();
    sent.filter(|(_, message)| matches!(message, Message::Response(RaftResponse::StoreMismatch(_))))
        .count()
}

// ----- bootstrap -----

#[test]
fn new_nodes_bootstrap_once_all_initial_members_are_reachable() {
    let mut cluster = new_nodes(ABC);
    cluster.cut_off("c");
    cluster.pass(MAX * 5);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    let missing = vec![NodeId::from("c")];
    assert_eq!(
        cluster.node("a").core.voting_status(),
        VotingStatus::Bootstrapping { missing }
    );
    cluster.heal();
    cluster.pass(MAX);
    assert_eq!(cluster.leaders(), ["a"]);
    for id in ["a", "b", "c"] {
        let node = cluster.node(id);
        assert_eq!(node.core.voting_status(), VotingStatus::Eligible, "{id}");
        assert_eq!(store_state(node), StoreState::Complete, "{id}");
        assert_eq!(
            node.core.membership().store_id(&id.into()),
            StoreId(first_store(id))
        );
        assert_eq!(node.stored()[0], super::kit::id(0, 1), "{id}");
    }
}

/// A node whose disk was empty has a disk with data by now.
#[test]
fn a_node_that_rules_out_a_bootstrap_after_it_was_empty_does_not_count_as_empty() {
    let mut a = new_node("a", ABC, 1);
    a.pass(HEARTBEAT);
    let sent = a.sent();
    let probe = sent.iter().find_map(|(_, message)| match message {
        Message::Request(RaftRequest::BootstrapProbe(probe)) => Some(probe.clone()),
        _ => None,
    });
    let run = probe.unwrap().run;
    let response = |store_id, verdict| {
        Message::Response(RaftResponse::BootstrapProbe(BootstrapProbeResponse {
            to_store_id: StoreId(1),
            to_run: run,
            store_id: StoreId(store_id),
            run: 7,
            verdict,
        }))
    };
    a.step("b", response(2, BootstrapVerdict::New));
    a.step("b", response(22, BootstrapVerdict::NotNew));
    a.step("c", response(3, BootstrapVerdict::New));
    assert_eq!(a.core.log().last(), LogId::default());
    a.step("b", response(23, BootstrapVerdict::New));
    assert_eq!(a.core.membership().store_id(&"b".into()), StoreId(23));
}

#[test]
fn a_new_single_node_bootstraps_alone() {
    let mut node = new_node("a", "a", 7);
    node.run();
    node.pass(Duration::ZERO);
    assert_eq!(node.core.role(), Role::Leader);
    assert_eq!(store_state(&mut node), StoreState::Complete);
}

#[test]
fn an_initial_member_can_not_vote_before_its_store_is_marked_complete() {
    let mut cluster = new_nodes(ABC);
    cluster.node("a").disk_works = false;
    cluster.pass(MAX * 3);
    assert!(!cluster.node("a").core.can_vote());
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    let b = cluster.node("b").core.voting_status();
    assert!(
        matches!(b, VotingStatus::Bootstrapping { .. }),
        "state that is not durable is not sent: {b:?}"
    );
    cluster.node("a").disk_works = true;
    cluster.pass(MAX * 3);
    assert_eq!(cluster.leaders().len(), 1);
}

#[test]
fn an_initial_member_that_missed_the_bootstrap_gets_it_from_any_other() {
    let mut cluster = new_nodes(ABC);
    // All nodes have reported that they are new. Then the first one stops while it sends the bootstrap configuration.
    cluster.now += HEARTBEAT;
    for id in ["a", "b", "c"] {
        let now = cluster.now;
        let node = cluster.node(id);
        node.now = now;
        node.core.tick(now);
        node.run();
    }
    cluster.settle();
    cluster.wipe("c", ABC, first_store("c"));
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    cluster.cut_off("a");
    cluster.pass(MAX * 4);
    assert_eq!(
        cluster.node("c").core.voting_status(),
        VotingStatus::Eligible,
        "b has sent it"
    );
    assert_eq!(cluster.leaders().len(), 1);
}

#[test]
fn nodes_with_different_initial_members_do_not_bootstrap_and_report_it() {
    let mut cluster = Cluster::new([new_node("a", "a b", 1), new_node("b", ABC, 2)]);
    cluster.nodes.insert("c".to_owned(), new_node("c", ABC, 3));
    cluster.pass(MAX * 4);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    let with = "b".into();
    assert_eq!(
        cluster.node("a").core.voting_status(),
        VotingStatus::BootstrapMismatch { with }
    );
}

#[test]
fn a_bootstrap_message_from_an_earlier_run_is_ignored() {
    let mut node = new_node("b", ABC, 2);
    node.pass(Duration::ZERO);
    let run = match &node.sent()[..] {
        [
            (_, Message::Request(RaftRequest::BootstrapProbe(request))),
            ..,
        ] => request.run,
        other => panic!("expected a bootstrap probe, got {other:?}"),
    };
    let bootstrap_message = |run, store_id| {
        let members = Membership::of_voters(&config("b", ABC).voters, &BTreeMap::new());
        let numbered = members.members().iter().map(|(id, member)| {
            let mut member = member.clone();
            member.store_id = StoreId(if *id == "b".into() { 2 } else { store_id });
            (id.clone(), member)
        });
        Message::Response(RaftResponse::BootstrapProbe(BootstrapProbeResponse {
            to_store_id: StoreId(2),
            to_run: run,
            store_id: StoreId(store_id),
            run: 9,
            verdict: BootstrapVerdict::Bootstrapped(Membership::new(numbered.collect())),
        }))
    };
    node.step("a", bootstrap_message(run.wrapping_add(1), 1));
    assert!(!node.core.can_vote(), "a response to an earlier run");
    let request = BootstrapProbe {
        store_id: StoreId(5),
        run: 1,
        initial_members: config("b", ABC).voters.into_iter().collect(),
        members_at: LogId::default(),
    };
    node.step("a", Message::Request(RaftRequest::BootstrapProbe(request)));
    node.step("a", bootstrap_message(run, 1));
    assert!(
        !node.core.can_vote(),
        "a bootstrap message by an earlier store of the first member"
    );
    node.step("a", bootstrap_message(run, 5));
    assert!(node.core.can_vote());
}

// ----- rejoin -----

#[test]
fn a_node_with_a_wiped_disk_does_not_vote() {
    let mut node = new_node("b", ABC, 2);
    for transfer in [false, true] {
        let request = RequestVote {
            transfer,
            ..vote_request("a", 5, id(4, 9))
        };
        node.step("a", vote_message(request.clone()));
        let pre_vote = RequestVote {
            pre_vote: true,
            ..request
        };
        node.step("a", vote_message(pre_vote));
    }
    let votes = node
        .sent()
        .into_iter()
        .filter(|(_, message)| matches!(message, Message::Response(RaftResponse::RequestVote(_))));
    assert_eq!(votes.count(), 0);
}

#[test]
fn a_node_with_a_wiped_disk_does_not_campaign_even_for_a_transfer() {
    let mut cluster = bootstrapped(ABC);
    cluster.wipe("b", ABC, 70);
    let term = cluster.node("a").core.term();
    cluster
        .node("b")
        .step("a", append("a", term.0, id(term.0, 3), &[], 0));
    let order = RaftRequest::TimeoutNow(TimeoutNow { term });
    cluster.node("b").step("a", Message::Request(order));
    assert_eq!(cluster.node("b").core.role(), Role::Follower);
}

#[test]
fn a_wiped_node_acknowledges_nothing_to_a_leader_that_expects_its_former_store() {
    // Its former store may have elected a newer leader, and now it would confirm this one.
    let mut node = new_node("b", ABC, 2);
    node.step("a", append("a", 3, id(0, 0), &[1, 2, 3], 3));
    assert_eq!(node.stored(), []);
    assert_eq!(store_mismatches(&mut node), 1);
    node.step("a", append("a", 3, id(3, 3), &[], 3));
    assert_eq!(store_mismatches(&mut node), 1);
    let welcome = |term| {
        Message::Request(RaftRequest::RejoinGranted(RejoinGranted {
            term: Term(term),
            store_id: StoreId(2),
        }))
    };
    node.step("a", welcome(3));
    node.step("a", append("a", 3, id(0, 0), &[1, 2, 3], 3));
    assert_eq!(
        node.append_response_sent().result,
        AppendResult::Matched(Index(3))
    );
    node.step("c", append("c", 4, id(3, 3), &[4], 3));
    assert_eq!(
        store_mismatches(&mut node),
        1,
        "another leader checks its store again"
    );
}

#[test]
fn a_wiped_node_rejoins_as_a_learner_and_becomes_a_voter_again_by_itself() {
    let mut cluster = bootstrapped(ABC);
    cluster.wipe("b", ABC, 70);
    cluster.pass(MAX * 2);
    let memberships = cluster.node("a").log.load().unwrap().memberships;
    let way = memberships
        .iter()
        .map(|(_, membership)| membership.members()[&NodeId::from("b")].role);
    assert_eq!(
        way.collect::<Vec<_>>(),
        [
            MemberRole::Voter,
            MemberRole::Rejoining,
            MemberRole::Incoming,
            MemberRole::Voter
        ]
    );
    for id in ["a", "b", "c"] {
        let node = cluster.node(id);
        assert_eq!(role(node, "b"), MemberRole::Voter, "{id}");
        assert_eq!(
            node.core.membership().store_id(&"b".into()),
            StoreId(70),
            "{id}"
        );
    }
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    assert_eq!(store_state(cluster.node("b")), StoreState::Complete);
    cluster.cut_off("c");
    let made = cluster.propose("a", "two");
    assert_eq!(
        cluster.node("a").core.log().committed(),
        made.index,
        "it counts as a voter again"
    );
}

#[test]
fn a_leader_with_a_wiped_disk_rejoins_under_another_leader() {
    let mut cluster = bootstrapped(ABC);
    let last = cluster.node("a").core.log().last();
    cluster.wipe("a", ABC, 70);
    cluster.pass(MAX * 4);
    assert_eq!(cluster.leaders().len(), 1);
    assert_ne!(cluster.leaders(), ["a"]);
    assert_eq!(
        cluster.node("a").core.voting_status(),
        VotingStatus::Eligible
    );
    assert!(cluster.node("a").core.log().holds(last));
}

#[test]
fn every_disk_of_a_cluster_can_be_replaced_one_after_another() {
    let mut cluster = bootstrapped("a b c d e");
    let made = cluster.node("a").core.log().last();
    for (round, id) in ["a", "c", "b", "e", "d", "a"].iter().enumerate() {
        cluster.wipe(id, "a b c d e", 1000 + round as u64);
        cluster.pass(MAX * 5);
        assert_eq!(
            cluster.node(id).core.voting_status(),
            VotingStatus::Eligible,
            "{id} in round {round}"
        );
        assert!(cluster.node(id).core.log().holds(made), "{id}");
    }
    for id in ["a", "b", "c", "d", "e"] {
        cluster.restart(id, "a b c d e");
    }
    cluster.pass(MAX * 4);
    assert_eq!(cluster.leaders().len(), 1, "all nodes can vote");
}

#[test]
fn a_node_that_is_wiped_again_while_it_rejoins_starts_over() {
    let mut cluster = bootstrapped(ABC);
    cluster.wipe("b", ABC, 70);
    cluster.pass(HEARTBEAT);
    cluster.wipe("b", ABC, 71);
    cluster.pass(MAX * 3);
    let b = NodeId::from("b");
    assert_eq!(
        cluster.node("a").core.membership().store_id(&b),
        StoreId(71)
    );
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    cluster.wipe("b", ABC, 72);
    cluster.pass(MAX * 3);
    assert_eq!(
        cluster.node("a").core.membership().store_id(&b),
        StoreId(72)
    );
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
}

#[test]
fn a_late_message_from_a_replaced_store_does_not_stop_the_rejoin() {
    let mut cluster = bootstrapped(ABC);
    cluster.cut_off("c");
    cluster.wipe("b", ABC, 71);
    cluster.pass(HEARTBEAT * 2);
    assert_eq!(role(cluster.node("b"), "b"), MemberRole::Rejoining);
    // A delayed message of the previous store, which was wiped too.
    let late = StoreMismatch {
        term: cluster.node("a").core.term(),
        store_id: StoreId(70),
    };
    let late = Message::Response(RaftResponse::StoreMismatch(late));
    cluster.node("a").step("b", late);
    cluster.heal();
    cluster.pass(MAX * 3);
    let b = NodeId::from("b");
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    assert_eq!(
        cluster.node("a").core.membership().store_id(&b),
        StoreId(71)
    );
    assert_eq!(cluster.leaders(), ["a"], "no other node had to take over");
}

#[test]
fn a_wiped_node_that_restarts_while_it_rejoins_continues() {
    let mut cluster = bootstrapped(ABC);
    cluster.cut_off("c");
    cluster.wipe("b", ABC, 70);
    cluster.pass(HEARTBEAT * 2);
    assert_eq!(role(cluster.node("b"), "b"), MemberRole::Rejoining);
    assert!(
        cluster.node("a").core.log().committed() < cluster.node("a").core.membership_index(),
        "it does not count for its own rejoin"
    );
    cluster.restart("b", ABC);
    cluster.heal();
    cluster.pass(MAX * 3);
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    let b = NodeId::from("b");
    assert_eq!(
        cluster.node("a").core.membership().store_id(&b),
        StoreId(70)
    );
}

#[test]
fn a_new_voter_that_missed_the_end_of_the_change_gets_it_from_any_other() {
    let mut cluster = bootstrapped(ABC);
    cluster.wipe("c", ABC, 70);
    cluster.pass(MAX * 2);
    let c = cluster.node("c");
    let joint = c.log.load().unwrap().memberships;
    let (joint, settled) = (joint[2].0, joint[3].0);
    // As if it and the leader had stopped right after it got the joint configuration.
    let log = MemoryStore::with_store_id(StoreId(70));
    let batch = WriteBatch {
        entries: c.log.read(Index(1), joint, u64::MAX).unwrap(),
        ..WriteBatch::default()
    };
    log.clone().write(&batch).unwrap();
    assert!(cluster.node("b").core.log().last().index >= settled);
    let now = cluster.now;
    let node = Node::start(config("c", ABC), log, MemorySnapshots::new(), now);
    assert!(!node.core.can_vote());
    cluster.nodes.insert("c".to_owned(), node);
    cluster.cut_off("a");
    cluster.pass(MAX * 4);
    assert_eq!(
        cluster.node("c").core.voting_status(),
        VotingStatus::Eligible
    );
    assert!(cluster.leaders().iter().any(|leader| *leader != "a"));
}

#[test]
fn a_late_acknowledgement_of_the_former_store_does_not_stop_the_catch_up() {
    let mut cluster = bootstrapped(ABC);
    let last = cluster.node("a").core.log().last().index;
    cluster.wipe("b", ABC, 70);
    // The leader has the new store id when the response of the former store arrives.
    let term = cluster.node("a").core.term();
    let store_mismatches = RaftResponse::StoreMismatch(StoreMismatch {
        term,
        store_id: StoreId(70),
    });
    cluster
        .node("a")
        .step("b", Message::Response(store_mismatches));
    cluster.node("a").step("b", matched(term.0, last.0));
    cluster.pass(MAX * 2);
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
}

#[test]
fn a_learner_with_a_wiped_disk_stays_a_learner() {
    let mut cluster = bootstrapped(ABC);
    cluster.wipe("d", "", 4);
    let add = Change::AddLearner {
        id: "d".into(),
        address: "d.example:7101".to_owned(),
    };
    cluster.change("a", &add).unwrap();
    cluster.pass(MAX);
    let last = cluster.node("a").core.log().last();
    assert_eq!(cluster.node("d").core.log().last(), last);
    cluster.wipe("d", "", 5);
    cluster.pass(MAX);
    assert_eq!(cluster.node("d").core.log().last(), last);
    assert_eq!(role(cluster.node("a"), "d"), MemberRole::Learner);
    let promote = Change::Promote { id: "d".into() };
    cluster.change("a", &promote).unwrap();
    cluster.pass(HEARTBEAT * 2);
    assert_eq!(
        cluster.node("d").core.voting_status(),
        VotingStatus::Eligible
    );
    let d = NodeId::from("d");
    assert_eq!(cluster.node("a").core.membership().store_id(&d), StoreId(5));
}

#[test]
fn a_wiped_node_of_a_cluster_without_store_ids_rejoins() {
    // Stores of earlier versions have no id.
    let mut cluster = Cluster::of(ABC);
    cluster.elect("a");
    cluster.propose("a", "one");
    cluster.wipe("b", ABC, 70);
    cluster.pass(MAX * 2);
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    assert_eq!(role(cluster.node("a"), "b"), MemberRole::Voter);
}

#[test]
fn a_wiped_node_can_catch_up_by_snapshot() {
    let mut cluster = bootstrapped(ABC);
    cluster.node("a").core.take_snapshot();
    cluster.settle();
    for _ in 0..600 {
        cluster.propose("a", "many");
    }
    assert!(cluster.node("a").core.log().purged().index > Index(1));
    cluster.wipe("c", ABC, 70);
    cluster.pass(MAX * 3);
    assert_eq!(
        cluster.node("c").core.voting_status(),
        VotingStatus::Eligible
    );
    assert!(!cluster.node("c").restored.is_empty());
}

#[test]
fn a_node_whose_original_disk_is_restored_is_a_voter_again() {
    let mut cluster = bootstrapped(ABC);
    let (log, snapshots) = {
        let b = cluster.node("b");
        (b.log.clone(), b.snapshots.clone())
    };
    cluster.wipe("b", ABC, 70);
    cluster.now += HEARTBEAT;
    cluster.pass(HEARTBEAT);
    let now = cluster.now;
    let node = Node::start(config("b", ABC), log, snapshots, now);
    cluster.nodes.insert("b".to_owned(), node);
    cluster.pass(MAX * 2);
    assert_eq!(role(cluster.node("a"), "b"), MemberRole::Voter);
}

// ----- quorum lost -----

#[test]
fn a_majority_with_wiped_disks_does_not_bootstrap_and_the_rest_names_the_voters_without_data() {
    let mut cluster = bootstrapped(ABC);
    cluster.cut_off("a");
    cluster.pass(MAX * 2);
    cluster.wipe("b", ABC, 70);
    cluster.wipe("c", ABC, 71);
    cluster.heal();
    cluster.pass(MAX * 6);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    for id in ["b", "c"] {
        assert_eq!(
            cluster.node(id).core.voting_status(),
            VotingStatus::Rejoining,
            "{id}"
        );
        assert_eq!(cluster.node(id).stored(), [], "{id}");
    }
    let lost: Vec<NodeId> = vec!["b".into(), "c".into()];
    assert_eq!(cluster.node("a").core.voters_without_data(), lost);
}

#[test]
fn a_majority_with_wiped_disks_does_not_bootstrap_while_the_rest_is_unreachable() {
    let mut cluster = bootstrapped(ABC);
    cluster.wipe("a", ABC, 70);
    cluster.wipe("b", ABC, 71);
    cluster.cut_off("c");
    cluster.pass(MAX * 10);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    let missing = vec![NodeId::from("c")];
    assert_eq!(
        cluster.node("a").core.voting_status(),
        VotingStatus::Bootstrapping { missing }
    );
}

#[test]
fn a_store_that_replaced_a_corrupt_one_does_not_bootstrap() {
    let mut cluster = new_nodes(ABC);
    let log = MemoryStore::with_store_id(StoreId(70));
    log.set_state(StoreState::Incomplete);
    let b = Node::start(
        config("b", ABC),
        log,
        MemorySnapshots::new(),
        Duration::ZERO,
    );
    cluster.nodes.insert("b".to_owned(), b);
    cluster.pass(MAX * 5);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    assert_eq!(
        cluster.node("a").core.voting_status(),
        VotingStatus::Rejoining,
        "b is not new"
    );
}
