//! Deduplication that keeps the last task, and keys with a window of their own.

use serde_json::{Value, json};

use super::Node;

impl Node {
    fn add_keyed(&mut self, payload: &str, more: Value) -> Value {
        let task = json!({"queue": "q", "payload": payload, "dedupe_key": "k"});
        self.send(json!({"enqueue": super::with(task, more)}))
    }
}

#[test]
fn a_window_counts_from_the_enqueue_whatever_becomes_of_the_task() {
    let mut node = Node::new();
    let window = json!({"dedupe_window_ms": 5000});
    assert_eq!(node.add_keyed("a", window.clone())["id"], 1);
    assert_eq!(
        node.advance_ms(4999).add_keyed("b", window.clone()),
        json!({"id": 1, "duplicate": true})
    );
    // The first task still exists.
    assert_eq!(
        node.advance_ms(1).add_keyed("c", window.clone()),
        json!({"id": 2, "duplicate": false})
    );
    let (id, token) = node.reserve_one();
    node.send(json!({"ack": {"id": id, "token": token}}));
    let (id, token) = node.reserve_one();
    node.send(json!({"ack": {"id": id, "token": token}}));
    // Both are done.
    assert_eq!(
        node.advance_ms(4999).add_keyed("d", window.clone()),
        json!({"id": 2, "duplicate": true})
    );
    assert_eq!(
        node.advance_ms(1).add_keyed("e", window)["duplicate"],
        false
    );
}

#[test]
fn the_last_task_replaces_the_content_of_the_first_while_that_one_waits() {
    let mut node = Node::new();
    let last = |more: Value| super::with(json!({"dedupe_keep": "last"}), more);
    node.add_keyed("a", last(json!({"priority": 5, "delay_ms": 1000})));
    node.enqueue("q", json!({"priority": 3, "delay_ms": 1000}));
    assert_eq!(
        node.add_keyed("b", last(json!({"priority": 1}))),
        json!({"id": 1, "duplicate": true})
    );
    assert_eq!(
        node.reserve_ids(&["q"], 9),
        [0; 0],
        "the delay of the first stays"
    );
    let tasks = node.advance_ms(1000).reserve(&["q"], 9);
    assert_eq!(
        (&tasks[0]["id"], &tasks[0]["payload"]),
        (&json!(1), &json!("b"))
    );
    // A worker holds it: the next one is a task of its own, and has the key.
    assert_eq!(
        node.add_keyed("c", last(json!({}))),
        json!({"id": 3, "duplicate": false})
    );
    node.send(json!({"ack": {"id": 1, "token": tasks[0]["token"]}}));
    assert_eq!(
        node.add_keyed("d", last(json!({}))),
        json!({"id": 3, "duplicate": true})
    );
    assert_eq!(node.task(3)["payload"], "d");
}

#[test]
fn debounce_starts_the_delay_again() {
    let mut node = Node::new();
    let debounce = json!({"dedupe_keep": "debounce", "delay_ms": 1000});
    node.add_keyed("a", debounce.clone());
    node.advance_ms(900);
    node.add_keyed("b", debounce);
    assert_eq!(node.advance_ms(999).reserve_ids(&["q"], 9), [0; 0]);
    let tasks = node.advance_ms(1).reserve(&["q"], 9);
    assert_eq!(
        (&tasks[0]["id"], &tasks[0]["payload"]),
        (&json!(1), &json!("b"))
    );
}
