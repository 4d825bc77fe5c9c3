//! Linearizable reads without the log (dissertation §6.4).

use super::kit::*;
use crate::message::*;
use crate::raft::ready::ReadState;
use crate::raft::*;

fn settled(id: u64, index: u64) -> ReadState {
    ReadState {
        id,
        index: Some(Index(index)),
    }
}

fn failed(id: u64) -> ReadState {
    ReadState { id, index: None }
}

fn confirmed(term: u64, round: u64) -> Message {
    appended(term, round, AppendResult::Matched(Index(1)))
}

fn newest_round(node: &mut Node) -> u64 {
    node.sent_appends()
        .into_iter()
        .map(|(_, append)| append.round)
        .max()
        .unwrap()
}

#[test]
fn a_leader_serves_a_read_once_a_majority_has_confirmed_its_leadership() {
    let mut node = Node::new("a");
    node.lead();
    node.read(7);
    assert_eq!(node.reads, []);
    let round = newest_round(&mut node);
    node.step("b", confirmed(1, round));
    assert_eq!(node.reads, [settled(7, 1)]);
}

#[test]
fn in_a_cluster_of_five_one_confirmation_is_not_enough() {
    let mut node = Node::with(config("a", "a b c d e"), HardState::default(), &[]);
    node.lead();
    node.read(1);
    let round = newest_round(&mut node);
    node.step("b", confirmed(1, round));
    node.step("b", confirmed(1, round));
    assert_eq!(node.reads, []);
    node.step("c", confirmed(1, round));
    assert_eq!(node.reads, [settled(1, 1)]);
}

#[test]
fn a_confirmation_of_an_earlier_round_does_not_count() {
    let mut node = Node::new("a");
    node.lead();
    node.pass(HEARTBEAT);
    let before = newest_round(&mut node);
    node.read(1);
    assert_eq!(node.sent(), [], "a round is in progress");
    node.step("b", confirmed(1, before));
    assert_eq!(node.reads, []);
    let after = newest_round(&mut node);
    assert!(before < after);
    node.step("b", confirmed(1, after));
    assert_eq!(node.reads, [settled(1, 1)]);
}

#[test]
fn a_read_does_not_wait_forever_for_a_lost_round() {
    let mut node = Node::new("a");
    node.lead();
    node.pass(HEARTBEAT);
    node.sent();
    node.read(1);
    node.pass(HEARTBEAT);
    let round = newest_round(&mut node);
    node.step("b", confirmed(1, round));
    assert_eq!(node.reads, [settled(1, 1)]);
}

#[test]
fn a_confirmation_of_a_round_that_has_not_started_is_ignored() {
    let mut node = Node::new("a");
    node.lead();
    node.step("b", confirmed(1, u64::MAX));
    node.read(1);
    assert_eq!(node.reads, []);
    let round = newest_round(&mut node);
    node.step("c", confirmed(1, round));
    assert_eq!(node.reads, [settled(1, 1)]);
}

#[test]
fn a_leader_serves_no_read_before_it_has_committed_in_its_term() {
    let mut node = Node::at("a", 2, &[1, 2]);
    node.elect();
    node.read(1);
    node.pass(HEARTBEAT);
    let round = newest_round(&mut node);
    let behind = |round| appended(3, round, AppendResult::Matched(Index(2)));
    node.step("b", behind(round));
    node.step("c", behind(round));
    assert_eq!(
        node.reads,
        [],
        "it leads, but its commit index may be too low"
    );
    node.sent();
    node.step("b", matched(3, 3));
    let round = newest_round(&mut node);
    node.step("b", appended(3, round, AppendResult::Matched(Index(3))));
    assert_eq!(node.reads, [settled(1, 3)]);
}

#[test]
fn reads_during_a_round_share_the_next_one() {
    let mut node = Node::new("a");
    node.lead();
    node.read(1);
    let first = newest_round(&mut node);
    node.read(2);
    node.read(3);
    assert_eq!(node.sent(), []);
    node.step("b", confirmed(1, first));
    assert_eq!(node.reads, [settled(1, 1)]);
    let second = newest_round(&mut node);
    assert_eq!(second, first + 1);
    node.step("b", confirmed(1, second));
    assert_eq!(node.reads[1..], [settled(2, 1), settled(3, 1)]);
}

#[test]
fn a_partitioned_leader_serves_no_read() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.cut_off("a");
    cluster.node("a").read(1);
    cluster.pass(MIN / 2);
    assert_eq!(cluster.node("a").reads, []);
    cluster.pass(MAX * 3);
    assert_eq!(
        cluster.node("a").reads,
        [failed(1)],
        "it fails the read when it steps down"
    );
}

