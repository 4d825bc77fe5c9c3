//! A leader that can't commit steps down, and one that can is not disturbed (dissertation §6.2, §4.2.3).

use super::kit::*;
use crate::message::*;
use crate::raft::*;

#[test]
fn a_leader_without_responses_of_a_majority_steps_down() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.cut_off("a");
    cluster.pass(MIN * 2);
    let node = cluster.node("a");
    assert_eq!(
        (node.core.role(), node.core.leader()),
        (Role::Follower, None)
    );
}

#[test]
fn a_leader_with_responses_of_a_majority_stays() {
    let mut cluster = Cluster::of("a b c d e");
    cluster.elect("a");
    cluster.cut_off("b");
    cluster.cut_off("c");
    cluster.pass(MAX * 5);
    assert_eq!(cluster.leaders(), ["a"]);
    assert_eq!(cluster.node("a").core.term(), Term(1));
}

#[test]
fn the_majority_elects_another_leader_and_the_old_one_follows_it() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.cut_off("a");
    let lost = cluster.propose("a", "lost");
    cluster.pass(MAX * 4);
    assert_eq!(cluster.leaders().len(), 1);
    let leader = cluster.leaders()[0].to_owned();
    assert_ne!(leader, "a");
    cluster.heal();
    cluster.pass(MAX);
    let made = cluster.propose(&leader, "kept");
    cluster.pass(HEARTBEAT);
    assert_eq!(cluster.leaders(), [&leader]);
    let node = cluster.node("a");
    assert!(node.applied.contains(&made) && !node.applied.contains(&lost));
}

#[test]
fn a_node_with_a_live_leader_does_not_vote_for_another() {
    let mut node = Node::at("a", 1, &[]);
    node.step("b", append("b", 1, id(0, 0), &[], 0));
    node.sent();
    node.step("c", vote_message(vote_request("c", 2, id(9, 9))));
    assert_eq!(node.sent(), []);
    assert_eq!(
        (node.core.term(), node.core.leader()),
        (Term(1), Some(&"b".into()))
    );

    // After an election timeout it does.
    node.now += MIN;
    node.step("c", vote_message(vote_request("c", 2, id(9, 9))));
    assert!(node.vote_response_sent().granted);
}

#[test]
fn a_campaign_by_leadership_transfer_gets_votes_at_once() {
    let mut node = Node::at("a", 1, &[]);
    node.step("b", append("b", 1, id(0, 0), &[], 0));
    node.sent();
    let request = RequestVote {
        transfer: true,
        ..vote_request("c", 2, id(0, 0))
    };
    node.step("c", vote_message(request));
    assert!(node.vote_response_sent().granted);
}

#[test]
fn timeout_now_is_accepted_from_the_leader_only() {
    let order = |term| Message::Request(RaftRequest::TimeoutNow(TimeoutNow { term: Term(term) }));
    let mut node = Node::at("a", 1, &[]);
    node.step("b", append("b", 1, id(0, 0), &[], 0));
    node.sent();
    node.step("c", order(1));
    assert_eq!(node.core.role(), Role::Follower);
    node.step("b", order(1));
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::Candidate, Term(2))
    );
    let sent = node.sent();
    assert_eq!(sent.len(), 2);
    for (_, message) in sent {
        let Message::Request(RaftRequest::RequestVote(vote)) = message else {
            panic!("expected a vote, got {message:?}");
        };
        assert!(vote.transfer && !vote.pre_vote);
    }
}

#[test]
fn a_leader_whose_disk_hangs_is_replaced() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    let before = cluster.propose("a", "before");
    cluster.node("a").disk_works = false;
    let during = cluster.propose("a", "during");
    cluster.pass(MIN);
    assert_eq!(cluster.leaders(), ["a"], "it may only be slow");
    cluster.pass(HEARTBEAT);
    assert_eq!(
        cluster.node("a").core.role(),
        Role::Follower,
        "it steps down by itself"
    );
    assert_eq!(
        cluster.leaders().len(),
        1,
        "another node has received the transfer"
    );
    assert_ne!(cluster.leaders(), ["a"]);
    cluster.pass(MAX * 3);
    assert_ne!(cluster.leaders(), ["a"]);

    // When its disk works again, it follows, with all entries that were committed in the meantime.
    cluster.node("a").disk_works = true;
    cluster.settle();
    cluster.pass(HEARTBEAT * 2);
    let node = cluster.node("a");
    assert!(node.applied.contains(&before) && node.applied.contains(&during));
}

#[test]
fn a_node_whose_disk_hangs_does_not_campaign() {
    let mut node = Node::at("a", 1, &[]);
    node.disk_works = false;
    node.step("b", append("b", 1, id(0, 0), &[1], 0));
    for _ in 0..5 {
        node.time_out();
        assert_eq!(
            (node.core.role(), node.core.term()),
            (Role::Follower, Term(1))
        );
    }
    assert_eq!(node.sent(), []);
    node.disk_works = true;
    node.run();
    node.time_out();
    assert_eq!(node.core.role(), Role::PreCandidate);
}
