//! Pause, purge, deletion, lists, limits of length, workers, what is stuck.

use serde_json::{Value, json};

use super::{Node, pair};

#[test]
fn a_paused_queue_takes_tasks_and_delivers_none() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    node.send(json!({"pause": {"queue": "q"}}));
    node.enqueue("q", json!({}));
    assert_eq!(node.reserve_ids(&["q"], 9), [0; 0]);
    assert_eq!(
        node.query(json!({"stats": {"detail": true}}))["queues"]["q"]["paused"],
        true
    );
    node.send(json!({"resume": {"queue": "q"}}));
    assert_eq!(node.reserve_ids(&["q"], 9), [1, 2]);
    assert_eq!(
        node.refused(json!({"pause": {"queue": "none"}})),
        pair("no_such_queue", "queue")
    );
}

#[test]
fn a_purge_removes_all_that_wait_and_leaves_what_workers_hold() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    node.reserve_one();
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({"delay_ms": 5000}));
    node.enqueue("q", json!({"ttl_ms": 5000}));
    node.enqueue("q", json!({"after": [1]}));
    node.enqueue("q", json!({"ordering_key": "o"}));
    node.enqueue("q", json!({"ordering_key": "o"}));
    assert_eq!(
        node.send(json!({"purge": {"queue": "q"}})),
        json!({"removed": 6, "more": false})
    );
    assert_eq!(node.counts(), [0, 0, 1, 0, 0]);
}

#[test]
fn a_purge_of_many_tasks_takes_several_commands() {
    let mut node = Node(oarlock_guest::testing::Harness::new().without_refusal_check());
    let task = json!({"enqueue": {"queue": "q", "payload": 1}});
    for _ in 0..5 {
        node.send(json!({"batch": {"commands": vec![&task; 1000]}}));
    }
    assert_eq!(
        node.send(json!({"purge": {"queue": "q"}})),
        json!({"removed": 4096, "more": true})
    );
    assert_eq!(
        node.send(json!({"purge": {"queue": "q"}})),
        json!({"removed": 904, "more": false})
    );
}

#[test]
fn a_queue_with_tasks_is_deleted_only_by_force_and_its_name_can_be_used_again() {
    let mut node = Node::new();
    node.enqueue("q", json!({"dedupe_key": "k"}));
    assert_eq!(
        node.refused(json!({"delete_queue": {"queue": "q"}})),
        pair("not_empty", "queue")
    );
    let (id, token) = node.reserve_one();
    assert_eq!(
        node.refused(json!({"delete_queue": {"queue": "q", "force": true}})),
        pair("not_empty", "queue")
    );
    node.send(json!({"ack": {"id": id, "token": token}}));
    node.enqueue("q", json!({"max_attempts": 1}));
    let (id, token) = node.reserve_one();
    node.send(json!({"nack": {"id": id, "token": token}}));
    let deleted = node.send(json!({"delete_queue": {"queue": "q", "force": true}}));
    assert_eq!(deleted, json!({"removed": 1, "more": false}));
    assert_eq!(node.query(json!({"stats": {}})), json!({"queues": {}}));
    node.enqueue("other", json!({}));
    let id = node.enqueue("q", json!({"dedupe_key": "k"}));
    assert_eq!(id, 4, "the key of the deleted queue is free");
    assert_eq!(node.counts(), [1, 0, 0, 0, 0]);
}

#[test]
fn a_queue_that_is_full_refuses_or_drops_its_oldest_task() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "q", "max_length": 2}}));
    node.enqueue("q", json!({}));
    node.enqueue("q", json!({}));
    assert_eq!(
        node.refused(json!({"enqueue": {"queue": "q", "payload": 1}})),
        pair("full", "queue")
    );
    node.send(json!({"configure": {"queue": "q", "overflow": "drop_oldest"}}));
    node.enqueue("q", json!({"priority": -1}));
    assert_eq!(node.reserve_ids(&["q"], 9), [3, 2]);
    assert_eq!(
        node.refused(json!({"enqueue": {"queue": "q", "payload": 1}})),
        pair("full", "queue")
    );
    node.send(json!({"configure": {"queue": "b", "max_bytes": 10}}));
    node.send(json!({"enqueue": {"queue": "b", "payload": "1234567"}}));
    assert_eq!(
        node.refused(json!({"enqueue": {"queue": "b", "payload": 12}})),
        pair("full", "queue")
    );
    node.send(json!({"enqueue": {"queue": "b", "payload": 1}}));
}

