//! Which messages may be sent before a write is durable, and which may not (dissertation §10.2.1).

use super::kit::*;
use crate::disk::DiskTask;
use crate::message::*;
use crate::raft::*;
use crate::storage::LogStore;

#[test]
fn a_follower_acknowledges_entries_only_once_they_are_durable() {
    let mut node = Node::at("a", 1, &[]);
    node.disk_works = false;
    node.step("b", append("b", 1, id(0, 0), &[1], 0));
    assert_eq!(node.sent(), []);
    node.finish_task();
    node.run();
    assert_eq!(
        node.append_response_sent().result,
        AppendResult::Matched(Index(1))
    );
}

#[test]
fn a_follower_responds_to_heartbeats_with_its_durable_entries_while_its_disk_is_busy() {
    let mut node = Node::at("a", 1, &[1]);
    node.disk_works = false;
    node.step("b", append("b", 1, id(1, 1), &[1], 0));
    node.step("b", append("b", 1, id(1, 2), &[], 0));
    assert_eq!(
        node.append_response_sent().result,
        AppendResult::Matched(Index(1))
    );
}

#[test]
fn a_vote_is_sent_only_once_it_is_durable() {
    let mut node = Node::new("a");
    node.disk_works = false;
    node.step("b", vote_message(vote_request("b", 1, id(0, 0))));
    assert_eq!(node.sent(), []);
    node.finish_task();
    assert!(node.vote_response_sent().granted);
}

#[test]
fn a_vote_waits_for_the_write_after_the_current_one() {
    let mut node = Node::at("a", 1, &[]);
    node.disk_works = false;
    node.step("b", append("b", 1, id(0, 0), &[1], 0));
    node.now += MIN;
    node.step("c", vote_message(vote_request("c", 2, id(1, 1))));
    assert_eq!(node.tasks.len(), 1, "one write at a time");
    node.finish_task();
    node.run();
    let responded = |sent: &[(NodeId, Message)]| {
        sent.iter()
            .any(|(_, m)| matches!(m, Message::Response(RaftResponse::RequestVote(_))))
    };
    assert!(!responded(&node.sent()));
    node.finish_task();
    node.run();
    assert!(responded(&node.sent()));
}

#[test]
fn a_candidate_requests_votes_only_once_its_own_is_durable() {
    let mut node = Node::new("a");
    node.time_out();
    node.sent();
    node.disk_works = false;
    node.step("b", pre_vote(1, true));
    assert_eq!((node.core.role(), node.sent()), (Role::Candidate, vec![]));
    node.finish_task();
    node.run();
    assert_eq!(node.sent().len(), 2);
}

#[test]
fn a_candidate_counts_its_own_vote_once_it_is_durable() {
    let mut node = Node::at("a", 1, &[]);
    node.disk_works = false;
    node.step("c", append("c", 1, id(0, 0), &[1], 0));
    let order = TimeoutNow { term: Term(1) };
    node.step("c", Message::Request(RaftRequest::TimeoutNow(order)));
    node.step("b", vote(2, true));
    assert_eq!(
        node.core.role(),
        Role::Candidate,
        "an entry is being written, and no vote"
    );
    node.finish_task();
    node.run();
    assert_eq!(
        node.core.role(),
        Role::Candidate,
        "now the vote is being written"
    );
    node.finish_task();
    node.run();
    assert_eq!(node.core.role(), Role::Leader);
}

#[test]
fn a_leader_sends_during_its_own_write_and_counts_itself_once_it_is_durable() {
    let mut node = Node::new("a");
    node.lead();
    node.disk_works = false;
    node.propose("x");
    assert_eq!(node.sent_appends().len(), 2);
    node.step("b", matched(1, 2));
    assert_eq!(
        node.core.log().committed(),
        Index(1),
        "durable on one of three nodes"
    );
    node.finish_task();
    node.run();
    assert_eq!(
        node.core.log().committed(),
        Index(2),
        "durable on two of three nodes"
    );
}

#[test]
fn a_leader_commits_with_a_majority_of_others_and_applies_once_its_own_write_is_durable() {
    let mut node = Node::new("a");
    node.lead();
    node.disk_works = false;
    let made = node.propose("x");
    node.step("b", matched(1, 2));
    node.step("c", matched(1, 2));
    assert_eq!(node.core.log().committed(), Index(2));
    assert_ne!(node.applied.last(), Some(&made));
    node.finish_task();
    node.run();
    assert_eq!(node.applied.last(), Some(&made));
}

