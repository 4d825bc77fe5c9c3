//! Changes of the members: Raft paper §6, dissertation §4.

use super::kit::*;
use crate::entry::Payload;
use crate::message::*;
use crate::raft::membership::change::{Change, ChangeError, ChangeProgress};
use crate::raft::*;

fn address(id: &str) -> String {
    format!("{id}.example:7101")
}

fn learner(id: &str) -> Change {
    Change::AddLearner {
        id: id.into(),
        address: address(id),
    }
}

fn promote(id: &str) -> Change {
    Change::Promote { id: id.into() }
}

fn remove(id: &str) -> Change {
    Change::Remove { id: id.into() }
}

fn voters(node: &Node) -> Vec<&str> {
    node.core
        .membership()
        .voters()
        .map(NodeId::as_str)
        .collect()
}

/// a leads a, b, c and has committed a command.
fn led() -> Cluster {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.propose("a", "one");
    cluster
}

/// As [`led`], with the learner d, which has caught up.
fn with_learner() -> Cluster {
    let mut cluster = led();
    cluster.join("d");
    cluster.change("a", &learner("d")).unwrap();
    cluster.settle();
    cluster
}

#[test]
fn a_learner_gets_the_log_and_does_not_count_for_the_majority() {
    let mut cluster = with_learner();
    assert_eq!(
        cluster.node("d").core.log().last(),
        cluster.node("a").core.log().last()
    );
    assert_eq!(voters(cluster.node("a")), ["a", "b", "c"]);
    cluster.cut_off("b");
    cluster.cut_off("c");
    let made = cluster.propose("a", "two");
    assert_eq!(cluster.node("d").core.log().last(), made);
    assert!(cluster.node("a").core.log().committed() < made.index);
}

#[test]
fn a_learner_never_campaigns() {
    let mut cluster = with_learner();
    cluster.cut_off("d");
    let term = cluster.node("d").core.term();
    cluster.pass(MAX * 5);
    let learner = cluster.node("d");
    assert_eq!(
        (learner.core.term(), learner.core.role()),
        (term, Role::Follower)
    );
}

#[test]
fn a_node_that_is_not_added_yet_does_nothing_by_itself() {
    let mut node = Node::with(config("d", ""), HardState::default(), &[]);
    node.pass(MAX * 10);
    assert_eq!((node.core.term(), node.sent()), (Term(0), vec![]));
}

#[test]
fn a_learner_becomes_a_voter_with_both_majorities() {
    let mut cluster = with_learner();
    let before = cluster.node("a").core.log().last().index;
    cluster.change("a", &promote("d")).unwrap();
    assert_eq!(
        cluster.node("a").core.log().last().index.0,
        before.0 + 2,
        "joint, then settled"
    );
    for id in ["a", "b", "c", "d"] {
        let node = cluster.node(id);
        assert_eq!(voters(node), ["a", "b", "c", "d"], "{id}");
        assert!(!node.core.membership().is_joint());
    }
    cluster.cut_off("b");
    let three = cluster.propose("a", "two");
    assert_eq!(cluster.node("a").core.log().committed(), three.index);
    cluster.cut_off("c");
    let two = cluster.propose("a", "three");
    assert!(
        cluster.node("a").core.log().committed() < two.index,
        "two of four are not a majority"
    );
}

#[test]
fn a_learner_that_lags_is_not_promoted_and_the_error_names_its_lag() {
    let mut cluster = led();
    cluster.node("a").change(&learner("d")).unwrap();
    cluster.join("d");
    cluster.cut_off("d");
    cluster.settle();
    let behind = cluster.node("a").core.log().committed().0;
    let node = "d".into();
    assert_eq!(
        cluster.node("a").change(&promote("d")),
        Err(ChangeError::NotCaughtUp { node, behind })
    );
    cluster.heal();
    cluster.pass(HEARTBEAT);
    assert!(cluster.change("a", &promote("d")).is_ok());
}

#[test]
fn a_configuration_is_active_once_it_is_appended_until_it_is_truncated() {
    let mut cluster = led();
    cluster.cut_off("a");
    cluster.node("a").change(&remove("c")).unwrap();
    assert!(cluster.node("a").core.membership().is_joint());
    cluster.elect("b");
    cluster.heal();
    cluster.pass(MIN);
    let old = cluster.node("a");
    assert_eq!(
        (voters(old), old.core.membership().is_joint()),
        (vec!["a", "b", "c"], false)
    );
    assert_eq!(cluster.leaders(), ["b"]);
}

#[test]
fn a_second_change_is_refused_while_one_is_in_progress() {
    let mut cluster = led();
    cluster.cut_off("b");
    cluster.cut_off("c");
    assert_eq!(
        cluster.node("a").change(&remove("c")),
        Ok(ChangeProgress::InProgress)
    );
    assert_eq!(
        cluster.node("a").change(&remove("b")),
        Err(ChangeError::Busy)
    );
    assert_eq!(
        cluster.node("a").change(&remove("c")),
        Ok(ChangeProgress::InProgress),
        "the same one"
    );
}

