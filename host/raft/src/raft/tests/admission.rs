//! Stores without a memory: founding a cluster, and coming back with an empty disk (`raft/admission.rs`).

use super::kit::*;
use crate::message::*;
use crate::raft::admission::VotingStatus;
use crate::raft::membership::{Change, MemberRole, Membership};
use crate::raft::*;
use crate::storage::memory::{MemorySnapshots, MemoryStore};
use crate::storage::{LogStore, StoreState};

const ABC: &str = "a b c";

/// The number of a node's first store.
fn first_store(id: &str) -> u64 {
    id.bytes().map(u64::from).sum()
}

/// Nodes whose stores are new.
fn newborns(names: &str) -> Cluster {
    let node = |id: &str| newborn(id, names, first_store(id));
    Cluster::new(names.split(' ').map(node))
}

fn newborn(id: &str, names: &str, store_id: u64) -> Node {
    let log = MemoryStore::with_store_id(store_id);
    Node::start(
        config(id, names),
        log,
        MemorySnapshots::new(),
        Duration::ZERO,
    )
}

/// A cluster that has founded itself, led by a, with a command committed.
fn founded(names: &str) -> Cluster {
    let mut cluster = newborns(names);
    cluster.pass(MAX * 2);
    assert_eq!(cluster.leaders(), ["a"], "the first founder begins");
    cluster.propose("a", "one");
    cluster
}

fn role(node: &Node, id: &str) -> MemberRole {
    node.core.membership().members()[&NodeId::from(id)].role
}

fn store_state(node: &mut Node) -> StoreState {
    node.log.load().unwrap().state
}

fn unadmitted(node: &mut Node) -> usize {
    let sent = node.sent().into_iter();
    sent.filter(|(_, message)| matches!(message, Message::Response(RaftResponse::StoreMismatch(_))))
        .count()
}

// ----- founding -----

#[test]
fn new_nodes_found_a_cluster_once_all_of_them_are_there() {
    let mut cluster = newborns(ABC);
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
        assert_eq!(node.core.membership().store_id(&id.into()), first_store(id));
        assert_eq!(node.stored()[0], super::kit::id(0, 1), "{id}");
    }
}

#[test]
fn a_new_node_alone_needs_nobody() {
    let mut node = newborn("a", "a", 7);
    node.run();
    node.pass(Duration::ZERO);
    assert_eq!(node.core.role(), Role::Leader);
    assert_eq!(store_state(&mut node), StoreState::Complete);
}

#[test]
fn a_founder_has_no_say_before_its_store_has_noted_it() {
    let mut cluster = newborns(ABC);
    cluster.node("a").disk_works = false;
    cluster.pass(MAX * 3);
    assert!(!cluster.node("a").core.can_vote());
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    let b = cluster.node("b").core.voting_status();
    assert!(
        matches!(b, VotingStatus::Bootstrapping { .. }),
        "what is not durable is not handed on: {b:?}"
    );
    cluster.node("a").disk_works = true;
    cluster.pass(MAX * 3);
    assert_eq!(cluster.leaders().len(), 1);
}

#[test]
fn a_founder_that_was_absent_when_the_others_took_it_in_gets_the_founding_from_any_of_them() {
    let mut cluster = newborns(ABC);
    // All have said that they are new when the first founder stops in the middle of telling.
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
        "b has told it"
    );
    assert_eq!(cluster.leaders().len(), 1);
}

#[test]
fn founders_that_were_told_of_other_founders_found_nothing_and_say_so() {
    let mut cluster = Cluster::new([newborn("a", "a b", 1), newborn("b", ABC, 2)]);
    cluster.nodes.insert("c".to_owned(), newborn("c", ABC, 3));
    cluster.pass(MAX * 4);
    assert_eq!(cluster.leaders(), Vec::<&str>::new());
    let with = "b".into();
    assert_eq!(
        cluster.node("a").core.voting_status(),
        VotingStatus::BootstrapMismatch { with }
    );
}