#[test]
fn tasks_are_listed_by_state_in_pages_with_filters() {
    let mut node = Node::new();
    for number in 0..5 {
        node.enqueue("q", json!({"payload": number, "fairness_key": if number % 2 == 0 { "even" } else { "odd" }}));
    }
    node.enqueue("q", json!({"delay_ms": 9000}));
    let list = |node: &Node, more: Value| {
        node.query(json!({"list": super::with(json!({"queue": "q", "state": "ready"}), more)}))
    };
    let ids = |page: &Value| {
        page["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|task| task["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = list(&node, json!({"max": 2, "after": after}));
        seen.extend(ids(&page));
        if page["next"].is_null() {
            break;
        }
        after = page["next"].clone();
    }
    assert_eq!(seen, [1, 3, 5, 2, 4], "by priority, key and age");
    assert_eq!(ids(&list(&node, json!({"fairness_key": "odd"}))), [2, 4]);
    assert_eq!(
        list(&node, json!({"payload": true, "max": 1}))["tasks"][0]["payload"],
        0
    );
    assert_eq!(ids(&list(&node, json!({"state": "timed"}))), [6]);
    assert_eq!(ids(&list(&node, json!({"min_age_ms": 1}))), [0; 0]);
    assert_eq!(ids(&list(&node, json!({"state": "dead"}))), [0; 0]);
    for bad in ["x", "1.2", "1.2.3.4", "99999999999999999999.1.1"] {
        let query = json!({"list": {"queue": "q", "state": "ready", "after": bad}});
        let outcome = node.0.send_query(query.to_string());
        assert!(
            outcome.text().contains(r#""field":"after""#),
            "{bad}: {outcome:?}"
        );
    }
}

#[test]
fn workers_are_remembered_with_what_they_hold_and_have_done() {
    let mut node = Node::new();
    for _ in 0..3 {
        node.enqueue("q", json!({}));
    }
    let tasks = node.reserve(&["q"], 3);
    node.send(json!({"ack": {"id": 1, "token": tasks[0]["token"]}}));
    node.send(json!({"nack": {"id": 2, "token": tasks[1]["token"], "delay_ms": 9000}}));
    let workers = node.query(json!({"workers": {}}))["workers"].clone();
    assert_eq!(
        workers,
        json!({"w1": {"last_seen_ms": node.now_ms(), "leased": 1, "completed": 1, "failed": 1}})
    );
}

#[test]
fn what_is_stuck_is_shown_with_its_reason() {
    let mut node = Node::new();
    node.enqueue("unserved", json!({}));
    node.enqueue("paused", json!({}));
    node.send(json!({"pause": {"queue": "paused"}}));
    node.send(json!({"configure": {"queue": "limited", "concurrency": 1}}));
    node.enqueue("limited", json!({"max_attempts": 1}));
    node.enqueue("limited", json!({}));
    let tasks = node.reserve(&["limited"], 1);
    let id = tasks[0]["id"].clone();
    node.send(json!({"extend": {"id": id, "token": tasks[0]["token"], "lease_ms": 1000}}));
    let stuck = node.query(json!({"stuck": {}}));
    let reasons: Vec<_> = stuck["unserved"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| {
            (
                queue["queue"].as_str().unwrap(),
                queue["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        reasons,
        [
            ("limited", "limit"),
            ("paused", "paused"),
            ("unserved", "no_worker")
        ]
    );
    assert_eq!(stuck["last_attempt"][0]["id"], id);
    assert_eq!(stuck["long_leases"][0]["id"], id);
}

#[test]
fn rates_and_ages_are_in_the_details() {
    let mut node = Node::new();
    for _ in 0..3 {
        node.enqueue("q", json!({}));
    }
    let (id, token) = node.reserve_one();
    node.send(json!({"ack": {"id": id, "token": token}}));
    node.advance_ms(60_000);
    let detail = node.query(json!({"stats": {"detail": true}}))["queues"]["q"].clone();
    assert_eq!(detail["enqueued_a_minute"], 3);
    assert_eq!(detail["completed_a_minute"], 1);
    assert_eq!(detail["oldest_ready_ms"], 60_000);
    assert_eq!(detail["bytes"], 8);
}
