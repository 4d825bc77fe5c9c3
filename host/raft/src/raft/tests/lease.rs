//! Leader lease: dissertation §6.4.1.

use super::kit::*;
use crate::entry::*;
use crate::ids::*;
use crate::message::*;
use crate::raft::membership::Change;
use crate::raft::*;

/// 1,000 ms that were promised count for so long where clocks may differ by a quarter.
const COUNTS: Duration = Duration::from_millis(800);

fn leased(id: &str, voters: &str) -> CoreConfig {
    CoreConfig {
        lease_drift_percent: Some(25),
        ..config(id, voters)
    }
}

fn promised(term: u64, round: u64) -> Message {
    let answer = AppendEntriesResponse {
        term: Term(term),
        round,
        result: AppendResult::Matched(Index(1)),
    };
    Message::Response(RaftResponse::LeaseGranted(answer, 1000))
}

/// a leads a, b and c, and has begun round 1.
fn leader() -> Node {
    let mut node = Node::with(leased("a", "a b c"), HardState::default(), &[]);
    node.lead();
    node.pass(HEARTBEAT);
    assert_eq!(node.sent_appends()[0].1.round, 1);
    node
}

/// Whether it answers a read without asking anybody.
fn answers_at_once(node: &mut Node) -> bool {
    node.reads.clear();
    node.read(7);
    node.reads.len() == 1
}

#[test]
fn a_leader_that_a_majority_has_promised_to_follow_answers_reads_at_once() {
    let mut node = leader();
    node.step("b", promised(1, 1));
    assert!(answers_at_once(&mut node));
    let index = Some(node.core.log().committed());
    assert_eq!(node.reads, [ReadState { id: 7, index }]);
}

#[test]
fn a_lease_is_shorter_than_the_promise_by_the_drift_of_clocks() {
    let mut node = leader();
    let began = node.now;
    // The answer is late, and what it promised began when the message came.
    node.pass(Duration::from_millis(200));
    node.step("b", promised(1, 1));
    assert_eq!(node.core.lease_until(), Some(began + COUNTS));
    node.now = began + COUNTS - Duration::from_millis(1);
    assert!(answers_at_once(&mut node));
    node.now = began + COUNTS;
    assert!(!answers_at_once(&mut node));
}

#[test]
fn a_promise_of_less_than_a_majority_is_no_lease() {
    let mut node = Node::with(leased("a", "a b c d e"), HardState::default(), &[]);
    node.lead();
    node.pass(HEARTBEAT);
    node.step("b", promised(1, 1));
    assert!(!answers_at_once(&mut node));
    let mut node = leader();
    node.step("b", appended(1, 1, AppendResult::Matched(Index(1))));
    assert!(!answers_at_once(&mut node), "b has promised nothing");
}

#[test]
fn a_promise_to_an_unknown_round_or_in_another_term_gives_nothing() {
    let mut node = leader();
    node.step("b", promised(1, 0));
    node.step("b", promised(1, 2));
    node.step("b", promised(0, 1));
    assert_eq!(node.core.lease_until(), None);
}

#[test]
fn a_peer_can_not_stretch_a_lease_by_promising_more_than_anybody_would() {
    let mut node = leader();
    let Message::Response(RaftResponse::LeaseGranted(answer, _)) = promised(1, 1) else {
        unreachable!("that is what it makes");
    };
    let forever = RaftResponse::LeaseGranted(answer, 1 << 62);
    node.step("b", Message::Response(forever));
    assert_eq!(node.core.lease_until(), Some(node.now + COUNTS));
}

#[test]
fn a_lease_ends_when_somebody_is_told_to_campaign_and_stays_away_where_that_is_given_up() {
    let mut node = leader();
    node.step("b", promised(1, 1));
    node.core
        .transfer_leadership(node.now, Some("c".into()))
        .unwrap();
    assert_eq!(node.core.lease_until(), None);
    for round in 2..6 {
        node.pass(HEARTBEAT);
        node.step("b", promised(1, round));
    }
    assert_eq!(node.core.transferring_to(), None, "it gave up");
    assert_eq!(node.core.check_room(), Ok(()));
    assert!(!answers_at_once(&mut node), "the order may still arrive");
    node.step("c", appended(2, 0, AppendResult::Ignored));
    node.elect();
    node.step("b", matched(3, 2));
    node.pass(HEARTBEAT);
    let round = node.core.reads.round();
    node.step("b", promised(3, round));
    assert!(answers_at_once(&mut node), "that was another term");
}

