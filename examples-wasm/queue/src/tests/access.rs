//! A token that is limited to queues: what its owner can do, and what is refused.

use oarlock_guest::Caller;
use serde_json::{Value, json};

use super::{Node, pair};

/// Limits the node's client to the queue `a`.
fn limit(node: &mut Node) {
    let caller = Caller::new("ann").with_scope("queues", ["a"]);
    node.0.set_caller(Some(caller));
}

/// The code and field of a query's refusal.
#[track_caller]
fn query_refused(node: &Node, query: Value) -> (String, String) {
    let outcome = node.0.send_query(query.to_string());
    assert!(!outcome.accepted, "{query}: {outcome:?}");
    let body: Value = serde_json::from_str(outcome.text()).unwrap();
    let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("field"))
}

/// A node with task 1 in `a` and task 2 in `b`, both held by a worker, with their tokens; and a schedule in each queue.
fn node() -> (Node, [String; 2]) {
    let mut node = Node::new();
    node.enqueue("a", json!({}));
    node.enqueue("b", json!({}));
    let tokens = ["a", "b"].map(|queue| {
        let tasks = node.reserve(&[queue], 1);
        tasks[0]["token"].as_str().unwrap().to_owned()
    });
    for queue in ["a", "b"] {
        let task = json!({"queue": queue, "payload": 1});
        node.send(json!({"set_schedule": {"name": queue, "task": task, "every_ms": 60_000}}));
    }
    node.send(json!({"open_group": {"group": "g"}}));
    (node, tokens)
}

#[test]
fn every_command_for_another_queue_is_refused_and_changes_nothing() {
    let (mut node, [own, token]) = node();
    let wait =
        json!({"reserve": {"queues": ["b"], "worker": "w2", "lease_ms": 1, "wait_ms": 9999}});
    assert!(node.0.send(wait.to_string()).deferred.is_some());
    limit(&mut node);
    let before = node.0.snapshot();
    let task = |queue: &str| json!({"queue": queue, "payload": 1});
    for (command, field) in [
        (json!({"enqueue": task("b")}), "queue"),
        (
            json!({"enqueue": {"queue": "a", "payload": 1, "after": [2]}}),
            "after",
        ),
        (
            json!({"enqueue": {"queue": "a", "payload": 1, "group": "g"}}),
            "group",
        ),
        (
            json!({"reserve": {"queues": ["a", "b"], "worker": "w", "lease_ms": 1}}),
            "queues",
        ),
        (json!({"end_waits": {"worker": "w2"}}), "worker"),
        (json!({"ack": {"id": 2, "token": token}}), "id"),
        (json!({"nack": {"id": 2, "token": token}}), "id"),
        (
            json!({"extend": {"id": 2, "token": token, "lease_ms": 1}}),
            "id",
        ),
        (json!({"release": {"id": 2, "token": token}}), "id"),
        (json!({"cancel": {"id": 2}}), "id"),
        (json!({"wait_for": {"id": 2, "wait_ms": 1}}), "id"),
        (
            json!({"batch": {"commands": [{"ack": {"id": 1, "token": own}}, {"cancel": {"id": 2}}], "all_or_nothing": true}}),
            "commands[1].id",
        ),
        (json!({"configure": {"queue": "b"}}), "queue"),
        (
            json!({"configure": {"queue": "a", "dead_letter": "b"}}),
            "dead_letter",
        ),
        (
            json!({"configure_key": {"queue": "b", "key": "k"}}),
            "queue",
        ),
        (json!({"pause": {"queue": "b"}}), "queue"),
        (json!({"resume": {"queue": "b"}}), "queue"),
        (json!({"purge": {"queue": "b"}}), "queue"),
        (json!({"delete_queue": {"queue": "b"}}), "queue"),
        (json!({"redrive": {"queue": "b"}}), "queue"),
        (json!({"redrive": {"queue": "a", "to": "b"}}), "to"),
        (json!({"open_group": {"group": "h"}}), "group"),
        (json!({"close_group": {"group": "g"}}), "group"),
        (
            json!({"set_schedule": {"name": "c", "task": task("b"), "every_ms": 60_000}}),
            "task.queue",
        ),
        (
            json!({"set_schedule": {"name": "b", "task": task("a"), "every_ms": 60_000}}),
            "name",
        ),
        (json!({"add_ticks": {"name": "b", "after_ms": 0}}), "name"),
        (
            json!({"pause_schedule": {"name": "b", "paused": true}}),
            "name",
        ),
        (json!({"delete_schedule": {"name": "b"}}), "name"),
    ] {
        assert_eq!(
            node.refused(command.clone()),
            pair("forbidden", field),
            "{command}"
        );
    }
    assert!(node.0.snapshot() == before);
}

