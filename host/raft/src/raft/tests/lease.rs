//! Leader lease: dissertation §6.4.1.

use super::kit::*;
use crate::entry::*;
use crate::ids::*;
use crate::message::*;
use crate::raft::membership::change::Change;
use crate::raft::*;
use crate::storage::LogStore;
use crate::storage::memory::{MemorySnapshots, MemoryStore};

/// The lease for an election timeout of 1,000 ms and a clock drift of 25 %.
const COUNTS: Duration = Duration::from_millis(800);

fn leased(id: &str, voters: &str) -> CoreConfig {
    CoreConfig {
        lease_drift_percent: Some(25),
        ..config(id, voters)
    }
}

/// A node that starts from `log` with these settings, at this time.
fn started(config: CoreConfig, log: &MemoryStore, now: Duration) -> Node {
    Node::from_stores(config, log.clone(), MemorySnapshots::new(), 0, now)
}

/// Whether it grants c its vote in a term that is new.
fn votes(node: &mut Node, term: u64) -> bool {
    let last = LogId::new(Term(term), Index(100));
    node.step("c", vote_message(vote_request("c", term, last)));
    let granted = |(_, message): &(NodeId, Message)| matches!(message, Message::Response(RaftResponse::RequestVote(vote)) if vote.granted);
    node.sent().iter().any(granted)
}

/// The store of a run with leases of `MIN`, which has granted one just before `MIN`.
fn store_of_a_lender() -> MemoryStore {
    let mut log = MemoryStore::new();
    log.record_lease(MIN).unwrap();
    let mut node = started(leased("a", "a b c"), &log, Duration::ZERO);
    node.pass(MIN);
    node.step("b", append("b", 1, id(0, 0), &[1], 0));
    assert!(!votes(&mut node, 2), "b has a lease");
    log
}

#[test]
fn a_node_that_restarts_with_a_shorter_timeout_waits_for_the_leases_of_the_run_before() {
    let log = store_of_a_lender();
    let short = CoreConfig {
        election_timeout_min: MIN / 4,
        ..leased("a", "a b c")
    };
    let mut node = started(short, &log, MIN);
    node.now = 2 * MIN - Duration::from_millis(1);
    assert!(!votes(&mut node, 3), "the lease of b has not ended");
    node.now = 2 * MIN;
    assert!(votes(&mut node, 3));
}

#[test]
fn a_node_that_restarts_without_leases_waits_for_those_of_the_run_before() {
    let log = store_of_a_lender();
    let mut node = started(config("a", "a b c"), &log, MIN);
    node.now = 2 * MIN - Duration::from_millis(1);
    assert!(!votes(&mut node, 3), "the lease of b has not ended");
    node.now = 2 * MIN;
    assert!(votes(&mut node, 3));
}

#[test]
fn once_longer_leases_have_ended_the_next_start_does_not_wait_for_them() {
    let mut log = store_of_a_lender();
    let short = CoreConfig {
        election_timeout_min: MIN / 4,
        ..leased("a", "a b c")
    };
    let mut node = started(short.clone(), &log, MIN);
    node.pass(MIN - Duration::from_millis(1));
    assert_eq!(log.load().unwrap().granted_lease, MIN);
    node.pass(Duration::from_millis(1));
    assert_eq!(log.load().unwrap().granted_lease, MIN / 4);
    let mut node = started(short, &log, 2 * MIN);
    node.now = 2 * MIN + MIN / 4;
    assert!(votes(&mut node, 9));
}

fn acknowledged(term: u64, round: u64) -> Message {
    let response = AppendEntriesResponse {
        term: Term(term),
        round,
        result: AppendResult::Matched(Index(1)),
    };
    Message::Response(RaftResponse::LeaseGranted(response, 1000))
}

/// a leads a, b and c, and has started round 1.
fn leader() -> Node {
    let mut node = Node::with(leased("a", "a b c"), HardState::default(), &[]);
    node.lead();
    node.pass(HEARTBEAT);
    assert_eq!(node.sent_appends()[0].1.round, 1);
    node
}

