//! The Raft paper's rules of terms and elections, one test each.

use std::collections::BTreeSet;

use super::kit::*;
use crate::message::*;
use crate::raft::*;

/// Messages of a newer term, one of each kind that carries a term.
fn news(term: u64) -> Vec<Message> {
    vec![
        append("b", term, id(0, 0), &[], 0),
        matched(term, 0),
        vote_message(vote_request("b", term, id(term, 9))),
        vote(term, false),
    ]
}

#[test]
fn a_follower_updates_its_term_from_a_message() {
    for message in news(2) {
        let mut node = Node::at("a", 1, &[]);
        node.step("b", message);
        assert_eq!(
            (node.core.term(), node.core.role()),
            (Term(2), Role::Follower)
        );
    }
}

#[test]
fn a_candidate_updates_its_term_from_a_message_and_steps_back() {
    for message in news(2) {
        let mut node = Node::new("a");
        node.campaign();
        assert_eq!(
            (node.core.term(), node.core.role()),
            (Term(1), Role::Candidate)
        );
        node.step("b", message);
        assert_eq!(
            (node.core.term(), node.core.role()),
            (Term(2), Role::Follower)
        );
    }
}

#[test]
fn a_leader_updates_its_term_from_a_message_and_steps_back() {
    for message in news(2) {
        let mut node = Node::new("a");
        node.lead();
        let is_vote = matches!(message, Message::Request(RaftRequest::RequestVote(_)));
        node.step("b", message);
        // A vote request is no reason: the candidate may only be partitioned. A leader steps back for a new leader, or
        // for lack of a majority.
        let expected = if is_vote {
            (Term(1), Role::Leader)
        } else {
            (Term(2), Role::Follower)
        };
        assert_eq!((node.core.term(), node.core.role()), expected);
    }
}

#[test]
fn a_message_of_an_older_term_is_rejected() {
    let mut node = Node::at("a", 3, &[1, 2]);
    node.step("b", append("b", 2, id(2, 2), &[2], 2));
    let response = node.append_response_sent();
    assert_eq!(
        (response.term, response.result),
        (Term(3), AppendResult::Ignored)
    );
    assert_eq!(
        (node.core.log().last(), node.core.log().committed()),
        (id(2, 2), Index(0))
    );
    assert_eq!(node.core.leader(), None);

    node.step("b", vote_message(vote_request("b", 2, id(9, 9))));
    let response = node.vote_response_sent();
    assert_eq!((response.term, response.granted), (Term(3), false));
}

#[test]
fn a_response_of_an_older_term_is_ignored() {
    let mut node = Node::at("a", 4, &[]);
    node.campaign();
    node.step("b", vote(4, true));
    assert_eq!(node.core.role(), Role::Candidate);
    node.step("b", vote(5, true));
    assert_eq!(node.core.role(), Role::Leader);
    node.step("b", matched(4, 1));
    assert_eq!(node.core.log().committed(), Index(0));
}

#[test]
fn a_node_starts_as_a_follower() {
    let node = Node::at("a", 7, &[1, 7]);
    assert_eq!(node.core.role(), Role::Follower);
    assert_eq!((node.core.term(), node.core.leader()), (Term(7), None));
}

#[test]
fn a_leader_sends_heartbeats_to_all() {
    let mut node = Node::new("a");
    node.lead();
    for round in 1..4 {
        node.pass(HEARTBEAT);
        let sent = node.sent_appends();
        let to: Vec<&str> = sent.iter().map(|(to, _)| to.as_str()).collect();
        assert_eq!(to, ["b", "c"]);
        for (_, append) in &sent {
            assert!(append.entries.is_empty());
            assert_eq!((append.term, append.round), (Term(1), round));
        }
    }
}

fn vote_requests_of(node: &mut Node) -> Vec<(String, RequestVote)> {
    let requested = node
        .sent()
        .into_iter()
        .filter_map(|(to, message)| match message {
            Message::Request(RaftRequest::RequestVote(vote)) if !vote.pre_vote => {
                Some((to.as_str().to_owned(), vote))
            }
            _ => None,
        });
    requested.collect()
}

