//! Admin requests, submitted to any node.

use super::kit::*;
use crate::message::*;
use crate::raft::Role;
use crate::raft::membership::change::{Change, ChangeError};

fn address(id: &str) -> String {
    format!("{id}.example:7101")
}

fn add_voter(id: &str) -> AdminRequest {
    AdminRequest::Change(Change::AddVoter {
        id: id.into(),
        address: address(id),
    })
}

fn remove(id: &str) -> AdminRequest {
    AdminRequest::Change(Change::Remove { id: id.into() })
}

/// a leads a, b, c. d waits to be added.
fn cluster() -> Cluster {
    let mut cluster = Cluster::with(
        [("a", "a b c"), ("b", "a b c"), ("c", "a b c"), ("d", "")]
            .into_iter()
            .map(|(id, voters)| setup(id, voters)),
    );
    cluster.elect("a");
    cluster
}

fn voters(cluster: &mut Cluster, id: &str) -> Vec<String> {
    let membership = cluster.node(id).core().membership().clone();
    membership
        .voters()
        .map(|id| id.as_str().to_owned())
        .collect()
}

#[test]
fn a_voter_is_added_in_one_call_at_any_node() {
    for at in ["a", "b"] {
        let mut cluster = cluster();
        cluster.node(at).admin(1, add_voter("d"));
        cluster.settle();
        assert!(
            matches!(cluster.node(at).completed(1), Some(Ok(_))),
            "at {at}"
        );
        assert_eq!(voters(&mut cluster, "d"), ["a", "b", "c", "d"]);
        cluster.node(at).admin(2, add_voter("d"));
        cluster.settle();
        assert!(
            matches!(cluster.node(at).completed(2), Some(Ok(_))),
            "again"
        );
    }
}

#[test]
fn to_remove_an_unknown_node_is_refused_at_any_node() {
    for at in ["a", "b"] {
        let mut cluster = cluster();
        cluster.node(at).admin(1, remove("typo"));
        cluster.settle();
        let unknown = ChangeError::UnknownNode {
            node: "typo".into(),
        };
        assert_eq!(
            cluster.node(at).completed(1),
            Some(&Err(AdminError::Change(unknown))),
            "at {at}"
        );
        assert_eq!(voters(&mut cluster, "a"), ["a", "b", "c"]);
    }
}

#[test]
fn a_removal_whose_response_is_lost_succeeds_and_a_new_one_of_the_same_node_is_refused() {
    let mut cluster = cluster();
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::Admin(_)));
    cluster.node("b").admin(1, remove("c"));
    cluster.settle();
    cluster.pass(MIN);
    assert!(matches!(cluster.node("b").completed(1), Some(Ok(_))));
    cluster.node("a").admin(2, remove("c"));
    cluster.settle();
    assert!(
        matches!(
            cluster.node("a").completed(2),
            Some(Err(AdminError::Change(ChangeError::UnknownNode { .. })))
        ),
        "a new request names no member"
    );
}

#[test]
fn a_removal_that_another_request_has_begun_succeeds_only_once_it_is_committed() {
    let mut cluster = cluster();
    let learner = AdminRequest::Change(Change::AddLearner {
        id: "d".into(),
        address: address("d"),
    });
    cluster.node("a").admin(1, learner);
    cluster.settle();
    let before = cluster.node("b").core().membership_index();
    cluster.keep = |message| matches!(message, Message::Request(RaftRequest::AppendEntries(_)));
    cluster.node("a").admin(2, remove("d"));
    cluster.settle();
    cluster.node("b").admin(3, remove("d"));
    cluster.settle();
    assert_eq!(cluster.node("b").completed(3), None, "it may be undone");
    cluster.keep = |_| false;
    cluster.pass(MIN);
    let removed = cluster.node("b").core().membership_index();
    assert!(removed > before);
    assert_eq!(cluster.node("b").completed(3), Some(&Ok(removed)));
}

#[test]
fn a_change_waits_for_a_node_to_catch_up_and_the_error_at_the_deadline_states_its_lag() {
    let mut cluster = cluster();
    cluster.cut_off("d");
    cluster.node("a").admin(1, add_voter("d"));
    cluster.settle();
    assert_eq!(cluster.node("a").completed(1), None);
    cluster.node("a").admin(2, remove("b"));
    cluster.settle();
    assert_eq!(
        cluster.node("a").completed(2),
        Some(&Err(AdminError::Change(ChangeError::Busy))),
        "one at a time"
    );
    cluster.pass(DEADLINE);
    assert!(matches!(
        cluster.node("a").completed(1),
        Some(Err(AdminError::Change(ChangeError::NotCaughtUp { .. })))
    ));
}

