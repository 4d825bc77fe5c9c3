//! Leadership transfer: dissertation §3.10.

use super::kit::*;
use crate::message::*;
use crate::raft::*;

fn orders(node: &mut Node) -> Vec<String> {
    let sent = node.sent().into_iter();
    sent.filter(|(_, message)| matches!(message, Message::Request(RaftRequest::TimeoutNow(_))))
        .map(|(to, _)| to.as_str().to_owned())
        .collect()
}

#[test]
fn a_caught_up_target_takes_over_at_once_although_the_leader_is_alive() {
    let mut cluster = Cluster::of("a b c");
    cluster.elect("a");
    cluster.propose("a", "one");
    let now = cluster.now;
    let to = cluster
        .node("a")
        .core
        .transfer_leadership(now, Some("c".into()));
    assert_eq!(to, Ok("c".into()));
    cluster.settle();
    assert_eq!(cluster.leaders(), ["c"]);
    assert_eq!(cluster.node("a").core.leader(), Some(&"c".into()));
}

#[test]
fn without_a_target_the_most_up_to_date_voter_takes_over() {
    let mut node = Node::new("a");
    node.lead();
    let made = node.propose("one");
    node.step("c", matched(1, made.index.0));
    node.sent();
    assert_eq!(
        node.core.transfer_leadership(node.now, None),
        Ok("c".into())
    );
    node.run();
    assert_eq!(orders(&mut node), ["c"]);
}

#[test]
fn a_target_that_lags_is_brought_up_to_date_first() {
    let mut node = Node::new("a");
    node.lead();
    let made = node.propose("one");
    node.core
        .transfer_leadership(node.now, Some("b".into()))
        .unwrap();
    node.run();
    assert_eq!(orders(&mut node), [""; 0]);
    node.step("b", matched(1, made.index.0));
    assert_eq!(orders(&mut node), ["b"]);
}

#[test]
fn proposals_are_refused_during_a_transfer_and_accepted_after_it_is_cancelled() {
    let mut node = Node::new("a");
    node.lead();
    node.core
        .transfer_leadership(node.now, Some("b".into()))
        .unwrap();
    assert_eq!(node.core.check_room(), Err(ProposeError::Transferring));
    assert!(node.core.next_deadline() <= node.now + MIN);
    let rounds = [HEARTBEAT, HEARTBEAT, HEARTBEAT, MIN - HEARTBEAT * 3];
    for wait in rounds {
        assert_eq!(node.core.check_room(), Err(ProposeError::Transferring));
        node.step("b", appended(1, 0, AppendResult::Ignored));
        node.pass(wait);
    }
    assert_eq!(node.core.role(), Role::Leader);
    assert_eq!(node.core.check_room(), Ok(()));
    assert_eq!(node.core.transferring_to(), None);
}

#[test]
fn timeout_now_is_repeated_with_each_heartbeat() {
    let mut node = Node::new("a");
    node.lead();
    node.core
        .transfer_leadership(node.now, Some("b".into()))
        .unwrap();
    node.run();
    assert_eq!(orders(&mut node), ["b"]);
    node.pass(HEARTBEAT);
    assert_eq!(orders(&mut node), ["b"]);
}

#[test]
fn an_impossible_target_is_refused() {
    let mut node = Node::new("a");
    let now = node.now;
    assert_eq!(
        node.core.transfer_leadership(now, None),
        Err(TransferError::NotLeader)
    );
    node.lead();
    let unknown = NodeId::from("x");
    assert_eq!(
        node.core.transfer_leadership(now, Some(unknown.clone())),
        Err(TransferError::NotAVoter { node: unknown })
    );
    assert_eq!(
        node.core.transfer_leadership(now, Some("a".into())),
        Ok("a".into())
    );
    assert_eq!(node.core.check_room(), Ok(()), "it leads already");
    node.core
        .transfer_leadership(now, Some("b".into()))
        .unwrap();
    assert_eq!(
        node.core.transfer_leadership(now, Some("c".into())),
        Err(TransferError::Busy { to: "b".into() })
    );
    let mut alone = Node::with(config("a", "a"), HardState::default(), &[]);
    alone.time_out();
    assert_eq!(
        alone.core.transfer_leadership(alone.now, None),
        Err(TransferError::NoOtherVoter)
    );
}

#[test]
fn members_can_not_change_during_a_transfer() {
    let mut node = Node::new("a");
    node.lead();
    node.core
        .transfer_leadership(node.now, Some("b".into()))
        .unwrap();
    let change = membership::change::Change::Remove { id: "c".into() };
    assert_eq!(
        node.change(&change),
        Err(membership::change::ChangeError::Busy)
    );
}

#[test]
fn a_learner_ignores_timeout_now() {
    let mut node = Node::with(config("d", "a b c"), HardState::default(), &[]);
    node.step("a", append("a", 1, id(0, 0), &[1], 0));
    node.step(
        "a",
        Message::Request(RaftRequest::TimeoutNow(TimeoutNow { term: Term(1) })),
    );
    assert_eq!(
        (node.core.role(), node.core.term()),
        (Role::Follower, Term(1))
    );
}
