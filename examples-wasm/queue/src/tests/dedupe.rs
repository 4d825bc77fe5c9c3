//! Deduplication keys.

use serde_json::{Value, json};

use super::Node;
use crate::limits::DEDUPE_WINDOW_MS;

fn add(node: &mut Node, queue: &str, key: &str) -> (u64, bool) {
    let reply = node.send(json!({"enqueue": {"queue": queue, "payload": 1, "dedupe_key": key}}));
    (
        reply["id"].as_u64().unwrap(),
        reply["duplicate"].as_bool().unwrap(),
    )
}

fn finish_one(node: &mut Node) {
    let (id, token) = node.reserve_one();
    node.send(json!({"ack": {"id": id, "token": token}}));
}

#[test]
fn a_known_key_returns_the_id_of_the_first_task() {
    let mut node = Node::new();
    assert_eq!(add(&mut node, "q", "k"), (1, false));
    assert_eq!(add(&mut node, "q", "k"), (1, true));
    assert_eq!(add(&mut node, "q", "other"), (2, false));
    assert_eq!(node.counts()[0], 2);
}

#[test]
fn keys_are_per_queue() {
    let mut node = Node::new();
    assert_eq!(add(&mut node, "q", "k"), (1, false));
    assert_eq!(add(&mut node, "r", "k"), (2, false));
}

#[test]
fn a_key_outlives_its_task_for_the_window_and_no_longer() {
    let mut node = Node::new();
    add(&mut node, "q", "k");
    finish_one(&mut node);
    assert_eq!(
        add(node.advance_ms(DEDUPE_WINDOW_MS - 1), "q", "k"),
        (1, true)
    );
    assert_eq!(add(node.advance_ms(1), "q", "k"), (2, false));
    assert_eq!(add(&mut node, "q", "k"), (2, true));
    finish_one(&mut node);
    assert_eq!(
        add(node.advance_ms(DEDUPE_WINDOW_MS - 1), "q", "k"),
        (2, true),
        "the window starts again"
    );
}

#[test]
fn a_key_is_known_while_its_task_exists() {
    let mut node = Node::new();
    node.send(
        json!({"enqueue": {"queue": "q", "payload": 1, "dedupe_key": "k", "max_attempts": 1}}),
    );
    let (id, token) = node.reserve_one();
    node.send(json!({"nack": {"id": id, "token": token}}));
    assert_eq!(node.counts()[3], 1, "it is dead");
    assert_eq!(
        add(node.advance_ms(2 * DEDUPE_WINDOW_MS), "q", "k"),
        (1, true)
    );
}

#[test]
fn a_key_survives_a_restore() {
    let mut node = Node::new();
    add(&mut node, "q", "k");
    finish_one(&mut node);
    let mut copy = Node(node.0.restored());
    assert_eq!(add(&mut copy, "q", "k"), (1, true));
}

#[test]
fn keys_whose_window_is_over_are_dropped() {
    let mut node = Node::new();
    for number in 0..100 {
        add(&mut node, "q", &format!("k{number}"));
        finish_one(&mut node);
    }
    assert_eq!(node.0.state().dedupe.ending_count(), 100);
    node.advance_ms(DEDUPE_WINDOW_MS);
    for number in 100..134 {
        add(&mut node, "q", &format!("k{number}"));
        finish_one(&mut node);
    }
    assert_eq!(node.0.state().dedupe.ending_count(), 34);
    assert_eq!(add(&mut node, "q", "k133"), (134, true));
}

#[test]
fn without_a_key_there_is_no_deduplication() {
    let mut node = Node::new();
    for id in 1..=2 {
        let reply =
            node.send(json!({"enqueue": {"queue": "q", "payload": 1, "dedupe_key": Value::Null}}));
        assert_eq!(reply, json!({"id": id, "duplicate": false}));
    }
}