#[test]
fn a_leader_that_removes_itself_reports_success() {
    let mut cluster = cluster();
    cluster.node("a").admin(1, remove("a"));
    cluster.settle();
    assert!(matches!(cluster.node("a").completed(1), Some(Ok(_))));
    assert_ne!(cluster.node("a").core().role(), Role::Leader);
    cluster.pass(MAX);
    assert_eq!(voters(&mut cluster, "b"), ["b", "c"]);
}

#[test]
fn an_admin_request_survives_a_change_of_leader() {
    let mut cluster = cluster();
    cluster.cut_off("a");
    cluster.node("b").admin(1, remove("c"));
    cluster.settle();
    assert_eq!(
        cluster.node("b").completed(1),
        None,
        "it was forwarded to a node that is gone"
    );
    cluster.elect("b");
    cluster.heal();
    cluster.pass(MIN);
    assert!(matches!(cluster.node("b").completed(1), Some(Ok(_))));
    assert_eq!(voters(&mut cluster, "b"), ["a", "b"]);
}

#[test]
fn without_a_leader_an_admin_request_fails_at_its_deadline() {
    let mut cluster = cluster();
    for id in ["a", "b", "c"] {
        cluster.cut_off(id);
    }
    cluster.pass(MAX * 3);
    cluster.node("b").admin(1, remove("c"));
    cluster.pass(DEADLINE);
    assert_eq!(
        cluster.node("b").completed(1),
        Some(&Err(AdminError::NoLeader))
    );
}

#[test]
fn commands_that_arrive_during_a_leadership_transfer_are_all_applied() {
    for at in ["a", "b", "c"] {
        let mut cluster = cluster();
        cluster
            .node(at)
            .admin(1, AdminRequest::Transfer(Some("b".into())));
        // Before other nodes know of the transfer, and while it is in progress.
        cluster.node("a").propose(10, "first");
        cluster.node("c").propose(11, "second");
        cluster.settle();
        assert!(
            matches!(cluster.node(at).completed(1), Some(Ok(_))),
            "at {at}"
        );
        assert_eq!(cluster.node("b").core().role(), Role::Leader);
        assert!(cluster.node("a").was_done(10, "first"), "at {at}");
        assert!(cluster.node("c").was_done(11, "second"), "at {at}");
        let applied = cluster.node("b").applied().len();
        assert_eq!(applied, 2, "each once");
    }
}

#[test]
fn a_transfer_to_a_node_that_is_down_is_abandoned_and_no_command_is_refused() {
    let mut cluster = cluster();
    cluster.cut_off("b");
    cluster
        .node("a")
        .admin(1, AdminRequest::Transfer(Some("b".into())));
    cluster.node("a").propose(10, "waits");
    cluster.settle();
    assert_eq!(cluster.node("a").outcome(10), None);
    cluster.pass(MIN);
    let to = "b".into();
    assert_eq!(
        cluster.node("a").completed(1),
        Some(&Err(AdminError::Transfer(TransferError::GaveUp { to })))
    );
    assert!(cluster.node("a").was_done(10, "waits"));
}

#[test]
fn admin_requests_past_the_limit_are_refused() {
    let mut cluster = cluster();
    for id in ["b", "c"] {
        cluster.cut_off(id);
    }
    for operator in 0..65 {
        cluster.node("a").admin(operator, remove("c"));
    }
    cluster.settle();
    assert_eq!(cluster.node("a").completed(0), None);
    assert_eq!(
        cluster.node("a").completed(64),
        Some(&Err(AdminError::Overloaded))
    );
}

#[test]
fn pending_admin_requests_fail_when_the_node_stops() {
    let mut cluster = cluster();
    cluster.cut_off("a");
    cluster.node("a").admin(1, remove("c"));
    cluster.node("a").run();
    cluster.node("a").driver.stop();
    assert_eq!(
        cluster.node("a").completed(1),
        Some(&Err(AdminError::Stopped))
    );
}

#[test]
fn an_admin_request_of_a_non_member_is_ignored() {
    let mut cluster = cluster();
    let request = ForwardedAdminRequest {
        term: cluster.node("a").core().term(),
        id: 1,
        timeout_ms: 1000,
        request: remove("c"),
    };
    let to = "a".into();
    cluster.deliver("x", &to, Message::Request(RaftRequest::Admin(request)));
    cluster.settle();
    assert_eq!(voters(&mut cluster, "a"), ["a", "b", "c"]);
}

#[test]
fn a_follower_that_is_removed_by_its_own_request_reports_success() {
    let mut cluster = cluster();
    cluster.keep = |message| matches!(message, Message::Response(RaftResponse::Admin(_)));
    cluster.node("c").admin(1, remove("c"));
    cluster.settle();
    cluster.pass(HEARTBEAT);
    assert!(
        matches!(cluster.node("c").completed(1), Some(Ok(_))),
        "the response of the leader does not reach it any more"
    );
}
