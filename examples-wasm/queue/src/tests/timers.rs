//! Wake-ups.

use serde_json::json;

use super::Node;
use crate::limits::MAX_SWEPT;

#[test]
fn the_wake_time_is_the_first_timer() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.enqueue("q", json!({}));
    assert_eq!(node.0.wake_at(), None, "a ready task has no timer");
    node.enqueue("q", json!({"delay_ms": 5000}));
    assert_eq!(node.0.wake_at(), Some(start + 5000));
    node.enqueue("r", json!({"delay_ms": 9000}));
    assert_eq!(node.0.wake_at(), Some(start + 5000));
    node.reserve_one();
    assert_eq!(
        node.0.wake_at(),
        Some(start + 1000),
        "the lease expires first"
    );
}

#[test]
fn a_wake_up_fires_the_due_timers_of_all_queues_and_requests_the_next() {
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
fn a_wake_up_without_due_timers_requests_the_next() {
    let mut node = Node::new();
    let start = node.now_ms();
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({"delay_ms": 5000}));
    let (id, token) = node.reserve_one();
    node.send(json!({"ack": {"id": id, "token": token}}));
    assert_eq!(node.0.wake_at(), Some(start + 1000), "the request is kept");
    node.advance_ms(1000).0.wake();
    assert_eq!(node.0.wake_at(), Some(start + 5000));
}

#[test]
fn a_wake_time_in_the_past_is_replaced() {
    let mut node = Node::new();
    node.enqueue("q", json!({"delay_ms": 1000}));
    node.advance_ms(2000)
        .enqueue("q", json!({"delay_ms": 1000}));
    assert_eq!(node.reserve_ids(&["q"], 1), [1]);
    assert_eq!(node.0.wake_at(), Some(node.now_ms() + 1000));
}

#[test]
fn timers_past_the_limit_of_one_wake_up_are_left_for_the_next() {
    let mut node = Node(oarlock_guest::testing::Harness::new().without_refusal_check());
    for _ in 0..=MAX_SWEPT {
        node.enqueue("q", json!({"delay_ms": 10}));
    }
    node.advance_ms(10).0.wake();
    assert_eq!(node.counts()[..2], [MAX_SWEPT as u64, 1]);
    assert_eq!(
        node.0.wake_at(),
        Some(node.now_ms()),
        "the next one is due immediately"
    );
    node.0.wake();
    assert_eq!(node.counts()[..2], [MAX_SWEPT as u64 + 1, 0]);
}