/// Whether it serves a read without a round of messages.
fn serves_read_at_once(node: &mut Node) -> bool {
    node.reads.clear();
    node.read(7);
    node.reads.len() == 1
}

#[test]
fn a_leader_with_a_lease_from_a_majority_serves_reads_at_once() {
    let mut node = leader();
    node.step("b", acknowledged(1, 1));
    assert!(serves_read_at_once(&mut node));
    let index = Some(node.core.log().committed());
    assert_eq!(node.reads, [ReadState { id: 7, index }]);
}

#[test]
fn a_lease_is_shorter_than_the_vote_delay_by_the_clock_drift() {
    let mut node = leader();
    let began = node.now;
    // The response is late: the follower's election timeout started when it received the message.
    node.pass(Duration::from_millis(200));
    node.step("b", acknowledged(1, 1));
    assert_eq!(node.core.lease_until(), Some(began + COUNTS));
    node.now = began + COUNTS - Duration::from_millis(1);
    assert!(serves_read_at_once(&mut node));
    node.now = began + COUNTS;
    assert!(!serves_read_at_once(&mut node));
}

#[test]
fn acknowledgements_of_less_than_a_majority_give_no_lease() {
    let mut node = Node::with(leased("a", "a b c d e"), HardState::default(), &[]);
    node.lead();
    node.pass(HEARTBEAT);
    node.step("b", acknowledged(1, 1));
    assert!(!serves_read_at_once(&mut node));
    let mut node = leader();
    node.step("b", appended(1, 1, AppendResult::Matched(Index(1))));
    assert!(
        !serves_read_at_once(&mut node),
        "b has acknowledged nothing"
    );
}

#[test]
fn an_acknowledgement_of_an_unknown_round_or_another_term_gives_no_lease() {
    let mut node = leader();
    node.step("b", acknowledged(1, 0));
    node.step("b", acknowledged(1, 2));
    node.step("b", acknowledged(0, 1));
    assert_eq!(node.core.lease_until(), None);
}

#[test]
fn a_peer_can_not_extend_a_lease_beyond_the_election_timeout() {
    let mut node = leader();
    let Message::Response(RaftResponse::LeaseGranted(response, _)) = acknowledged(1, 1) else {
        unreachable!("the helper returns this message");
    };
    let forever = RaftResponse::LeaseGranted(response, 1 << 62);
    node.step("b", Message::Response(forever));
    assert_eq!(node.core.lease_until(), Some(node.now + COUNTS));
}

#[test]
fn a_lease_ends_with_a_transfer_and_does_not_return_when_the_transfer_is_cancelled() {
    let mut node = leader();
    node.step("b", acknowledged(1, 1));
    node.core
        .transfer_leadership(node.now, Some("c".into()))
        .unwrap();
    assert_eq!(node.core.lease_until(), None);
    for round in 2..6 {
        node.pass(HEARTBEAT);
        node.step("b", acknowledged(1, round));
    }
    assert_eq!(
        node.core.transferring_to(),
        None,
        "the transfer is cancelled"
    );
    assert_eq!(node.core.check_room(), Ok(()));
    assert!(
        !serves_read_at_once(&mut node),
        "TimeoutNow may still arrive"
    );
    node.step("c", appended(2, 0, AppendResult::Ignored));
    node.elect();
    node.step("b", matched(3, 2));
    node.pass(HEARTBEAT);
    let round = node.core.round;
    node.step("b", acknowledged(3, round));
    assert!(serves_read_at_once(&mut node), "that was another term");
}

#[test]
fn a_leader_that_has_not_committed_in_its_term_has_no_lease() {
    let mut node = Node::with(leased("a", "a b c"), HardState::default(), &[]);
    node.elect();
    node.pass(HEARTBEAT);
    let response = AppendEntriesResponse {
        term: Term(1),
        round: 1,
        result: AppendResult::Ignored,
    };
    node.step(
        "b",
        Message::Response(RaftResponse::LeaseGranted(response, 1000)),
    );
    assert_eq!(node.core.lease_until(), None);
    node.step("b", matched(1, 1));
    assert!(node.core.lease_until().is_some());
}

