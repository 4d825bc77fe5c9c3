//! Leases, tokens, attempts and the dead set.

use serde_json::json;

use super::{Node, pair};

#[test]
fn a_token_is_valid_for_one_delivery() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let (id, first) = node.reserve_one();
    let (_, second) = node.advance_ms(1000).reserve_one();
    assert_ne!(first, second);
    for command in [
        json!({"ack": {"id": id, "token": first}}),
        json!({"nack": {"id": id, "token": first, "delay_ms": 0, "error": "late"}}),
        json!({"extend": {"id": id, "token": first, "lease_ms": 1000}}),
        json!({"ack": {"id": id, "token": ""}}),
    ] {
        assert_eq!(node.refused(command), pair("stale_token", "token"));
    }
    assert_eq!(
        node.send(json!({"ack": {"id": id, "token": second}})),
        json!({})
    );
    assert_eq!(
        node.refused(json!({"ack": {"id": id, "token": second}})),
        pair("no_such_task", "id")
    );
}

#[test]
fn tokens_of_one_entry_differ() {
    let mut node = Node::new();
    for _ in 0..50 {
        node.enqueue("q", json!({}));
    }
    let tokens: std::collections::BTreeSet<_> = node
        .reserve(&["q"], 50)
        .iter()
        .map(|task| task["token"].to_string())
        .collect();
    assert_eq!(tokens.len(), 50);
}

#[test]
fn a_token_is_valid_after_the_lease_expired_until_the_next_delivery() {
    for seen_by_a_reserve in [false, true] {
        let mut node = Node::new();
        node.enqueue("q", json!({"priority": 2}));
        let (id, token) = node.reserve_one();
        node.advance_ms(5000);
        if seen_by_a_reserve {
            // The task is ready again, and another one is delivered.
            node.enqueue("q", json!({"priority": 1}));
            assert_eq!(node.reserve_ids(&["q"], 1), [2]);
            assert_eq!(node.task(id)["state"], "ready");
        }
        assert_eq!(
            node.send(json!({"ack": {"id": id, "token": token}})),
            json!({})
        );
        assert_eq!(node.counts()[4], 1);
        assert_eq!(
            node.reserve_ids(&["q"], 1),
            [0; 0],
            "nothing is left to deliver"
        );
    }
}

#[test]
fn a_late_worker_may_extend_or_return_a_task_that_was_not_delivered_again() {
    let mut node = Node::new();
    node.enqueue("q", json!({"priority": 2}));
    let (id, token) = node.reserve_one();
    node.advance_ms(1000).enqueue("q", json!({"priority": 1}));
    node.reserve(&["q"], 1);
    let until = node.now_ms() + 500;
    assert_eq!(
        node.send(json!({"extend": {"id": id, "token": token, "lease_ms": 500}})),
        json!({"lease_until_ms": until})
    );
    assert_eq!(node.reserve_ids(&["q"], 1), [0; 0]);
    assert_eq!(
        node.send(json!({"nack": {"id": id, "token": token, "delay_ms": 0}})),
        json!({"state": "delayed"})
    );
    assert_eq!(node.reserve_ids(&["q"], 1), [1]);
}

#[test]
fn a_lease_expires_at_its_time_and_not_before() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    node.reserve_one();
    assert_eq!(node.advance_ms(999).reserve_ids(&["q"], 1), [0; 0]);
    assert_eq!(node.advance_ms(1).reserve_ids(&["q"], 1), [1]);
}

#[test]
fn extending_counts_from_now() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    let until = node.advance_ms(600).now_ms() + 1000;
    assert_eq!(
        node.send(json!({"extend": {"id": id, "token": token, "lease_ms": 1000}})),
        json!({"lease_until_ms": until})
    );
    assert_eq!(node.advance_ms(999).reserve_ids(&["q"], 1), [0; 0]);
    assert_eq!(node.advance_ms(1).reserve_ids(&["q"], 1), [1]);
}

#[test]
fn attempts_are_counted_on_delivery() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    assert_eq!(node.task(1)["attempt"], 0);
    assert_eq!(node.reserve(&["q"], 1)[0]["attempt"], 1);
    assert_eq!(node.task(1)["attempt"], 1);
    assert_eq!(node.advance_ms(1000).reserve(&["q"], 1)[0]["attempt"], 2);
}

#[test]
fn a_returned_task_waits_for_its_delay() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    let reply =
        node.send(json!({"nack": {"id": id, "token": token, "delay_ms": 1000, "error": "boom"}}));
    assert_eq!(reply, json!({"state": "delayed"}));
    assert_eq!(node.counts(), [0, 1, 0, 0, 0]);
    assert_eq!(node.task(id)["errors"], json!(["boom"]));
    assert_eq!(
        node.refused(json!({"ack": {"id": id, "token": token}})),
        pair("stale_token", "token")
    );
    assert_eq!(node.advance_ms(999).reserve_ids(&["q"], 1), [0; 0]);
    assert_eq!(node.advance_ms(1).reserve_ids(&["q"], 1), [1]);
}

#[test]
fn a_task_returned_in_its_last_attempt_is_dead_and_kept() {
    let mut node = Node::new();
    node.enqueue("q", json!({"max_attempts": 2}));
    for (attempt, state) in [(1, "delayed"), (2, "dead")] {
        let (id, token) = node.reserve_one();
        let error = format!("attempt {attempt}");
        let reply =
            node.send(json!({"nack": {"id": id, "token": token, "delay_ms": 0, "error": error}}));
        assert_eq!(reply, json!({"state": state}));
    }
    assert_eq!(node.counts(), [0, 0, 0, 1, 0]);
    let task = node.task(1);
    assert_eq!(
        (&task["state"], &task["errors"]),
        (&json!("dead"), &json!(["attempt 1", "attempt 2"]))
    );
    assert_eq!(node.advance_ms(1 << 40).reserve_ids(&["q"], 1), [0; 0]);
}

#[test]
fn a_task_whose_lease_expires_in_its_last_attempt_is_dead_and_kept() {
    let mut node = Node::new();
    node.enqueue("q", json!({"max_attempts": 1}));
    let (id, token) = node.reserve_one();
    assert_eq!(node.advance_ms(1000).reserve_ids(&["q"], 1), [0; 0]);
    assert_eq!(node.counts(), [0, 0, 0, 1, 0]);
    assert_eq!(
        node.task(id)["errors"],
        json!(["the lease of worker w1 ran out"])
    );
    // It was not delivered again, so the late worker may still acknowledge it.
    assert_eq!(
        node.send(json!({"ack": {"id": id, "token": token}})),
        json!({})
    );
    assert_eq!(node.counts(), [0, 0, 0, 0, 1]);
}

#[test]
fn a_task_keeps_its_last_errors_cut_to_their_limit() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    for attempt in 1..=12 {
        let (id, token) = node.reserve_one();
        let error = format!("{attempt} {}", "é".repeat(2000));
        node.send(json!({"nack": {"id": id, "token": token, "delay_ms": 0, "error": error}}));
    }
    let errors = node.task(1)["errors"].clone();
    let errors: Vec<&str> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error.as_str().unwrap())
        .collect();
    assert_eq!(errors.len(), 10);
    assert!(errors[0].starts_with("3 é") && errors[9].starts_with("12 é"));
    assert!(
        errors
            .iter()
            .all(|error| (1023..=1024).contains(&error.len()))
    );
}
