//! A cluster of one.

use super::kit::*;
use crate::raft::ready::ReadState;
use crate::raft::*;

fn alone() -> Node {
    Node::with(config("a", "a"), HardState::default(), &[])
}

#[test]
fn it_elects_itself_at_once() {
    let mut node = alone();
    assert_eq!(node.core.role(), Role::Follower);
    node.core.tick(Duration::ZERO);
    node.run();
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::Leader, Term(1))
    );
    assert_eq!(node.sent(), []);
}

#[test]
fn it_leads_only_after_its_own_vote_is_durable() {
    let mut node = alone();
    node.disk_works = false;
    node.time_out();
    assert_eq!(node.core.role(), Role::Candidate);
    assert!(node.finish_task());
    node.run();
    assert_eq!(node.core.role(), Role::Leader);
}

#[test]
fn it_commits_durable_entries() {
    let mut node = alone();
    node.lead();
    node.disk_works = false;
    let made = node.propose("x");
    assert_eq!(node.core.log().committed(), Index(1));
    assert!(node.finish_task());
    node.run();
    assert_eq!(
        (node.core.log().committed(), node.applied.last()),
        (made.index, Some(&made))
    );
}

#[test]
fn it_serves_reads_by_itself() {
    let mut node = alone();
    node.read(1);
    assert_eq!(node.reads, [ReadState { id: 1, index: None }]);
    node.lead();
    node.read(2);
    assert_eq!(
        node.reads[1..],
        [ReadState {
            id: 2,
            index: Some(Index(1))
        }]
    );
}

#[test]
fn it_stays_leader_and_writes_nothing_when_idle() {
    let mut node = alone();
    node.lead();
    node.disk_works = false;
    for _ in 0..100 {
        node.pass(HEARTBEAT);
    }
    assert_eq!(node.core.role(), Role::Leader);
    assert!(node.tasks.is_empty());
}

#[test]
fn it_continues_with_all_data_after_a_restart() {
    let mut node = alone();
    node.lead();
    let made = node.propose("x");
    let (log, snapshots) = (node.log.clone(), node.snapshots.clone());
    let mut node = Node::start(config("a", "a"), log, snapshots, node.now);
    assert_eq!(
        (node.core.term(), node.core.log().committed()),
        (Term(1), Index(0))
    );
    node.lead();
    assert_eq!(node.core.term(), Term(2));
    assert_eq!(node.applied, [id(1, 1), made, id(2, 3)]);
}