#[test]
fn a_follower_without_a_leader_starts_an_election() {
    let mut node = Node::at("a", 1, &[]);
    node.campaign();
    assert_eq!(
        (node.core.term(), node.core.role()),
        (Term(2), Role::Candidate)
    );
    assert_eq!(node.core.vote(), Some(&"a".into()));
    let requested = vote_requests_of(&mut node);
    let to: Vec<&str> = requested.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(to, ["b", "c"]);
    assert!(requested.iter().all(|(_, vote)| vote.term == Term(2)));
}

#[test]
fn a_candidate_without_a_majority_starts_a_new_election() {
    let mut node = Node::at("a", 1, &[]);
    node.campaign();
    node.sent();
    node.campaign();
    assert_eq!(
        (node.core.term(), node.core.role()),
        (Term(3), Role::Candidate)
    );
    let requested = vote_requests_of(&mut node);
    assert_eq!(requested.len(), 2);
    assert!(requested.iter().all(|(_, vote)| vote.term == Term(3)));
}

#[test]
fn a_leader_is_elected_in_one_round_by_a_majority() {
    let cases = [
        ("a", "", "", Role::Leader),
        ("a b c", "b c", "", Role::Leader),
        ("a b c", "b", "", Role::Leader),
        ("a b c d e", "b c d e", "", Role::Leader),
        ("a b c d e", "b c", "", Role::Leader),
        ("a b c d e", "b c", "d e", Role::Leader),
        // Refused by a majority.
        ("a b c", "", "b c", Role::Follower),
        ("a b c d e", "b", "c d e", Role::Follower),
        // Too few have responded.
        ("a b c", "", "", Role::Candidate),
        ("a b c d e", "b", "", Role::Candidate),
        ("a b c d e", "b", "c d", Role::Candidate),
    ];
    for (voters, yes, no, role) in cases {
        let mut node = Node::with(config("a", voters), HardState::default(), &[]);
        node.campaign();
        for voter in yes.split_whitespace() {
            node.step(voter, vote(1, true));
        }
        for voter in no.split_whitespace() {
            node.step(voter, vote(1, false));
        }
        assert_eq!(
            node.core.role(),
            role,
            "of {voters}: {yes} for it, {no} against"
        );
        assert_eq!(node.core.term(), Term(1));
    }
}

#[test]
fn a_repeated_vote_counts_once() {
    let mut node = Node::with(config("a", "a b c d e"), HardState::default(), &[]);
    node.campaign();
    node.step("b", vote(1, true));
    node.step("b", vote(1, true));
    assert_eq!(node.core.role(), Role::Candidate);
}

#[test]
fn a_node_votes_for_at_most_one_candidate_in_a_term() {
    for (voted, candidate, granted) in [
        (None, "b", true),
        (None, "c", true),
        (Some("b"), "b", true),
        (Some("b"), "c", false),
    ] {
        let hard_state = HardState {
            term: Term(1),
            vote: voted.map(NodeId::from),
        };
        let mut node = Node::with(config("a", "a b c"), hard_state, &[]);
        node.step(
            candidate,
            vote_message(vote_request(candidate, 1, id(0, 0))),
        );
        assert_eq!(
            node.vote_response_sent().granted,
            granted,
            "{voted:?} and then {candidate}"
        );
    }
}

#[test]
fn a_vote_survives_a_restart() {
    let mut node = Node::new("a");
    node.step("b", vote_message(vote_request("b", 1, id(0, 0))));
    assert!(node.vote_response_sent().granted);
    let (log, snapshots) = (node.log.clone(), node.snapshots.clone());
    let mut node = Node::start(config("a", "a b c"), log, snapshots, node.now);
    node.step("c", vote_message(vote_request("c", 1, id(0, 0))));
    assert!(!node.vote_response_sent().granted);
}

#[test]
fn a_candidate_falls_back_before_a_leader_of_its_term_or_a_newer_one() {
    for term in [1, 2] {
        let mut node = Node::new("a");
        node.campaign();
        node.step("b", append("b", term, id(0, 0), &[], 0));
        assert_eq!(
            (node.core.role(), node.core.term()),
            (Role::Follower, Term(term))
        );
        assert_eq!(node.core.leader(), Some(&"b".into()));
    }
}

