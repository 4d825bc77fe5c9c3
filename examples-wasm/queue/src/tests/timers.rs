//! Being woken, so that nothing polls.

use serde_json::json;

use super::Node;
use crate::limits::MAX_SWEPT;

#[test]
fn the_host_is_asked_for_the_next_time_that_matters() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.enqueue("q", json!({}));
    assert_eq!(node.0.wake_at(), None, "a ready task waits for nothing");
    node.enqueue("q", json!({"delay_ms": 5000}));
    assert_eq!(node.0.wake_at(), Some(start + 5000));
    node.enqueue("r", json!({"delay_ms": 9000}));
    assert_eq!(node.0.wake_at(), Some(start + 5000));
    node.reserve_one();
    assert_eq!(
        node.0.wake_at(),
        Some(start + 1000),
        "the lease runs out first"
    );
}

#[test]
fn waking_looks_after_what_is_due_in_every_queue_and_asks_for_the_next() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.enqueue("q", json!({"max_attempts": 1}));
    node.reserve_one();
    node.enqueue("q", json!({"delay_ms": 1000}));
    node.enqueue("r", json!({"delay_ms": 1000}));
    node.enqueue("r", json!({"delay_ms": 3000}));
    node.advance_ms(1000).0.wake();
    assert_eq!(node.counts(), [1, 0, 0, 1, 0]);
    assert_eq!(node.task(3)["state"], "ready");
    assert_eq!(node.task(4)["state"], "delayed");
    assert_eq!(node.0.wake_at(), Some(start + 3000));
    node.advance_ms(2000).0.wake();
    assert_eq!(node.0.wake_at(), None);
}

#[test]
fn a_waking_that_comes_for_nothing_asks_for_the_right_time() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({"delay_ms": 5000}));
    let (id, token) = node.reserve_one();
    node.send(json!({"ack": {"id": id, "token": token}}));
    assert_eq!(node.0.wake_at(), Some(start + 1000), "not worth a call");
    node.advance_ms(1000).0.wake();
    assert_eq!(node.0.wake_at(), Some(start + 5000));
}

#[test]
fn a_time_that_passed_without_a_waking_is_asked_for_anew() {
    let mut node = Node::new();
    node.enqueue("q", json!({"delay_ms": 1000}));
    node.advance_ms(2000)
        .enqueue("q", json!({"delay_ms": 1000}));
    assert_eq!(node.reserve_ids(&["q"], 1), [1]);
    assert_eq!(node.0.wake_at(), Some(node.now_ms() + 1000));
}

#[test]
fn more_than_one_waking_may_do_is_left_to_the_next() {
    let mut node = Node(oarlock_guest::testing::Harness::new().without_refusal_check());
    for _ in 0..=MAX_SWEPT {
        node.enqueue("q", json!({"delay_ms": 10}));
    }
    node.advance_ms(10).0.wake();
    assert_eq!(node.counts()[..2], [MAX_SWEPT as u64, 1]);
    assert_eq!(
        node.0.wake_at(),
        Some(node.now_ms()),
        "and that one is due at once"
    );
    node.0.wake();
    assert_eq!(node.counts()[..2], [MAX_SWEPT as u64 + 1, 0]);
}
