use task_queue_raft::raft::membership::Membership;
use task_queue_raft::{MemoryStateMachine, RaftConfig};

use super::*;

fn nodes(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The status of `a` in a cluster of `a` and `b`.
fn status(leads: bool) -> Status {
    let raft = Raft::builder(RaftConfig::default(), MemoryStateMachine::new());
    let mut status = raft.build().status();
    let voters = ["a", "b"].map(NodeId::from);
    status.node_id = NodeId::from("a");
    status.membership = Membership::of_voters(&voters, &std::collections::BTreeMap::new());
    status.cluster_level = 1;
    status.has_committed_in_term = leads;
    status
}

fn record(node: &str, is_low: bool) -> Option<MemoryRecord> {
    Some(MemoryRecord {
        node: node.to_owned(),
        is_low,
    })
}

#[test]
fn a_node_reports_what_the_log_does_not_have() {
    let (status, none) = (status(false), nodes(&[]));
    let next = |low: &[&str], is_low| next_record(&nodes(low), is_low, &status, &none);
    assert_eq!(next(&[], true), record("a", true));
    assert_eq!(next(&["a"], false), record("a", false));
    assert_eq!(next(&["a"], true), None);
    assert_eq!(
        next(&["b", "z"], false),
        None,
        "only the leader reports for others"
    );
}

#[test]
fn the_leader_reports_for_nodes_that_can_not() {
    let status = status(true);
    let next =
        |low: &[&str], absent: &[&str]| next_record(&nodes(low), false, &status, &nodes(absent));
    assert_eq!(next(&["b"], &[]), None);
    assert_eq!(next(&["b"], &["b"]), record("b", false));
    assert_eq!(next(&["z"], &[]), record("z", false), "not a member");
}

#[test]
fn a_cluster_that_earlier_releases_may_join_has_no_such_records() {
    let mut status = status(true);
    status.cluster_level = 0;
    assert_eq!(next_record(&nodes(&[]), true, &status, &nodes(&[])), None);
}

#[test]
fn a_node_is_absent_after_two_looks() {
    let low = nodes(&["b", "c"]);
    let mut absent = Absent::default();
    absent.look(&low, |id| id.as_str() == "c");
    assert_eq!(absent.longer, nodes(&[]));
    absent.look(&low, |_| false);
    assert_eq!(absent.longer, nodes(&["b"]));
    absent.look(&low, |_| true);
    assert_eq!(absent.longer, nodes(&[]));
}