#[test]
fn during_a_change_of_voters_a_lease_needs_both_majorities() {
    let mut node = leader();
    node.step("b", acknowledged(1, 1));
    node.step("c", acknowledged(1, 1));
    let seats = ["a", "d", "e"].map(|id| {
        let seat = membership::change::MemberSpec {
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
    assert!(serves_read_at_once(&mut node), "d and e are learners");
    node.change(&swap).unwrap();
    assert!(node.core.membership().is_joint());
    assert_eq!(node.core.lease_until(), None);
    node.step("d", acknowledged(1, 1));
    assert!(serves_read_at_once(&mut node));
}

#[test]
fn a_follower_within_a_lease_votes_for_another_only_after_a_transfer() {
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
    assert_eq!(
        node.core.leader(),
        Some(&"b".into()),
        "it has a live leader"
    );
    let mut request = vote_request("c", 2, id(1, 1));
    node.pass(MIN - Duration::from_millis(1));
    node.step("c", vote_message(request.clone()));
    assert_eq!(node.sent(), vec![]);
    request.transfer = true;
    node.step("c", vote_message(request));
    assert!(node.vote_response_sent().granted);
}

#[test]
fn after_a_restart_a_node_does_not_vote_until_a_possible_lease_has_expired() {
    let mut node = Node::with(leased("a", "a b c"), HardState::default(), &[]);
    node.step("c", vote_message(vote_request("c", 2, id(0, 0))));
    assert_eq!(node.sent(), vec![]);
    node.pass(MIN);
    node.step("c", vote_message(vote_request("c", 2, id(0, 0))));
    assert!(node.vote_response_sent().granted);
    let mut without = Node::new("a");
    without.step("c", vote_message(vote_request("c", 2, id(0, 0))));
    assert!(
        without.vote_response_sent().granted,
        "without leases it votes"
    );
}

/// c, which has the lease, does not know yet that its removal is committed: only this node has to acknowledge it.
#[test]
fn a_node_that_restarts_as_the_only_member_waits_for_the_lease_of_the_leader_that_was_removed() {
    let mut log = MemoryStore::new();
    let alone = leased("a", "a");
    let entry = Entry {
        id: id(1, 1),
        time_ms: 0,
        payload: Payload::Membership(Membership::of_voters(&alone.voters, &alone.addresses)),
    };
    let batch = WriteBatch {
        hard_state: Some(HardState {
            term: Term(1),
            vote: None,
        }),
        truncate_from: None,
        entries: vec![entry],
    };
    log.write(&batch).unwrap();
    let mut node = started(leased("a", "a b c"), &log, Duration::ZERO);
    node.pass(MIN - Duration::from_millis(1));
    assert_eq!(node.core.role(), Role::Follower);
    node.pass(MAX);
    assert_eq!(node.core.role(), Role::Leader);
}

#[test]
fn a_single_node_leads_and_serves_reads_at_once() {
    let mut node = Node::with(leased("a", "a"), HardState::default(), &[]);
    node.pass(Duration::ZERO);
    assert_eq!(node.core.role(), Role::Leader);
    assert!(serves_read_at_once(&mut node));
}

#[test]
fn a_response_to_an_old_round_gives_no_lease() {
    let mut node = leader();
    for round in 0..300 {
        // Without a lease each read starts a round.
        node.read(round);
        let round = node.core.round;
        node.step("b", appended(1, round, AppendResult::Matched(Index(1))));
    }
    node.step("b", acknowledged(1, 1));
    assert_eq!(node.core.lease_until(), None);
    let round = node.core.round;
    node.step("b", acknowledged(1, round));
    assert!(node.core.lease_until().is_some());
}