#[test]
fn a_follower_forwards_a_read_to_its_leader() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.node("c").read(5);
    cluster.settle();
    assert_eq!(cluster.node("c").reads, [settled(5, 1)]);
}

#[test]
fn a_follower_without_a_leader_can_not_read() {
    let mut node = Node::new("a");
    node.read(5);
    assert_eq!(node.reads, [failed(5)]);
}

fn index_response(term: u64, id: u64, index: Option<u64>) -> Message {
    let index = index.map(Index);
    let response = ReadIndexResponse {
        term: Term(term),
        id,
        index,
    };
    Message::Response(RaftResponse::ReadIndex(response))
}

#[test]
fn a_response_is_matched_by_term_and_number() {
    let mut node = Node::at("a", 2, &[]);
    node.step("b", append("b", 2, id(0, 0), &[], 0));
    node.read(1);
    node.step("b", index_response(2, 9, Some(1)));
    node.step("b", index_response(1, 1, Some(1)));
    assert_eq!(node.reads, []);
    node.step("b", index_response(2, 1, Some(4)));
    node.step("b", index_response(2, 1, Some(5)));
    assert_eq!(node.reads, [settled(1, 4)]);
}

#[test]
fn a_response_from_before_a_change_of_leader_is_dropped() {
    let mut node = Node::at("a", 2, &[]);
    node.step("b", append("b", 2, id(0, 0), &[], 0));
    node.read(1);
    node.step("c", append("c", 3, id(0, 0), &[], 0));
    assert_eq!(
        node.reads,
        [failed(1)],
        "the read must be sent to the new leader"
    );
    node.read(1);
    node.step("b", index_response(2, 1, Some(4)));
    assert_eq!(node.reads.len(), 1);
}

#[test]
fn after_a_re_election_of_the_leader_a_read_is_sent_again() {
    let mut node = Node::at("a", 2, &[]);
    node.step("b", append("b", 2, id(0, 0), &[], 0));
    node.read(1);
    node.step("b", append("b", 3, id(0, 0), &[], 0));
    assert_eq!(node.reads, [failed(1)]);
}

#[test]
fn a_read_whose_response_was_lost_fails_after_a_timeout() {
    let mut node = Node::at("a", 2, &[]);
    node.step("b", append("b", 2, id(0, 0), &[], 0));
    node.read(1);
    node.pass(MIN / 2);
    node.step("b", append("b", 2, id(0, 0), &[], 0));
    assert_eq!(node.reads, []);
    node.pass(MIN / 2);
    assert_eq!(node.reads, [failed(1)]);
    node.step("b", index_response(2, 1, Some(4)));
    assert_eq!(node.reads.len(), 1, "a late response is ignored");
}

#[test]
fn a_node_that_does_not_lead_confirms_no_read() {
    let mut node = Node::at("a", 2, &[]);
    let request = |term| {
        Message::Request(RaftRequest::ReadIndex(ReadIndex {
            term: Term(term),
            id: 3,
        }))
    };
    node.step("b", request(2));
    assert_eq!(node.sent(), [("b".into(), index_response(2, 3, None))]);
    node.lead();
    node.step("b", request(2));
    assert_eq!(
        node.sent(),
        [("b".into(), index_response(3, 3, None))],
        "of an older term"
    );
}

#[test]
fn a_leader_responds_to_a_forwarded_read_once_a_majority_has_confirmed() {
    let mut node = Node::new("a");
    node.lead();
    node.step(
        "b",
        Message::Request(RaftRequest::ReadIndex(ReadIndex {
            term: Term(1),
            id: 3,
        })),
    );
    let round = newest_round(&mut node);
    node.step("c", confirmed(1, round));
    assert_eq!(node.sent(), [("b".into(), index_response(1, 3, Some(1)))]);
}

#[test]
fn a_read_sees_every_earlier_commit() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    let made = cluster.propose("a", "x");
    cluster.node("b").read(1);
    cluster.settle();
    assert_eq!(cluster.node("b").reads, [settled(1, made.index.0)]);
}

#[test]
fn reads_over_the_limit_are_refused() {
    let mut config = config("a", "a b c");
    config.limits.pending_reads = 2;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    node.read(1);
    node.read(2);
    node.read(3);
    assert_eq!(node.reads, [failed(3)]);
    node.sent();
    node.step(
        "b",
        Message::Request(RaftRequest::ReadIndex(ReadIndex {
            term: Term(1),
            id: 4,
        })),
    );
    assert_eq!(node.sent(), [("b".into(), index_response(1, 4, None))]);
}
