//! The digest of a core: the part of its state that affects its later behavior.

use std::time::Duration;

use super::kit::*;

fn digest(node: &Node) -> String {
    let mut text = String::new();
    node.core.digest(&mut text).unwrap();
    text
}

#[test]
fn cores_that_differ_only_in_time_and_write_numbers_have_the_same_digest() {
    let (mut early, mut late) = (Node::new("a"), Node::new("a"));
    late.now += Duration::from_secs(60);
    // One more write: a vote in the previous term.
    late.step("b", vote_message(vote_request("b", 1, id(0, 0))));
    early.step("b", append("b", 2, id(0, 0), &[2], 0));
    late.step("b", append("b", 2, id(0, 0), &[2], 0));
    assert_eq!(digest(&early), digest(&late));
}

#[test]
fn every_state_that_affects_later_behavior_changes_the_digest() {
    let plain = Node::new("a");
    let mut seen = vec![digest(&plain)];
    let mut expect_new = |node: &Node| {
        let digest = digest(node);
        assert!(!seen.contains(&digest), "{digest}");
        seen.push(digest);
    };
    let mut node = Node::new("a");
    node.disk_works = false;
    node.step("b", vote_message(vote_request("b", 1, id(0, 0))));
    expect_new(&node);
    node.finish_task();
    expect_new(&node);
    node.step("b", append("b", 1, id(0, 0), &[1], 0));
    expect_new(&node);
    node.finish_task();
    expect_new(&node);
    node.step("b", append("b", 1, id(1, 1), &[], 1));
    expect_new(&node);
    node.campaign();
    expect_new(&node);
    let mut leader = Node::new("a");
    leader.lead();
    expect_new(&leader);
    leader.propose("x");
    expect_new(&leader);
    leader.step("b", matched(1, 2));
    expect_new(&leader);
}
