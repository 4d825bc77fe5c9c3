//! Order of delivery.

use serde_json::json;

use super::Node;

#[test]
fn a_smaller_priority_is_delivered_first_then_the_older_task() {
    let mut node = Node::new();
    for priority in [5, -3, 5, 0, i64::MIN, i64::MAX, 0] {
        node.enqueue("q", json!({"priority": priority}));
    }
    assert_eq!(node.reserve_ids(&["q"], 10), [5, 2, 4, 7, 1, 3, 6]);
}

#[test]
fn a_returned_task_keeps_its_age() {
    let mut node = Node::new();
    for _ in 0..3 {
        node.enqueue("q", json!({}));
    }
    let (id, token) = node.reserve_one();
    node.send(json!({"nack": {"id": id, "token": token, "delay_ms": 10}}));
    assert_eq!(node.advance_ms(10).reserve_ids(&["q"], 2), [1, 2]);
    assert_eq!(
        node.advance_ms(1000).reserve_ids(&["q"], 3),
        [1, 2, 3],
        "tasks with an expired lease too"
    );
}

#[test]
fn a_delayed_task_keeps_the_age_of_its_arrival() {
    let mut node = Node::new();
    node.enqueue("q", json!({"delay_ms": 10}));
    node.enqueue("q", json!({}));
    assert_eq!(node.advance_ms(10).reserve_ids(&["q"], 2), [1, 2]);
}

#[test]
fn several_queues_are_merged_in_one_order() {
    let mut node = Node::new();
    for (queue, priority) in [("a", 2), ("b", 1), ("a", 1), ("c", 0), ("b", 2)] {
        node.enqueue(queue, json!({"priority": priority}));
    }
    assert_eq!(node.reserve_ids(&["b", "a", "missing", "a"], 3), [2, 3, 1]);
    assert_eq!(node.reserve_ids(&["a", "b", "c"], 9), [4, 5]);
}

#[test]
fn a_reserve_delivers_at_most_max() {
    let mut node = Node::new();
    for _ in 0..5 {
        node.enqueue("q", json!({}));
    }
    assert_eq!(node.reserve_ids(&["q"], 2), [1, 2]);
    assert_eq!(node.reserve_ids(&["q"], 1000), [3, 4, 5]);
}

#[test]
fn ids_are_counted_over_all_queues_from_one() {
    let mut node = Node::new();
    assert_eq!(
        (
            node.enqueue("a", json!({})),
            node.enqueue("b", json!({})),
            node.enqueue("a", json!({}))
        ),
        (1, 2, 3)
    );
}
