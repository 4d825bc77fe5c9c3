//! Replies within the limit of the host, and commands while memory is low.

use serde_json::{Value, json};

use super::{Node, pair};

/// A queue `q` with tasks of this payload size, in a node with this limit of replies.
fn filled(tasks: usize, payload: usize, limit: u64) -> Node {
    let mut node = Node::new();
    node.0.set_reply_limit(limit);
    for _ in 0..tasks {
        node.enqueue("q", json!({"payload": "x".repeat(payload)}));
    }
    node
}

/// The tasks of a reserve, and the size of its reply.
fn reserve(node: &mut Node) -> (usize, u64) {
    let reserve =
        json!({"reserve": {"queues": ["q"], "worker": "w", "lease_ms": 1000, "max": 1000}});
    let outcome = node.0.send(reserve.to_string());
    assert!(outcome.accepted, "{outcome:?}");
    let reply: Value = serde_json::from_str(outcome.text()).unwrap();
    let tasks = reply["tasks"].as_array().unwrap().len();
    (tasks, outcome.body.len() as u64)
}

#[test]
fn a_reserve_delivers_as_many_tasks_as_fit_into_a_reply() {
    let mut node = filled(10, 1000, 4000);
    let (mut delivered, mut replies) = (0, 0);
    loop {
        let (tasks, bytes) = reserve(&mut node);
        assert!(bytes <= 4000, "{bytes}");
        delivered += tasks;
        if tasks == 0 {
            break;
        }
        replies += 1;
    }
    assert_eq!((delivered, replies), (10, 4));
}

#[test]
fn every_task_that_is_accepted_can_be_delivered_and_shown() {
    let mut node = Node::new();
    node.0.set_reply_limit(3000);
    let (mut accepted, mut refused) = (0, 0);
    // A name whose encoding takes six bytes for each of its own.
    let name = "\u{1}".repeat(200);
    for payload in (0..3000).step_by(29) {
        let task = json!({"enqueue": {"queue": name, "payload": "y".repeat(payload)}});
        if node.0.send(task.to_string()).accepted {
            accepted += 1;
        } else {
            assert_eq!(node.refused(task), pair("too_large", "payload"));
            refused += 1;
        }
    }
    assert!(accepted > 30 && refused > 30, "{accepted} and {refused}");
    let reserve =
        json!({"reserve": {"queues": [name], "worker": "w", "lease_ms": 1000, "max": 1000}});
    let mut delivered = 0;
    while delivered < accepted {
        let outcome = node.0.send(reserve.to_string());
        assert!(outcome.body.len() <= 3000, "{}", outcome.body.len());
        let reply: Value = serde_json::from_str(outcome.text()).unwrap();
        let tasks = reply["tasks"].as_array().unwrap();
        assert!(!tasks.is_empty());
        delivered += tasks.len();
        for task in tasks {
            let nack = json!({"nack": {"id": task["id"], "token": task["token"], "delay_ms": 100_000,
                                       "error": "\u{2}".repeat(1024)}});
            node.send(nack);
            let shown = node
                .0
                .send_query(json!({"task": {"id": task["id"]}}).to_string());
            assert!(
                shown.accepted && shown.body.len() <= 3000,
                "{}",
                shown.body.len()
            );
        }
    }
}

#[test]
fn a_task_that_no_reply_can_deliver_any_more_does_not_block_its_queue() {
    let mut node = filled(2, 2000, 4000);
    node.enqueue("q", json!({"payload": 1}));
    node.0.set_reply_limit(1000);
    let (tasks, _) = reserve(&mut node);
    assert_eq!(tasks, 1, "the small one");
    let stats = node.query(json!({"stats": {}}));
    assert_eq!(
        (
            &stats["queues"]["q"]["dead"],
            &stats["queues"]["q"]["leased"]
        ),
        (&json!(2), &json!(1))
    );
    let refused = node.0.send_query(json!({"task": {"id": 1}}).to_string());
    assert!(
        !refused.accepted && refused.text().contains("too_large"),
        "{refused:?}"
    );
    node.0.set_reply_limit(4000);
    let task = node.query(json!({"task": {"id": 1}}));
    let error = task["task"]["errors"][0].as_str().unwrap();
    assert!(error.contains("can't deliver"), "{error}");
}

#[test]
fn stats_of_many_queues_continue_after_a_name() {
    let mut node = Node::new();
    for number in 0..100 {
        node.enqueue(&format!("queue{number:03}"), json!({}));
    }
    let all = node.query(json!({"stats": {}}));
    assert_eq!(all["next"], Value::Null);
    assert_eq!(all["queues"].as_object().unwrap().len(), 100);
    node.0.set_reply_limit(4000);
    let (mut seen, mut after) = (0, Value::Null);
    loop {
        let page = node.query(json!({"stats": {"after": after}}));
        assert!(page.to_string().len() <= 4000);
        seen += page["queues"].as_object().unwrap().len();
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(seen, 100);
}

#[test]
fn while_memory_is_low_tasks_are_delivered_and_acknowledged_and_none_is_added() {
    let mut node = filled(5, 200_000, 4 << 20);
    node.enqueue(
        "q",
        json!({"dedupe_key": "k", "payload": "z".repeat(600_000)}),
    );
    node.0.set_memory_is_low(true);
    let one_more = json!({"enqueue": {"queue": "q", "payload": 1}});
    assert_eq!(node.refused(one_more.clone()), pair("full", "queue"));
    let again = json!({"enqueue": {"queue": "q", "payload": 1, "dedupe_key": "k"}});
    assert_eq!(node.send(again), json!({"id": 6, "duplicate": true}));
    for _ in 0..6 {
        let tasks = node.reserve(&["q"], 1000);
        assert_eq!(tasks.len(), 1, "a reply stays small");
        node.send(json!({"ack": {"id": tasks[0]["id"], "token": tasks[0]["token"]}}));
    }
    node.0.set_memory_is_low(false);
    node.send(one_more);
}
