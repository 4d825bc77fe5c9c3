//! The Raft paper's rules of replication and commitment, one test each.

use super::kit::*;
use crate::entry::Payload;
use crate::ids::LogId;
use crate::message::*;
use crate::raft::*;

#[test]
fn a_leader_starts_replication_of_a_proposal_to_all() {
    let mut node = Node::new("a");
    node.lead();
    let made = node.core.propose(node.now, 7, command("x")).unwrap();
    node.run();
    assert_eq!(made, id(1, 2));
    assert_eq!(
        (node.core.log().last(), node.core.log().committed()),
        (made, Index(1))
    );
    let sent = node.sent_appends();
    assert_eq!(
        sent.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(),
        ["b", "c"]
    );
    for (_, append) in sent {
        assert_eq!(
            (append.previous, append.leader_commit),
            (id(1, 1), Index(1))
        );
        let payload = Payload::Commands(command("x"));
        assert_eq!(
            append.entries,
            [Entry {
                id: made,
                time_ms: 7,
                payload
            }]
        );
    }
}

#[test]
fn a_leader_commits_and_applies_entries_of_a_majority_and_sends_the_commit_index() {
    let mut node = Node::new("a");
    node.lead();
    let made = node.propose("x");
    node.sent();
    node.step("b", matched(1, 2));
    assert_eq!(node.core.log().committed(), made.index);
    assert_eq!(node.applied.last(), Some(&made));
    let sent = node.sent_appends();
    assert!(
        sent.iter()
            .all(|(_, append)| append.leader_commit == made.index)
    );
    assert_eq!(sent.len(), 2);
}

#[test]
fn a_proposal_is_committed_once_a_majority_has_acknowledged_it() {
    let cases = [
        ("a", "", true),
        ("a b c", "", false),
        ("a b c", "b", true),
        ("a b c", "b c", true),
        ("a b c d e", "", false),
        ("a b c d e", "b", false),
        ("a b c d e", "b c", true),
        ("a b c d e", "b c d e", true),
    ];
    for (voters, acknowledged, committed) in cases {
        let mut node = Node::with(config("a", voters), HardState::default(), &[]);
        node.lead();
        let made = node.propose("x");
        for voter in acknowledged.split_whitespace() {
            node.step(voter, matched(1, made.index.0));
        }
        let found = node.core.log().committed() >= made.index;
        assert_eq!(found, committed, "of {voters}: {acknowledged}");
    }
}

#[test]
fn a_repeated_acknowledgement_counts_once() {
    let mut node = Node::with(config("a", "a b c d e"), HardState::default(), &[]);
    node.lead();
    let made = node.propose("x");
    node.step("b", matched(1, made.index.0));
    node.step("b", matched(1, made.index.0));
    assert_eq!(node.core.log().committed(), Index(1));
}

#[test]
fn a_leader_commits_all_entries_before_one_of_its_own_term() {
    for terms in [&[][..], &[2], &[1, 2], &[1]] {
        let mut node = Node::at("a", 2, terms);
        node.elect();
        node.step("b", matched(3, terms.len() as u64));
        assert_eq!(
            node.applied,
            [],
            "no entry of this term yet, after {terms:?}"
        );
        node.step("b", matched(3, terms.len() as u64 + 1));
        let terms: Vec<u64> = terms.iter().copied().chain([3]).collect();
        let expected: Vec<LogId> = entries(1, &terms).iter().map(|entry| entry.id).collect();
        assert_eq!(node.applied, expected);
    }
}

#[test]
fn a_follower_commits_and_applies_in_order_what_the_leader_has_committed() {
    for (terms, commit) in [(&[1][..], 1), (&[1, 1], 2), (&[1, 1], 1), (&[1, 1, 1], 2)] {
        let mut node = Node::new("a");
        node.step("b", append("b", 1, id(0, 0), terms, commit));
        assert_eq!(node.core.log().committed(), Index(commit));
        let expected: Vec<LogId> = (1..=commit).map(|index| id(1, index)).collect();
        assert_eq!(node.applied, expected);
    }
}

#[test]
fn a_follower_does_not_commit_beyond_the_entries_that_match() {
    let mut node = Node::at("a", 1, &[1, 1, 1]);
    node.step("b", append("b", 2, id(1, 1), &[], 3));
    assert_eq!(node.core.log().committed(), Index(1));
}