#[test]
fn a_founding_of_a_former_run_is_not_taken_in() {
    let mut node = newborn("b", ABC, 2);
    node.pass(Duration::ZERO);
    let run = match &node.sent()[..] {
        [
            (_, Message::Request(RaftRequest::BootstrapProbe(question))),
            ..,
        ] => question.run,
        other => panic!("a question was expected, not {other:?}"),
    };
    let founding = |run, store_id| {
        let members = Membership::of_voters(&config("b", ABC).voters, &BTreeMap::new());
        let numbered = members.members().iter().map(|(id, member)| {
            let mut member = member.clone();
            member.store_id = if *id == "b".into() { 2 } else { store_id };
            (id.clone(), member)
        });
        Message::Response(RaftResponse::BootstrapProbe(BootstrapProbeResponse {
            to_store_id: 2,
            to_run: run,
            store_id,
            run: 9,
            verdict: BootstrapVerdict::Bootstrapped(Membership::new(numbered.collect())),
        }))
    };
    node.step("a", founding(run.wrapping_add(1), 1));
    assert!(!node.core.can_vote(), "an answer to another run");
    let question = BootstrapProbe {
        store_id: 5,
        run: 1,
        initial_members: config("b", ABC).voters.into_iter().collect(),
        members_at: LogId::default(),
    };
    node.step("a", Message::Request(RaftRequest::BootstrapProbe(question)));
    node.step("a", founding(run, 1));
    assert!(
        !node.core.can_vote(),
        "a founding by the store that the first founder had before"
    );
    node.step("a", founding(run, 5));
    assert!(node.core.can_vote());
}

// ----- coming back -----

#[test]
fn a_node_with_a_wiped_disk_gives_no_vote() {
    let mut node = newborn("b", ABC, 2);
    for transfer in [false, true] {
        let request = RequestVote {
            transfer,
            ..vote_request("a", 5, id(4, 9))
        };
        node.step("a", ask(request.clone()));
        let pre_vote = RequestVote {
            pre_vote: true,
            ..request
        };
        node.step("a", ask(pre_vote));
    }
    let votes = node
        .sent()
        .into_iter()
        .filter(|(_, message)| matches!(message, Message::Response(RaftResponse::RequestVote(_))));
    assert_eq!(votes.count(), 0);
}

#[test]
fn a_node_with_a_wiped_disk_does_not_campaign_though_the_leader_orders_it() {
    let mut cluster = founded(ABC);
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
fn a_wiped_node_acknowledges_nothing_to_a_leader_that_counts_its_former_self() {
    // It may have helped to depose this leader, and would now confirm it.
    let mut node = newborn("b", ABC, 2);
    node.step("a", append("a", 3, id(0, 0), &[1, 2, 3], 3));
    assert_eq!(node.stored(), []);
    assert_eq!(unadmitted(&mut node), 1);
    node.step("a", append("a", 3, id(3, 3), &[], 3));
    assert_eq!(unadmitted(&mut node), 1);
    let welcome = |term| {
        Message::Request(RaftRequest::RejoinGranted(RejoinGranted {
            term: Term(term),
            store_id: 2,
        }))
    };
    node.step("a", welcome(3));
    node.step("a", append("a", 3, id(0, 0), &[1, 2, 3], 3));
    assert_eq!(node.append_answer().result, AppendResult::Matched(Index(3)));
    node.step("c", append("c", 4, id(3, 3), &[4], 3));
    assert_eq!(unadmitted(&mut node), 1, "another leader counts anew");
}

#[test]
fn a_wiped_node_comes_back_as_a_learner_and_is_a_voter_again_by_itself() {
    let mut cluster = founded(ABC);
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
        assert_eq!(node.core.membership().store_id(&"b".into()), 70, "{id}");
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
        "it counts again"
    );
}

