//! A full disk: the refused write is kept and repeated, and no message is sent that depends on it.

use super::kit::*;
use crate::entry::*;
use crate::ids::*;
use crate::message::*;
use crate::raft::*;
use crate::storage::LogStore;

/// The number of the write that the disk has to execute.
fn current_write(node: &mut Node) -> u64 {
    let tasks = node.tasks.drain(..);
    let writes: Vec<u64> = tasks
        .filter_map(|task| match task {
            crate::disk::DiskTask::Write(id, _) => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(writes.len(), 1, "{writes:?}");
    writes[0]
}

/// The disk refuses the current write: it is full.
fn refuse(node: &mut Node) {
    let id = current_write(node);
    node.core.write_refused(node.now, id);
    node.run();
}

fn full_follower() -> Node {
    let mut node = Node::new("a");
    node.step("b", append("b", 1, id(0, 0), &[1], 1));
    node.sent();
    node.disk_works = false;
    node.step("b", append("b", 1, id(1, 1), &[1, 1], 1));
    refuse(&mut node);
    node
}

#[test]
fn a_follower_with_a_full_disk_acknowledges_only_stored_entries() {
    let mut node = full_follower();
    assert!(node.core.is_disk_full());
    assert_eq!(node.sent(), vec![]);
    node.step("b", append("b", 1, id(1, 3), &[], 3));
    let response = node.append_response_sent();
    assert_eq!(
        response.result,
        AppendResult::Matched(Index(1)),
        "it is alive"
    );
    assert_eq!(node.core.log().stable(), Index(1));
}

#[test]
fn a_refused_write_is_repeated_and_succeeds_once_there_is_space() {
    let mut node = full_follower();
    node.step("b", append("b", 1, id(1, 3), &[1], 1));
    assert_eq!(node.tasks.len(), 0, "not before the retry is due");
    assert_eq!(
        node.core.next_deadline(),
        node.now + MAX.min(node.core.next_deadline())
    );
    node.step("b", append("b", 1, id(1, 4), &[], 1));
    node.disk_works = true;
    let retry = MAX;
    for _ in 0..4 {
        node.pass(retry / 4);
        node.step("b", append("b", 1, id(1, 4), &[], 1));
    }
    assert!(!node.core.is_disk_full());
    assert_eq!(
        node.stored(),
        (1..=4).map(|index| id(1, index)).collect::<Vec<_>>()
    );
    let acknowledged = node.sent().into_iter().filter_map(append_response);
    let last = acknowledged.filter_map(|response| match response.result {
        AppendResult::Matched(index) => Some(index),
        _ => None,
    });
    assert_eq!(last.max(), Some(Index(4)));
}

#[test]
fn while_a_write_is_repeated_the_node_waits_only_for_the_disk() {
    let mut node = full_follower();
    for _ in 0..4 {
        node.pass(MAX / 4);
        node.step("b", append("b", 1, id(1, 3), &[], 1));
    }
    assert_eq!(node.tasks.len(), 1, "the write is repeated");
    assert!(node.core.next_deadline() > node.now);
}

#[test]
fn a_node_with_a_full_disk_neither_votes_nor_campaigns_in_a_new_term() {
    let mut node = full_follower();
    node.pass(MAX * 3);
    refuse(&mut node);
    assert_eq!(node.core.role(), Role::Follower);
    node.step("c", vote_message(vote_request("c", 5, id(1, 3))));
    assert_eq!(node.sent(), vec![], "the vote is not on the disk");
    node.pass(MAX);
    let id = current_write(&mut node);
    node.core.persisted(node.now, id);
    node.pass(Duration::ZERO);
    let (term, vote) = (node.core.term(), node.core.vote().cloned());
    assert_eq!((term, vote), (Term(5), Some("c".into())));
}

/// The refused write removes entries. In the meantime they are replaced twice.
#[test]
fn entries_to_remove_by_a_refused_write_are_removed_by_the_next_one() {
    let mut node = Node::at("a", 1, &[1, 1, 1, 1]);
    node.disk_works = false;
    node.step("b", append("b", 2, id(1, 2), &[2, 2], 0));
    refuse(&mut node);
    node.step("c", append("c", 3, id(1, 1), &[3], 0));
    node.disk_works = true;
    node.pass(MAX);
    assert_eq!(node.stored(), [id(1, 1), id(3, 2)]);
    assert_eq!(node.log.load().unwrap().hard_state.term, Term(3));
}

#[test]
fn a_leader_with_a_full_disk_transfers_leadership_to_the_most_up_to_date_voter() {
    let mut node = Node::new("a");
    node.lead();
    node.disk_works = false;
    let made = node.propose("x");
    node.step("b", matched(1, made.index.0));
    refuse(&mut node);
    assert_eq!(node.core.transferring_to(), Some(&"b".into()));
    let ordered = node.sent().into_iter().any(|(to, message)| {
        to == "b".into() && matches!(message, Message::Request(RaftRequest::TimeoutNow(_)))
    });
    assert!(ordered, "b has the whole log and gets TimeoutNow at once");
}

#[test]
fn a_leader_with_a_full_disk_and_no_successor_refuses_proposals_and_serves_reads() {
    let mut node = Node::new("a");
    node.lead();
    node.disk_works = false;
    node.propose("x");
    refuse(&mut node);
    for _ in 0..4 {
        node.pass(HEARTBEAT);
        let round = node.core.round;
        node.step("b", appended(1, round, AppendResult::Matched(Index(1))));
    }
    assert_eq!(node.core.transferring_to(), None, "b did not take over");
    assert_eq!(node.core.check_room(), Err(ProposeError::DiskFull));
    node.read(7);
    let round = node.core.round;
    node.step("b", appended(1, round, AppendResult::Matched(Index(1))));
    assert_eq!(
        node.reads.last().map(|read| read.index),
        Some(Some(Index(1)))
    );
    // The disk has space again.
    node.disk_works = true;
    for _ in 0..7 {
        node.pass(HEARTBEAT);
        node.step("b", appended(1, 0, AppendResult::Matched(Index(1))));
    }
    assert_eq!(node.core.check_room(), Ok(()));
    assert_eq!(node.core.log().stable(), Index(2));
}

#[test]
fn a_single_node_accepts_commands_again_once_its_disk_has_space() {
    let mut node = Node::with(config("a", "a"), HardState::default(), &[]);
    node.pass(Duration::ZERO);
    node.disk_works = false;
    node.propose("x");
    refuse(&mut node);
    assert_eq!(node.core.check_room(), Err(ProposeError::DiskFull));
    for _ in 0..3 {
        node.pass(MAX);
        refuse(&mut node);
    }
    assert_eq!(node.core.role(), Role::Leader);
    node.disk_works = true;
    node.pass(MAX);
    let made = node.propose("y");
    assert_eq!(node.core.log().committed(), made.index);
}

#[test]
fn refused_entries_that_a_snapshot_replaced_are_not_written_again() {
    let mut node = full_follower();
    let meta = SnapshotMeta {
        last: id(1, 9),
        ..SnapshotMeta::default()
    };
    node.core
        .chunk_received(node.now, &meta, crate::storage::Received::Complete);
    let ready = node.core.ready();
    assert_eq!((ready.write, ready.purge), (None, Some(meta.last)));
    assert!(!node.core.is_disk_full(), "no write waits for space");
}