#[test]
fn proposals_during_a_write_are_batched_into_the_next_one() {
    let mut node = Node::new("a");
    node.lead();
    node.disk_works = false;
    for data in ["a", "b", "c", "d"] {
        node.propose(data);
    }
    node.finish_task();
    node.run();
    let Some(DiskTask::Write(_, batch)) = node.tasks.front() else {
        panic!("expected a write, got {:?}", node.tasks);
    };
    assert_eq!(batch.entries.len(), 3);
}

/// An entry of an old leader is being written; it is replaced, and replaced again at the same index. The end of the
/// first write does not make the current entry durable.
#[test]
fn a_superseded_write_does_not_make_the_replacing_entries_durable() {
    let mut node = Node::at("a", 1, &[]);
    node.disk_works = false;
    node.step("b", append("b", 1, id(0, 0), &[1, 1, 1], 0));
    node.step("c", append("c", 2, id(0, 0), &[2, 2], 0));
    node.finish_task();
    node.run();
    assert_eq!(node.core.log().stable(), Index(0));
    assert_eq!(
        node.sent().into_iter().filter_map(append_response).count(),
        1,
        "of term 1 only"
    );
    node.step("b", append("b", 3, id(0, 0), &[3], 0));
    node.finish_task();
    node.run();
    assert_eq!(node.core.log().stable(), Index(0));
    node.disk_works = true;
    node.run();
    assert_eq!(node.core.log().stable(), Index(1));
    assert_eq!(node.stored(), [id(3, 1)]);
    assert_eq!(node.log.load().unwrap().hard_state.term, Term(3));
}

#[test]
fn a_repeated_message_causes_no_write() {
    let mut node = Node::at("a", 1, &[1]);
    node.disk_works = false;
    node.step("b", append("b", 1, id(0, 0), &[1], 1));
    node.step("b", append("b", 1, id(1, 1), &[], 1));
    let writes = node
        .tasks
        .iter()
        .any(|task| matches!(task, DiskTask::Write(..)));
    assert!(!writes, "{:?}", node.tasks);
}

#[test]
fn the_state_machine_gets_entries_within_its_limits() {
    let mut config = config("a", "a");
    config.limits.unapplied_entries = 3;
    let mut node = Node::with(config.clone(), HardState::default(), &[]);
    node.lead();
    node.machine_works = false;
    for _ in 0..9 {
        node.propose("x");
    }
    assert_eq!(
        (node.core.log().committed(), node.applied.len()),
        (Index(10), 4)
    );
    node.machine_works = true;
    node.core.applied(node.now, Index(4));
    node.run();
    assert_eq!(node.applied.len(), 10);

    config.limits.unapplied_entries = 100;
    config.limits.unapplied_bytes = 1;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    node.machine_works = false;
    node.propose("x");
    node.propose("y");
    assert_eq!(node.applied.len(), 2, "one entry always fits");
    node.core.applied(node.now, Index(2));
    node.run();
    assert_eq!(node.applied.len(), 3);
}

#[test]
fn proposals_over_the_limits_are_refused() {
    let mut config = config("a", "a b c");
    config.limits.uncommitted_bytes = 200;
    let mut node = Node::with(config.clone(), HardState::default(), &[]);
    assert_eq!(
        node.core.propose(MIN, 0, command("x")),
        Err(ProposeError::NotLeader)
    );
    node.lead();
    let mut refused = false;
    for _ in 0..5 {
        refused = node.core.propose(node.now, 0, command("x")).is_err();
    }
    assert!(refused);
    assert_eq!(node.core.log().last().index, Index(4), "after 89 · 3 bytes");
    node.run();
    node.step("b", matched(1, 4));
    assert!(
        node.core.propose(node.now, 0, command("x")).is_ok(),
        "room again"
    );

    config.limits.uncommitted_bytes = u64::MAX;
    config.max_log_entries = 3;
    config.snapshot_threshold = 3;
    let mut node = Node::with(config, HardState::default(), &[]);
    node.lead();
    for _ in 0..2 {
        assert!(node.core.propose(node.now, 0, command("x")).is_ok());
    }
    let refused = node.core.propose(node.now, 0, command("x"));
    assert!(
        matches!(refused, Err(ProposeError::Overloaded { .. })),
        "{refused:?}"
    );
}