#[test]
fn a_follower_checks_the_entry_before_the_new_ones() {
    let cases = [
        // The previous entry, the expected response.
        (id(0, 0), AppendResult::Matched(Index(1))),
        (id(1, 1), AppendResult::Matched(Index(1))),
        (id(2, 2), AppendResult::Matched(Index(2))),
        (
            id(1, 2),
            AppendResult::Mismatch {
                rejected: id(1, 2),
                hint: id(1, 1),
            },
        ),
        (
            id(3, 3),
            AppendResult::Mismatch {
                rejected: id(3, 3),
                hint: id(2, 2),
            },
        ),
        (
            id(3, 9),
            AppendResult::Mismatch {
                rejected: id(3, 9),
                hint: id(2, 2),
            },
        ),
    ];
    for (previous, expected) in cases {
        let mut node = Node::at("a", 2, &[1, 2]);
        node.step("b", append("b", 3, previous, &[], 1));
        let response = node.append_response_sent();
        let expected = match expected {
            AppendResult::Matched(index) => AppendResult::Matched(index.min(previous.index)),
            mismatch => mismatch,
        };
        assert_eq!(
            (response.term, response.result),
            (Term(3), expected),
            "previous {previous}"
        );
        assert_eq!(node.core.log().last(), id(2, 2), "nothing is removed");
    }
}

#[test]
fn a_follower_replaces_conflicting_entries_and_keeps_matching_ones() {
    let cases = [
        // The previous entry, the new entries, the expected log.
        (id(2, 2), &[3][..], &[1, 2, 3][..]),
        (id(1, 1), &[3, 4], &[1, 3, 4]),
        (id(0, 0), &[1], &[1, 2]),
        (id(0, 0), &[1, 2], &[1, 2]),
        (id(0, 0), &[3], &[3]),
    ];
    for (previous, new, expected) in cases {
        let mut node = Node::at("a", 2, &[1, 2]);
        node.step("b", append("b", 4, previous, new, 0));
        let expected: Vec<LogId> = entries(1, expected).iter().map(|entry| entry.id).collect();
        assert_eq!(node.stored(), expected, "{new:?} after {previous}");
        assert_eq!(node.core.log().last(), *expected.last().unwrap());
        let last = Index(previous.index.0 + new.len() as u64);
        assert_eq!(
            node.append_response_sent().result,
            AppendResult::Matched(last)
        );
    }
}

#[test]
fn an_old_message_does_not_shorten_the_log() {
    let mut node = Node::new("a");
    node.step("b", append("b", 1, id(0, 0), &[1, 1, 1], 0));
    node.sent();
    node.step("b", append("b", 1, id(0, 0), &[1], 0));
    assert_eq!(
        node.append_response_sent().result,
        AppendResult::Matched(Index(1))
    );
    assert_eq!(node.stored(), [id(1, 1), id(1, 2), id(1, 3)]);
}

/// Figure 7 of the paper: the leader of term 8, and possible logs of its followers.
#[test]
fn a_leader_makes_the_log_of_each_follower_match() {
    let leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [(&str, &[u64]); 6] = [
        ("a", &[1, 1, 1, 4, 4, 5, 5, 6, 6]),
        ("b", &[1, 1, 1, 4]),
        ("c", &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]),
        ("d", &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]),
        ("e", &[1, 1, 1, 4, 4, 4, 4]),
        ("f", &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]),
    ];
    for (name, terms) in followers {
        let voted = |term| HardState {
            term: Term(term),
            vote: None,
        };
        let node = |id, terms| Node::with(config(id, "f l v"), voted(7), terms);
        // The third node only votes; its log is empty.
        let mut cluster = Cluster::new([node("l", &leader), node("f", terms), node("v", &[])]);
        cluster.elect("l");
        assert_eq!(cluster.node("l").core.term(), Term(8));
        cluster.propose("l", "x");
        cluster.pass(HEARTBEAT);
        let expected: Vec<u64> = leader.into_iter().chain([8, 8]).collect();
        let expected: Vec<LogId> = entries(1, &expected).iter().map(|entry| entry.id).collect();
        assert_eq!(cluster.node("f").stored(), expected, "follower ({name})");
        assert_eq!(cluster.node("v").stored(), expected, "follower ({name})");
        assert_eq!(cluster.node("f").applied, expected);
    }
}

#[test]
fn only_entries_of_the_own_term_are_committed_by_counting() {
    for (acknowledged, committed) in [(1, 0), (2, 0), (3, 3)] {
        let mut node = Node::at("a", 2, &[1, 2]);
        node.elect();
        assert_eq!(node.core.term(), Term(3));
        node.step("b", matched(3, acknowledged));
        node.step("c", matched(3, acknowledged));
        assert_eq!(
            node.core.log().committed(),
            Index(committed),
            "{acknowledged} durable on all nodes"
        );
    }
}
