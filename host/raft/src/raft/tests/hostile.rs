//! Messages that no correct peer sends: they change nothing and break nothing.

use super::kit::*;
use crate::message::*;
use crate::raft::*;

#[test]
fn messages_from_unknown_nodes_and_from_the_node_itself_are_ignored() {
    let mut node = Node::at("a", 1, &[]);
    node.step("a", append("a", 5, id(0, 0), &[5], 1));
    node.step("a", vote_message(vote_request("a", 5, id(9, 9))));
    node.step("x", vote(5, true));
    node.step("x", matched(5, 1));
    assert_eq!((node.core.term(), node.sent()), (Term(1), vec![]));
    assert!(node.core.log().is_empty());
}

#[test]
fn a_second_leader_of_the_same_term_is_not_followed() {
    let mut node = Node::new("a");
    node.lead();
    node.step("b", append("b", 1, id(0, 0), &[1, 1, 1], 3));
    let chunk = InstallSnapshot {
        term: Term(1),
        leader_id: "b".into(),
        meta: SnapshotMeta {
            last: id(1, 9),
            ..SnapshotMeta::default()
        },
        offset: 0,
        data: bytes::Bytes::new(),
    };
    node.step("b", Message::Request(RaftRequest::InstallSnapshot(chunk)));
    assert_eq!(
        (node.core.role(), node.core.log().last()),
        (Role::Leader, id(1, 1))
    );
    assert_eq!(node.sent(), []);
}

#[test]
fn entries_with_gaps_or_overflowing_numbers_are_ignored() {
    let mut node = Node::at("a", 1, &[1]);
    let mut gap = append("b", 1, id(1, 1), &[1, 1], 0);
    if let Message::Request(RaftRequest::AppendEntries(append)) = &mut gap {
        append.entries.remove(0);
    }
    node.step("b", gap);
    node.step("b", append("b", u64::MAX, id(0, 0), &[], 0));
    node.step("b", vote_message(vote_request("b", u64::MAX, id(9, 9))));
    node.step("b", vote(u64::MAX, false));
    node.step("b", append("b", 1, id(1, u64::MAX), &[], 0));
    assert_eq!(
        (node.core.term(), node.core.log().last()),
        (Term(1), id(1, 1))
    );
    assert_eq!(node.core.leader(), None);
}

#[test]
fn a_commit_index_beyond_the_log_commits_only_the_log() {
    let mut node = Node::at("a", 1, &[]);
    node.step("b", append("b", 1, id(0, 0), &[1], 1 << 40));
    assert_eq!(node.core.log().committed(), Index(1));
}

#[test]
fn an_acknowledgement_beyond_the_log_counts_only_for_the_log() {
    let mut node = Node::new("a");
    node.lead();
    node.step("b", matched(1, 1 << 40));
    node.propose("x");
    assert_eq!(node.core.log().committed(), Index(1));
    assert_eq!(node.core.peers()[&NodeId::from("b")].matched, Index(1));
}

#[test]
fn unexpected_responses_change_nothing() {
    let mut node = Node::at("a", 3, &[]);
    node.step("b", vote(3, true));
    node.step("c", vote(3, true));
    node.step("b", pre_vote(4, true));
    node.step("b", matched(3, 7));
    let read = ReadIndexResponse {
        term: Term(3),
        id: 9,
        index: Some(Index(4)),
    };
    node.step("b", Message::Response(RaftResponse::ReadIndex(read)));
    let installed = InstallSnapshotResponse {
        term: Term(3),
        last: id(3, 3),
        next_offset: 5,
        installed: true,
    };
    node.step(
        "b",
        Message::Response(RaftResponse::InstallSnapshot(installed.clone())),
    );
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::Follower, Term(3))
    );
    assert_eq!((node.reads.len(), node.sent()), (0, vec![]));

    let mut leader = Node::new("a");
    leader.lead();
    let installed = InstallSnapshotResponse {
        term: Term(1),
        ..installed
    };
    leader.step(
        "b",
        Message::Response(RaftResponse::InstallSnapshot(installed)),
    );
    assert_eq!(leader.core.peers()[&NodeId::from("b")].matched, Index(1));
}