#[test]
fn a_leader_that_does_not_know_what_is_committed_has_no_lease() {
    let mut node = Node::with(leased("a", "a b c"), HardState::default(), &[]);
    node.elect();
    node.pass(HEARTBEAT);
    let answer = AppendEntriesResponse {
        term: Term(1),
        round: 1,
        result: AppendResult::Ignored,
    };
    node.step(
        "b",
        Message::Response(RaftResponse::LeaseGranted(answer, 1000)),
    );
    assert_eq!(node.core.lease_until(), None);
    node.step("b", matched(1, 1));
    assert!(node.core.lease_until().is_some());
}

#[test]
fn during_a_change_of_voters_both_majorities_have_to_promise() {
    let mut node = leader();
    node.step("b", promised(1, 1));
    node.step("c", promised(1, 1));
    let seats = ["a", "d", "e"].map(|id| {
        let seat = membership::MemberSpec {
            address: format!("{id}.example:7101"),
            voter: true,
        };
        (NodeId::from(id), seat)
    });
    let swap = Change::Set(seats.into());
    node.change(&swap).unwrap();
    for id in ["b", "d", "e"] {
        node.step(id, matched(1, 2));
    }
    assert!(answers_at_once(&mut node), "d and e are learners");
    node.change(&swap).unwrap();
    assert!(node.core.membership().is_joint());
    assert_eq!(node.core.lease_until(), None);
    node.step("d", promised(1, 1));
    assert!(answers_at_once(&mut node));
}

#[test]
fn a_follower_that_has_promised_votes_for_nobody_else_but_at_its_leaders_wish() {
    let mut node = Node::with(leased("a", "a b c"), HardState::default(), &[]);
    node.pass(MIN);
    node.step("b", append("b", 1, id(0, 0), &[1], 0));
    let sent = node.sent();
    assert!(
        matches!(
            &sent[..],
            [(_, Message::Response(RaftResponse::LeaseGranted(_, 1000)))]
        ),
        "{sent:?}"
    );
    node.core.forget_leader(node.now);
    assert_eq!(node.core.leader(), Some(&"b".into()), "it has promised");
    let mut request = vote_request("c", 2, id(1, 1));
    node.pass(MIN - Duration::from_millis(1));
    node.step("c", ask(request.clone()));
    assert_eq!(node.sent(), vec![]);
    request.transfer = true;
    node.step("c", ask(request));
    assert!(node.vote_answer().granted);
}

#[test]
fn a_node_that_starts_votes_for_nobody_until_what_it_may_have_promised_is_over() {
    let mut node = Node::with(leased("a", "a b c"), HardState::default(), &[]);
    node.step("c", ask(vote_request("c", 2, id(0, 0))));
    assert_eq!(node.sent(), vec![]);
    node.pass(MIN);
    node.step("c", ask(vote_request("c", 2, id(0, 0))));
    assert!(node.vote_answer().granted);
    let mut without = Node::new("a");
    without.step("c", ask(vote_request("c", 2, id(0, 0))));
    assert!(without.vote_answer().granted, "it promises nothing");
}

#[test]
fn a_node_that_is_alone_leads_and_answers_at_once() {
    let mut node = Node::with(leased("a", "a"), HardState::default(), &[]);
    node.pass(Duration::ZERO);
    assert_eq!(node.core.role(), Role::Leader);
    assert!(answers_at_once(&mut node));
}

#[test]
fn the_answer_to_a_round_of_long_ago_gives_no_lease() {
    let mut node = leader();
    for round in 0..300 {
        // Without a lease each read begins a round.
        node.read(round);
        let round = node.core.reads.round();
        node.step("b", appended(1, round, AppendResult::Matched(Index(1))));
    }
    node.step("b", promised(1, 1));
    assert_eq!(node.core.lease_until(), None);
    let round = node.core.reads.round();
    node.step("b", promised(1, round));
    assert!(node.core.lease_until().is_some());
}