#[test]
fn a_leader_with_a_wiped_disk_comes_back_under_another_one() {
    let mut cluster = founded(ABC);
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
fn every_disk_of_a_cluster_may_be_replaced_one_after_the_other() {
    let mut cluster = founded("a b c d e");
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
    assert_eq!(cluster.leaders().len(), 1, "all have kept their say");
}

#[test]
fn a_node_that_is_wiped_again_on_its_way_back_begins_again() {
    let mut cluster = founded(ABC);
    cluster.wipe("b", ABC, 70);
    cluster.pass(HEARTBEAT);
    cluster.wipe("b", ABC, 71);
    cluster.pass(MAX * 3);
    let b = NodeId::from("b");
    assert_eq!(cluster.node("a").core.membership().store_id(&b), 71);
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    cluster.wipe("b", ABC, 72);
    cluster.pass(MAX * 3);
    assert_eq!(cluster.node("a").core.membership().store_id(&b), 72);
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
}

#[test]
fn a_late_word_of_a_store_that_is_gone_keeps_no_node_from_its_say() {
    let mut cluster = founded(ABC);
    cluster.cut_off("c");
    cluster.wipe("b", ABC, 71);
    cluster.pass(HEARTBEAT * 2);
    assert_eq!(role(cluster.node("b"), "b"), MemberRole::Rejoining);
    // From the store before this one, which was wiped in turn; the network had kept it.
    let late = StoreMismatch {
        term: cluster.node("a").core.term(),
        store_id: 70,
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
    assert_eq!(cluster.node("a").core.membership().store_id(&b), 71);
    assert_eq!(cluster.leaders(), ["a"], "nobody had to lead instead");
}

#[test]
fn a_wiped_node_that_restarts_on_its_way_back_goes_on() {
    let mut cluster = founded(ABC);
    cluster.cut_off("c");
    cluster.wipe("b", ABC, 70);
    cluster.pass(HEARTBEAT * 2);
    assert_eq!(role(cluster.node("b"), "b"), MemberRole::Rejoining);
    assert!(
        cluster.node("a").core.log().committed() < cluster.node("a").core.membership_index(),
        "it does not count towards its own way back"
    );
    cluster.restart("b", ABC);
    cluster.heal();
    cluster.pass(MAX * 3);
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
    let b = NodeId::from("b");
    assert_eq!(cluster.node("a").core.membership().store_id(&b), 70);
}

#[test]
fn a_new_voter_that_missed_the_end_of_the_change_hears_of_it_from_any_other() {
    let mut cluster = founded(ABC);
    cluster.wipe("c", ABC, 70);
    cluster.pass(MAX * 2);
    let c = cluster.node("c");
    let joint = c.log.load().unwrap().memberships;
    let (joint, settled) = (joint[2].0, joint[3].0);
    // As if it had stopped when it had the joint configuration and no more, and the leader with it.
    let log = MemoryStore::with_store_id(70);
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
fn what_the_former_store_has_acknowledged_and_comes_late_does_not_keep_a_node_from_catching_up() {
    let mut cluster = founded(ABC);
    let last = cluster.node("a").core.log().last().index;
    cluster.wipe("b", ABC, 70);
    // The leader has heard of the new store when the former one's answer comes.
    let term = cluster.node("a").core.term();
    let unadmitted = RaftResponse::StoreMismatch(StoreMismatch { term, store_id: 70 });
    cluster.node("a").step("b", Message::Response(unadmitted));
    cluster.node("a").step("b", matched(term.0, last.0));
    cluster.pass(MAX * 2);
    assert_eq!(
        cluster.node("b").core.voting_status(),
        VotingStatus::Eligible
    );
}

#[test]
fn a_learner_with_a_wiped_disk_stays_a_learner() {
    let mut cluster = founded(ABC);
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
    assert_eq!(cluster.node("a").core.membership().store_id(&d), 5);
}

#[test]
fn a_wiped_node_of_a_cluster_without_numbers_comes_back_as_well() {
    // Stores that were made by an earlier version have none.
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
fn a_wiped_node_gets_what_it_missed_by_a_snapshot_too() {
    let mut cluster = founded(ABC);
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
fn a_disk_that_is_put_back_makes_its_node_a_voter_again() {
    let mut cluster = founded(ABC);
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

// ----- too many -----

#[test]
fn a_majority_with_wiped_disks_founds_nothing_and_the_rest_says_who_is_lost() {
    let mut cluster = founded(ABC);
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
fn a_majority_with_wiped_disks_founds_nothing_while_the_rest_is_away() {
    let mut cluster = founded(ABC);
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
fn a_store_made_in_place_of_a_damaged_one_founds_nothing() {
    let mut cluster = newborns(ABC);
    let log = MemoryStore::with_store_id(70);
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