#[test]
fn a_limited_worker_and_producer_work_in_their_queue() {
    let (mut node, [own, _]) = node();
    limit(&mut node);
    node.send(json!({"extend": {"id": 1, "token": own, "lease_ms": 9999}}));
    node.send(json!({"ack": {"id": 1, "token": own, "result": 5}}));
    assert_eq!(
        node.send(json!({"wait_for": {"id": 1, "wait_ms": 1}}))["result"],
        5
    );
    let id = node.enqueue("a", json!({"dedupe_key": "k"}));
    assert_eq!(node.reserve_ids(&["a"], 9), [id]);
    for command in [
        json!({"configure": {"queue": "a", "concurrency": 5}}),
        json!({"pause": {"queue": "a"}}),
        json!({"resume": {"queue": "a"}}),
        json!({"purge": {"queue": "a"}}),
        json!({"redrive": {"queue": "a"}}),
        json!({"pause_schedule": {"name": "a", "paused": true}}),
        json!({"delete_schedule": {"name": "a"}}),
        json!({"end_waits": {"worker": "w1"}}),
        json!({"end_waits": {"worker": "nobody"}}),
    ] {
        node.send(command);
    }
    // A task that does not exist is not in another queue.
    assert_eq!(
        node.refused(json!({"cancel": {"id": 99}})),
        pair("no_such_task", "id")
    );
}

#[test]
fn in_a_batch_each_command_is_checked_alone() {
    let (mut node, [own, token]) = node();
    limit(&mut node);
    let reply = node.send(json!({"batch": {"commands": [
        {"ack": {"id": 1, "token": own}},
        {"ack": {"id": 2, "token": token}},
        {"enqueue": {"queue": "b", "payload": 1}},
        {"enqueue": {"queue": "a", "payload": 1}},
    ]}}));
    let codes: Vec<&str> = reply["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["error"]["code"].as_str().unwrap_or("done"))
        .collect();
    assert_eq!(codes, ["done", "forbidden", "forbidden", "done"]);
}

#[test]
fn queries_show_the_queues_of_the_token_only() {
    let (mut node, _) = node();
    node.enqueue("a", json!({}));
    node.enqueue("b", json!({}));
    limit(&mut node);
    let names = |response: Value, kind: &str| -> Vec<String> {
        let entries = response[kind].as_object().unwrap();
        entries.keys().cloned().collect()
    };
    assert_eq!(names(node.query(json!({"stats": {}})), "queues"), ["a"]);
    assert_eq!(
        names(node.query(json!({"schedules": {}})), "schedules"),
        ["a"]
    );
    let stuck = node.query(json!({"stuck": {}}));
    assert!(stuck.to_string().contains("\"a\"") || stuck["unserved"] == json!([]));
    assert!(!stuck.to_string().contains("\"b\""), "{stuck}");
    assert_eq!(node.task(1)["queue"], "a");
    node.query(json!({"list": {"queue": "a", "state": "ready"}}));
    node.query(json!({"keys": {"queue": "a"}}));
    for (query, field) in [
        (json!({"task": {"id": 2}}), "id"),
        (json!({"list": {"queue": "b", "state": "ready"}}), "queue"),
        (json!({"keys": {"queue": "b"}}), "queue"),
        (json!({"workers": {}}), "workers"),
        (json!({"group": {"group": "g"}}), "group"),
    ] {
        assert_eq!(
            query_refused(&node, query.clone()),
            pair("forbidden", field),
            "{query}"
        );
    }
}

#[test]
fn a_caller_without_the_scope_is_not_limited() {
    let (mut node, [_, token]) = node();
    node.0
        .set_caller(Some(Caller::new("bob").with_scope("tenants", ["x"])));
    node.send(json!({"ack": {"id": 2, "token": token}}));
    node.query(json!({"workers": {}}));
    // An empty scope allows no queue.
    node.0
        .set_caller(Some(Caller::new("eve").with_scope("queues", [""; 0])));
    assert_eq!(
        node.refused(json!({"enqueue": {"queue": "a", "payload": 1}})),
        pair("forbidden", "queue")
    );
}
