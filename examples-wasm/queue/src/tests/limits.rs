//! Refusals and the fields that they name.

use serde_json::{Value, json};

use super::{Node, pair, with};
use crate::limits::{MAX_DELAY_MS, MAX_LEASE_MS, MAX_QUEUES_A_RESERVE};

fn enqueue(more: Value) -> Value {
    json!({"enqueue": with(json!({"queue": "q", "payload": 1}), more)})
}

fn reserve(more: Value) -> Value {
    json!({"reserve": with(json!({"queues": ["q"], "worker": "w", "lease_ms": 1000}), more)})
}

#[test]
fn a_missing_field_is_named() {
    let mut node = Node::new();
    for (command, field) in [
        (json!({"enqueue": {"payload": 1}}), "queue"),
        (json!({"enqueue": {"queue": "q"}}), "payload"),
        (json!({"reserve": {"worker": "w", "lease_ms": 1}}), "queues"),
        (
            json!({"reserve": {"queues": ["q"], "lease_ms": 1}}),
            "worker",
        ),
        (
            json!({"reserve": {"queues": ["q"], "worker": "w"}}),
            "lease_ms",
        ),
        (json!({"ack": {"token": "t"}}), "id"),
        (json!({"ack": {"id": 1}}), "token"),
        (json!({"nack": {"id": 1}}), "token"),
        (json!({"extend": {"id": 1, "token": "t"}}), "lease_ms"),
    ] {
        assert_eq!(node.refused(command), pair("bad_command", field));
    }
}

#[test]
fn a_wrong_type_or_a_negative_time_is_named() {
    let mut node = Node::new();
    for (command, field) in [
        (enqueue(json!({"queue": 5})), "queue"),
        (enqueue(json!({"priority": "high"})), "priority"),
        (enqueue(json!({"priority": 0.5})), "priority"),
        (enqueue(json!({"priority": u64::MAX})), "priority"),
        (enqueue(json!({"delay_ms": -1})), "delay_ms"),
        (enqueue(json!({"max_attempts": -1})), "max_attempts"),
        (
            enqueue(json!({"max_attempts": 1_u64 << 32})),
            "max_attempts",
        ),
        (enqueue(json!({"dedupe_key": 5})), "dedupe_key"),
        (enqueue(json!({"prio": 5})), "prio"),
        (reserve(json!({"queues": "q"})), "queues"),
        (reserve(json!({"queues": ["q", null]})), "queues[1]"),
        (reserve(json!({"lease_ms": -1})), "lease_ms"),
        (reserve(json!({"max": -1})), "max"),
        (reserve(json!({"wait_ms": -1})), "wait_ms"),
        (json!({"ack": {"id": -1, "token": "t"}}), "id"),
        (
            json!({"nack": {"id": 1, "token": "t", "delay_ms": -5}}),
            "delay_ms",
        ),
        (
            json!({"nack": {"id": 1, "token": "t", "error": {}}}),
            "error",
        ),
        (
            json!({"extend": {"id": 1, "token": 5, "lease_ms": 1}}),
            "token",
        ),
        (json!({"drop": {}}), "drop"),
    ] {
        assert_eq!(node.refused(command), pair("bad_command", field));
    }
    for (query, field) in [
        (json!({"task": {}}), "id"),
        (json!({"task": {"id": "1"}}), "id"),
        (json!({"peek": {}}), "peek"),
    ] {
        let outcome = node.0.send_query(query.to_string());
        let named = format!(r#""field":"{field}""#);
        assert!(
            !outcome.accepted && outcome.text().contains(&named),
            "{query}: {outcome:?}"
        );
    }
}

#[test]
fn a_value_out_of_its_range_is_named() {
    let mut node = Node::new();
    let long = "x".repeat(201);
    let many: Vec<String> = (0..=MAX_QUEUES_A_RESERVE)
        .map(|number| number.to_string())
        .collect();
    for (command, field) in [
        (enqueue(json!({"queue": ""})), "queue"),
        (enqueue(json!({"queue": long})), "queue"),
        (enqueue(json!({"dedupe_key": ""})), "dedupe_key"),
        (enqueue(json!({"dedupe_key": long})), "dedupe_key"),
        (enqueue(json!({"max_attempts": 0})), "max_attempts"),
        (enqueue(json!({"delay_ms": MAX_DELAY_MS + 1})), "delay_ms"),
        (reserve(json!({"queues": []})), "queues"),
        (reserve(json!({"queues": many})), "queues"),
        (reserve(json!({"queues": ["q", long]})), "queues[1]"),
        (reserve(json!({"worker": ""})), "worker"),
        (reserve(json!({"worker": long})), "worker"),
        (reserve(json!({"lease_ms": 0})), "lease_ms"),
        (reserve(json!({"lease_ms": MAX_LEASE_MS + 1})), "lease_ms"),
        (reserve(json!({"max": 0})), "max"),
        (reserve(json!({"max": 1001})), "max"),
        (reserve(json!({"wait_ms": 60_001})), "wait_ms"),
    ] {
        assert_eq!(node.refused(command), pair("out_of_range", field));
    }
}

#[test]
fn values_at_their_limits_are_accepted() {
    let mut node = Node::new();
    let longest = "é".repeat(100);
    node.send(enqueue(json!({"queue": longest, "dedupe_key": longest, "max_attempts": u32::MAX, "delay_ms": MAX_DELAY_MS})));
    let outcome = node.0.send(reserve(json!({"queues": [longest], "worker": longest, "lease_ms": MAX_LEASE_MS, "max": 1000, "wait_ms": 60000})).to_string());
    assert!(outcome.deferred.is_some());
}

#[test]
fn a_refusal_of_nack_or_extend_names_what_is_wrong() {
    let mut node = Node::new();
    node.send(enqueue(json!({})));
    let (id, token) = node.reserve_one();
    for (command, field) in [
        (
            json!({"nack": {"id": id, "token": token, "delay_ms": MAX_DELAY_MS + 1}}),
            "delay_ms",
        ),
        (
            json!({"extend": {"id": id, "token": token, "lease_ms": 0}}),
            "lease_ms",
        ),
    ] {
        assert_eq!(node.refused(command), pair("out_of_range", field));
    }
    assert_eq!(
        node.refused(json!({"nack": {"id": 99, "token": token}})),
        pair("no_such_task", "id")
    );
    assert_eq!(
        node.refused(json!({"extend": {"id": 99, "token": token, "lease_ms": 5}})),
        pair("no_such_task", "id")
    );
}
