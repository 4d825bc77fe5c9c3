//! Groups, and tasks that wait for others.

use serde_json::json;

use super::{Node, pair};

#[test]
fn the_last_task_of_a_group_is_added_when_it_is_closed_and_all_are_done() {
    let mut node = Node::new();
    node.send(
        json!({"open_group": {"group": "g", "on_complete": {"queue": "r", "payload": "all"}}}),
    );
    node.enqueue("q", json!({"group": "g"}));
    node.enqueue("q", json!({"group": "g"}));
    let tasks = node.reserve(&["q"], 2);
    node.send(json!({"ack": {"id": 1, "token": tasks[0]["token"]}}));
    node.send(json!({"close_group": {"group": "g"}}));
    assert_eq!(
        node.query(json!({"group": {"group": "g"}}))["group"],
        json!({"open": false, "pending": 1, "dead": 0, "done": 1})
    );
    assert_eq!(
        node.refused(json!({"enqueue": {"queue": "q", "payload": 1, "group": "g"}})),
        pair("no_such_group", "group")
    );
    assert_eq!(node.reserve_ids(&["r"], 1), [0; 0]);
    node.send(json!({"ack": {"id": 2, "token": tasks[1]["token"]}}));
    assert_eq!(node.reserve(&["r"], 1)[0]["payload"], "all");
    assert_eq!(
        node.query(json!({"group": {"group": "g"}})),
        json!({"group": null})
    );
}

#[test]
fn the_first_dead_task_of_a_group_adds_its_task_once() {
    let mut node = Node::new();
    node.send(json!({"open_group": {
        "group": "g",
        "on_complete": {"queue": "r", "payload": "all"},
        "on_dead": {"queue": "r", "payload": "dead"},
    }}));
    for _ in 0..2 {
        node.enqueue("q", json!({"group": "g", "max_attempts": 1}));
    }
    node.send(json!({"close_group": {"group": "g"}}));
    for _ in 0..2 {
        let (id, token) = node.reserve_one();
        node.send(json!({"nack": {"id": id, "token": token}}));
    }
    let tasks = node.reserve(&["r"], 9);
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0]["payload"], "dead");
    assert_eq!(
        node.query(json!({"group": {"group": "g"}}))["group"]["dead"],
        2
    );
    // Returned and done, they complete the group.
    node.send(json!({"redrive": {"queue": "q"}}));
    for _ in 0..2 {
        let (id, token) = node.reserve_one();
        node.send(json!({"ack": {"id": id, "token": token}}));
    }
    assert_eq!(node.reserve(&["r"], 9)[0]["payload"], "all");
}

#[test]
fn a_task_is_delivered_after_the_tasks_that_it_waits_for() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({"after": [1, 2], "priority": -5}));
    assert_eq!(node.counts(), [2, 1, 0, 0, 0]);
    let tasks = node.reserve(&["q"], 9);
    assert_eq!(tasks.len(), 2);
    node.send(json!({"ack": {"id": 2, "token": tasks[1]["token"]}}));
    assert_eq!(node.reserve_ids(&["q"], 9), [0; 0]);
    node.send(json!({"ack": {"id": 1, "token": tasks[0]["token"]}}));
    assert_eq!(node.reserve_ids(&["q"], 9), [3]);
    // A task that is done already needs no wait.
    assert_eq!(node.enqueue("r", json!({"after": [1]})), 4);
    assert_eq!(node.reserve_ids(&["r"], 9), [4]);
    assert_eq!(
        node.refused(json!({"enqueue": {"queue": "q", "payload": 1, "after": [9]}})),
        pair("no_such_task", "id")
    );
}

#[test]
fn a_task_whose_predecessor_was_removed_is_dead_and_says_so() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({"after": [1]}));
    node.enqueue("q", json!({"after": [2]}));
    node.send(json!({"cancel": {"id": 1}}));
    assert_eq!(node.task(2)["state"], "dead");
    assert_eq!(
        node.task(2)["errors"],
        json!(["task 1, for which it waited, was removed"])
    );
    assert_eq!(
        node.task(3)["state"],
        "waiting",
        "a dead task can be returned"
    );
    node.send(json!({"redrive": {"queue": "q"}}));
    let (id, token) = node.reserve_one();
    assert_eq!(id, 2);
    node.send(json!({"ack": {"id": id, "token": token}}));
    assert_eq!(node.reserve_ids(&["q"], 9), [3]);
}

#[test]
fn a_tree_of_tasks_is_added_in_one_batch() {
    let mut node = Node::new();
    let task =
        |after: &[u32]| json!({"enqueue": {"queue": "q", "payload": 1, "after_batch": after}});
    node.send(json!({"batch": {"commands": [task(&[]), task(&[]), task(&[0, 1])]}}));
    assert_eq!(node.reserve_ids(&["q"], 9), [1, 2]);
    assert_eq!(node.task(3)["state"], "waiting");
}