#[test]
fn a_new_leader_refuses_changes_until_it_has_committed_in_its_term() {
    let mut node = Node::new("a");
    node.elect();
    assert_eq!(node.change(&learner("d")), Err(ChangeError::Busy));
    node.step("b", matched(1, 1));
    assert_eq!(node.change(&learner("d")), Ok(ChangeProgress::InProgress));
}

#[test]
fn only_a_leader_changes_the_members() {
    let mut node = Node::new("a");
    assert_eq!(node.change(&remove("b")), Err(ChangeError::NotLeader));
}

#[test]
fn a_leader_that_is_removed_leads_until_that_is_committed_and_then_steps_down() {
    let mut cluster = led();
    cluster.node("a").change(&remove("a")).unwrap();
    assert_eq!(cluster.leaders(), ["a"]);
    cluster.settle();
    assert_eq!(
        cluster.leaders().len(),
        1,
        "it sent TimeoutNow to another voter"
    );
    assert_ne!(cluster.leaders(), ["a"]);
    let leader = cluster.leaders()[0].to_owned();
    assert_eq!(voters(cluster.node(&leader)), ["b", "c"]);
    let made = cluster.propose(&leader, "after");
    assert_eq!(cluster.node(&leader).core.log().committed(), made.index);
}

#[test]
fn a_removed_node_that_knows_of_it_does_not_disturb_the_cluster() {
    let mut cluster = led();
    cluster.change("a", &remove("c")).unwrap();
    cluster.pass(HEARTBEAT);
    assert!(!cluster.node("c").core.membership().contains(&"c".into()));
    assert!(
        !cluster
            .node("a")
            .core
            .peers()
            .contains_key(&NodeId::from("c"))
    );
    let term = cluster.node("a").core.term();
    cluster.pass(MAX * 6);
    assert_eq!(
        (cluster.node("a").core.term(), cluster.leaders()),
        (term, vec!["a"])
    );
}

#[test]
fn a_removed_node_that_does_not_know_of_it_does_not_disturb_the_cluster() {
    let mut cluster = led();
    cluster.cut_off("c");
    cluster.change("a", &remove("c")).unwrap();
    cluster.pass(MAX * 3);
    assert!(
        !cluster
            .node("a")
            .core
            .peers()
            .contains_key(&NodeId::from("c")),
        "it had time to campaign"
    );
    cluster.heal();
    let term = cluster.node("a").core.term();
    cluster.pass(MAX * 6);
    assert_eq!(
        (cluster.node("a").core.term(), cluster.leaders()),
        (term, vec!["a"])
    );
}

#[test]
fn a_dead_node_is_replaced_with_one_change() {
    let mut cluster = led();
    cluster.cut_off("c");
    cluster.join("d");
    let replace = Change::Replace {
        old: "c".into(),
        new: "d".into(),
        address: address("d"),
    };
    cluster.change("a", &replace).unwrap();
    assert_eq!(voters(cluster.node("d")), ["a", "b", "d"]);
    assert!(!cluster.node("a").core.membership().is_joint());
}

#[test]
fn a_new_leader_completes_the_change_of_its_predecessor() {
    let mut cluster = with_learner();
    cluster.node("a").change(&promote("d")).unwrap();
    // All nodes get the joint entry, and the leader stops before it is committed.
    let sent = cluster.node("a").sent();
    cluster.cut_off("a");
    for (to, message) in sent {
        cluster.node(to.as_str()).step("a", message);
    }
    cluster.elect("b");
    assert!(!cluster.node("b").core.membership().is_joint());
    assert_eq!(voters(cluster.node("c")), ["a", "b", "c", "d"]);
}

#[test]
fn during_a_change_one_of_the_two_majorities_can_not_elect_a_leader() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    for id in ["d", "e"] {
        cluster.join(id);
        cluster.change("a", &learner(id)).unwrap();
    }
    cluster.settle();
    let seat = |voter| membership::change::MemberSpec {
        address: String::new(),
        voter,
    };
    let target = ["a", "d", "e"]
        .map(|id| (NodeId::from(id), seat(true)))
        .into();
    cluster.node("a").change(&Change::Set(target)).unwrap();
    let sent = cluster.node("a").sent();
    for (to, message) in sent {
        cluster.node(to.as_str()).step("a", message);
    }
    // d and e are a majority of the new voters, b and c of the old ones: neither is enough alone.
    for id in ["a", "b", "c"] {
        cluster.cut_off(id);
    }
    cluster.pass(MAX * 4);
    assert_eq!(cluster.nodes["d"].core.role(), Role::PreCandidate);
    cluster.heal();
    cluster.cut_off("a");
    cluster.pass(MAX * 8);
    assert_eq!(
        cluster
            .leaders()
            .iter()
            .filter(|leader| **leader != "a")
            .count(),
        1
    );
}