/// The timeouts of fifty rounds; `begin` starts each round.
fn timeouts(node: &mut Node, mut begin: impl FnMut(&mut Node)) -> BTreeSet<Duration> {
    let rounds = (0..50).map(|_| {
        begin(node);
        node.core.election_deadline() - node.now
    });
    rounds.collect()
}

fn check_spread(timeouts: &BTreeSet<Duration>) {
    assert!(
        timeouts.iter().all(|timeout| (MIN..=MAX).contains(timeout)),
        "{timeouts:?}"
    );
    let spread = *timeouts.last().unwrap() - *timeouts.first().unwrap();
    assert!(
        timeouts.len() > 40 && spread > (MAX - MIN) / 2,
        "{timeouts:?}"
    );
}

#[test]
fn the_election_timeout_of_a_follower_is_randomized() {
    let mut node = Node::at("a", 1, &[]);
    let heartbeat = || append("b", 1, id(0, 0), &[], 0);
    check_spread(&timeouts(&mut node, |node| node.step("b", heartbeat())));
}

#[test]
fn the_election_timeout_of_a_candidate_is_randomized() {
    let mut node = Node::at("a", 1, &[]);
    check_spread(&timeouts(&mut node, Node::campaign));
}

/// In how many of 1,000 rounds no second node of five times out within one heartbeat of the first.
fn conflict_free(mut begin: impl FnMut(&mut Node)) -> usize {
    let names = ["a", "b", "c", "d", "e"];
    let mut nodes: Vec<Node> = names
        .iter()
        .map(|name| Node::with(config(name, "a b c d e z"), HardState::default(), &[]))
        .collect();
    let rounds = (0..1000).filter(|_| {
        let mut deadlines: Vec<Duration> = Vec::new();
        for node in &mut nodes {
            begin(node);
            deadlines.push(node.core.election_deadline() - node.now);
        }
        deadlines.sort();
        // 10 ms is a generous round trip time for a LAN.
        deadlines[1] - deadlines[0] > Duration::from_millis(10)
    });
    rounds.count()
}

#[test]
fn followers_seldom_time_out_together() {
    let heartbeat = || append("z", 1, id(0, 0), &[], 0);
    let free = conflict_free(|node| node.step("z", heartbeat()));
    assert!(free > 900, "{free} of 1000 rounds without a conflict");
}

#[test]
fn candidates_seldom_time_out_together() {
    let free = conflict_free(Node::campaign);
    assert!(free > 900, "{free} of 1000 rounds without a conflict");
}

#[test]
fn a_vote_request_names_the_candidate_its_term_and_its_last_entry() {
    for (terms, last) in [
        (&[][..], id(0, 0)),
        (&[1], id(1, 1)),
        (&[1, 2, 2], id(2, 3)),
    ] {
        let mut node = Node::at("a", 4, terms);
        node.campaign();
        for (to, requested) in vote_requests_of(&mut node) {
            assert_eq!(requested, vote_request("a", 5, last), "to {to}");
        }
    }
}

#[test]
fn a_voter_refuses_a_candidate_whose_log_is_older_than_its_own() {
    let cases = [
        // The voter's log, the candidate's last entry, the vote.
        (&[1][..], id(1, 1), true),
        (&[1], id(1, 2), true),
        (&[1, 1], id(1, 1), false),
        (&[1], id(2, 1), true),
        (&[1], id(2, 2), true),
        (&[1, 1], id(2, 1), true),
        (&[2], id(1, 1), false),
        (&[2], id(1, 2), false),
        (&[2, 2], id(1, 1), false),
    ];
    for (terms, last, granted) in cases {
        let mut node = Node::at("a", 3, terms);
        node.step("b", vote_message(vote_request("b", 3, last)));
        assert_eq!(
            node.vote_response_sent().granted,
            granted,
            "log {terms:?}, candidate {last}"
        );
    }
}
