//! Pre-vote: a node checks whether it can win before it starts a new term (dissertation §9.6).

use super::kit::*;
use crate::ids::LogId;
use crate::message::*;
use crate::raft::*;

fn request(from: &str, term: u64, last: LogId) -> Message {
    vote_message(RequestVote {
        pre_vote: true,
        ..vote_request(from, term, last)
    })
}

#[test]
fn a_node_that_was_partitioned_does_not_disturb_the_others_when_it_reconnects() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.cut_off("c");
    cluster.pass(MAX * 10);
    assert_eq!(cluster.node("c").core.term(), Term(1));
    cluster.heal();
    cluster.pass(MAX * 2);
    assert_eq!(cluster.leaders(), ["a"]);
    assert_eq!(cluster.node("a").core.term(), Term(1));
    assert_eq!(cluster.node("c").core.leader(), Some(&"a".into()));
}

#[test]
fn a_pre_vote_changes_nothing_at_the_voter() {
    let mut node = Node::at("a", 1, &[1]);
    let deadline = node.core.election_deadline();
    node.disk_works = false;
    for candidate in ["b", "c"] {
        node.step(candidate, request(candidate, 2, id(1, 1)));
        let response = node.vote_response_sent();
        assert_eq!(
            (response.granted, response.pre_vote, response.term),
            (true, true, Term(2))
        );
    }
    assert_eq!((node.core.term(), node.core.vote()), (Term(1), None));
    assert_eq!(node.core.election_deadline(), deadline);
    assert!(node.tasks.is_empty(), "nothing to write");
}

#[test]
fn a_pre_vote_is_denied_to_an_older_log_and_to_an_older_term() {
    let mut node = Node::at("a", 3, &[1, 2]);
    for (term, last) in [(4, id(1, 9)), (4, id(2, 1)), (3, id(2, 2)), (2, id(9, 9))] {
        node.step("b", request("b", term, last));
        let response = node.vote_response_sent();
        assert_eq!(
            (response.granted, response.term),
            (false, Term(3)),
            "{term} with {last}"
        );
    }
    node.step("b", request("b", 4, id(2, 2)));
    assert!(node.vote_response_sent().granted);
}

#[test]
fn a_node_with_a_live_leader_does_not_respond_to_a_pre_vote() {
    let mut node = Node::at("a", 1, &[]);
    node.step("b", append("b", 1, id(0, 0), &[], 0));
    node.sent();
    node.step("c", request("c", 2, id(9, 9)));
    assert_eq!(node.sent(), []);
    let mut leader = Node::new("a");
    leader.lead();
    leader.step("c", request("c", 2, id(9, 9)));
    assert_eq!(leader.sent(), []);
}

#[test]
fn a_pre_candidate_stays_in_its_term_until_a_majority_grants_its_pre_vote() {
    let mut node = Node::with(config("a", "a b c d e"), HardState::default(), &[]);
    node.time_out();
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::PreCandidate, Term(0))
    );
    node.step("b", pre_vote(1, true));
    node.step("b", pre_vote(1, true));
    assert_eq!(node.core.role(), Role::PreCandidate);
    node.step("c", pre_vote(1, true));
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::Candidate, Term(1))
    );
}

#[test]
fn a_node_whose_pre_vote_is_lost_follows_again() {
    let mut node = Node::new("a");
    node.time_out();
    node.step("b", pre_vote(0, false));
    assert_eq!(node.core.role(), Role::PreCandidate);
    node.step("c", pre_vote(0, false));
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::Follower, Term(0))
    );
}

#[test]
fn a_denied_pre_vote_carries_a_newer_term() {
    let mut node = Node::new("a");
    node.time_out();
    node.step("b", pre_vote(7, false));
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::Follower, Term(7))
    );
}

#[test]
fn votes_and_pre_votes_are_counted_separately() {
    let mut node = Node::with(config("a", "a b c d e"), HardState::default(), &[]);
    node.time_out();
    node.step("b", vote(0, true));
    node.step("c", vote(0, true));
    assert_eq!(node.core.role(), Role::PreCandidate);
    node.step("b", pre_vote(1, true));
    node.step("c", pre_vote(1, true));
    assert_eq!(node.core.role(), Role::Candidate);
    node.step("d", pre_vote(1, true));
    node.step("e", pre_vote(1, true));
    assert_eq!(node.core.role(), Role::Candidate);
    node.step("d", vote(1, true));
    node.step("e", vote(1, true));
    assert_eq!(node.core.role(), Role::Leader);
}

#[test]
fn a_follower_whose_election_timeout_has_passed_votes_at_once() {
    let mut node = Node::new("a");
    node.step("b", append("b", 1, id(0, 0), &[], 0));
    node.sent();
    let mut request = vote_request("c", 2, id(0, 0));
    request.pre_vote = true;
    node.step("c", vote_message(request.clone()));
    assert_eq!(node.sent(), vec![], "it has a live leader");
    node.core.forget_leader(node.now);
    assert_eq!((node.core.leader(), node.core.term()), (None, Term(1)));
    node.step("c", vote_message(request));
    assert!(node.vote_response_sent().granted);
    node.step("b", append("b", 1, id(0, 0), &[], 0));
    assert_eq!(
        node.core.leader(),
        Some(&"b".into()),
        "it follows the leader again"
    );
}
