//! A follower whose state machine is slower than the cluster. `tests/scripts/slow_machine.txt` shows the messages.

use super::kit::*;
use crate::ids::*;
use crate::message::AppendResult;
use crate::raft::*;

/// Twice three entries and a reserve of four.
const MOST: u64 = 14;

fn small(id: &str) -> CoreConfig {
    let mut config = config(id, "a b c");
    config.max_log_entries = 3;
    config.snapshot_threshold = 3;
    config.limits.reserved_entries = 4;
    config
}

fn follower() -> Node {
    Node::with(small("b"), HardState::default(), &[])
}

#[test]
fn a_follower_whose_machine_lags_accepts_entries_up_to_a_limit() {
    let mut node = follower();
    node.machine_works = false;
    node.step("a", append("a", 1, LogId::default(), &[1; 20], 20));
    let result = node.append_response_sent().result;
    assert_eq!(result, AppendResult::Matched(Index(MOST)));
    assert_eq!(node.core.log().len(), MOST);
    // The rest is dropped, like a lost message. A heartbeat gets its response.
    node.step("a", append("a", 1, id(1, MOST), &[1; 6], 20));
    assert_eq!(node.sent(), []);
    node.step("a", append("a", 1, id(1, MOST), &[], 20));
    let result = node.append_response_sent().result;
    assert_eq!(result, AppendResult::Matched(Index(MOST)));
}

#[test]
fn it_accepts_them_again_once_its_machine_has_caught_up() {
    let mut node = follower();
    node.machine_works = false;
    node.step("a", append("a", 1, LogId::default(), &[1; 20], 20));
    node.sent();
    node.machine_works = true;
    node.core.applied(node.now, Index(MOST));
    node.run();
    node.step("a", append("a", 1, id(1, MOST), &[1; 6], 20));
    let result = node.append_response_sent().result;
    assert_eq!(result, AppendResult::Matched(Index(20)));
    assert!(node.core.log().len() < MOST);
}

#[test]
fn a_log_is_not_limited_by_entries_that_may_be_uncommitted() {
    // Otherwise nothing could be committed with this follower any more.
    let mut node = follower();
    node.step("a", append("a", 1, LogId::default(), &[1; 20], 0));
    let result = node.append_response_sent().result;
    assert_eq!(result, AppendResult::Matched(Index(20)));
}

#[test]
fn a_conflict_at_the_limit_is_resolved() {
    let mut node = follower();
    node.machine_works = false;
    node.step("a", append("a", 1, LogId::default(), &[1; 14], 1));
    assert_eq!(node.core.log().len(), MOST);
    node.sent();
    node.step("c", append("c", 2, id(1, 10), &[2; 6], 1));
    let result = node.append_response_sent().result;
    assert_eq!(result, AppendResult::Matched(Index(MOST)));
    assert_eq!(node.core.log().last(), id(2, MOST));
}

#[test]
fn a_cluster_goes_on_without_it_and_it_catches_up_later() {
    let nodes = ["a", "b", "c"].map(|id| Node::with(small(id), HardState::default(), &[]));
    let mut cluster = Cluster::new(nodes);
    cluster.elect("a");
    cluster.node("c").machine_works = false;
    for _ in 0..50 {
        cluster.propose("a", "x");
        cluster.pass(HEARTBEAT);
        assert!(cluster.node("c").core.log().len() <= MOST);
    }
    let handed = cluster.node("c").core.log().applied();
    assert_eq!(handed, Index(1));
    cluster.node("c").machine_works = true;
    let now = cluster.now;
    let applying = cluster.node("c").applied.last().copied();
    let applying = applying.map_or(Index::ZERO, |last| last.index);
    cluster.node("c").core.applied(now, applying);
    cluster.pass(HEARTBEAT * 6);
    let last = cluster.node("a").core.log().last();
    assert_eq!(last.index, Index(51));
    let node = cluster.node("c");
    assert_eq!(node.core.log().applied(), last.index);
    assert!(node.core.log().len() <= MOST);
}