#[test]
fn a_node_that_restarts_reads_the_members_from_its_log_and_its_snapshot() {
    let mut cluster = with_learner();
    cluster.change("a", &promote("d")).unwrap();
    cluster.change("a", &remove("b")).unwrap();
    let (log, snapshots) = (
        cluster.node("a").log.clone(),
        cluster.node("a").snapshots.clone(),
    );
    let again = Node::start(config("a", "a b c"), log, snapshots, Duration::ZERO);
    assert_eq!(voters(&again), ["a", "c", "d"]);

    cluster.node("a").core.take_snapshot();
    cluster.settle();
    let snapshots = cluster.node("a").snapshots.clone();
    let empty = crate::storage::memory::MemoryStore::new();
    let again = Node::start(config("a", "a b c"), empty, snapshots, Duration::ZERO);
    assert_eq!(voters(&again), ["a", "c", "d"], "from the snapshot alone");
}

#[test]
fn a_new_node_gets_the_members_from_a_snapshot() {
    let mut settings = config("a", "a b c");
    settings.snapshot_threshold = 5;
    settings.max_log_entries = 8;
    let others = ["b", "c"].map(|id| CoreConfig {
        id: id.into(),
        ..settings.clone()
    });
    let all = others.into_iter().chain([settings]);
    let mut cluster = Cluster::new(all.map(|c| Node::with(c, HardState::default(), &[])));
    cluster.elect("a");
    cluster.join("d");
    cluster.cut_off("d");
    cluster.change("a", &learner("d")).unwrap();
    for _ in 0..20 {
        cluster.propose("a", "more");
    }
    cluster.heal();
    cluster.pass(MIN + HEARTBEAT);
    let joined = cluster.node("d");
    assert_eq!(joined.restored.len(), 1);
    assert_eq!(voters(joined), ["a", "b", "c"]);
    assert!(joined.core.membership().contains(&"d".into()));
}

#[test]
fn a_leader_outside_the_nodes_configuration_is_followed() {
    let mut node = Node::at("a", 1, &[]);
    node.step("x", append("x", 5, id(0, 0), &[5], 1));
    assert_eq!(node.core.leader(), Some(&"x".into()));
    assert_eq!(node.core.log().last(), id(5, 1));
}

#[test]
fn the_network_gets_the_address_of_every_member() {
    let mut cluster = led();
    cluster.cut_off("d");
    cluster
        .node("a")
        .core
        .change_members(Duration::ZERO, 0, &learner("d"))
        .unwrap();
    let contacts = cluster.node("a").core.ready().contacts.unwrap();
    let expected = [("b", ""), ("c", ""), ("d", "d.example:7101")];
    let expected = expected.map(|(id, address)| (NodeId::from(id), address.to_owned()));
    assert_eq!(contacts, expected.into());
}

#[test]
fn an_impossible_configuration_is_ignored() {
    let mut node = Node::at("a", 1, &[]);
    let Message::Request(RaftRequest::AppendEntries(mut append)) =
        append("b", 1, id(0, 0), &[1], 0)
    else {
        unreachable!("the helper returns this message");
    };
    append.entries[0].payload = Payload::Membership(Membership::default());
    node.step("b", Message::Request(RaftRequest::AppendEntries(append)));
    assert!(node.core.log().is_empty());
}

/// The others may not have the entry. In their configuration they need this node's vote, but its log is longer.
#[test]
fn a_node_that_is_removed_by_an_entry_that_may_not_be_committed_still_campaigns() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.change("a", &remove("c")).unwrap();
    // a and b are left. a removes itself, and b does not get the commit of that.
    cluster.node("a").change(&remove("a")).unwrap();
    let sent = cluster.node("a").sent();
    for (to, message) in sent {
        cluster.node(to.as_str()).step("a", message);
    }
    let responses = cluster.node("b").sent();
    cluster.cut_off("b");
    for (to, message) in responses {
        cluster.node(to.as_str()).step("b", message);
    }
    let old = cluster.node("a");
    assert_eq!((voters(old), old.core.role()), (vec!["b"], Role::Leader));
    assert!(!old.core.is_membership_committed());
    cluster.pass(MAX * 2);
    assert_eq!(cluster.leaders(), [""; 0], "no node gets a majority");
    assert!(cluster.node("b").core.log().last() < cluster.node("a").core.log().last());
    cluster.heal();
    cluster.pass(MAX * 4);
    assert_eq!(
        cluster.leaders(),
        ["b"],
        "a completed the change and stepped down"
    );
    assert_eq!(voters(cluster.node("b")), ["b"]);
    assert!(cluster.node("b").core.is_membership_committed());
}
