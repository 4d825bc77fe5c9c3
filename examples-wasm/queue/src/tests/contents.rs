//! Payloads, attributes, results.

use serde_json::{Value, json};

use super::{Node, pair};

#[test]
fn a_payload_is_json_or_bytes_and_is_delivered_unchanged() {
    let mut node = Node::new();
    node.send(json!({"enqueue": {"queue": "q", "payload_base64": "AP8Q", "content_type": "image/png", "attributes": {"b": "2", "a": "é"}}}));
    node.send(json!({"enqueue": {"queue": "q", "payload": null}}));
    let tasks = node.reserve(&["q"], 2);
    assert_eq!(tasks[0]["payload_base64"], "AP8Q");
    assert_eq!(tasks[0].get("payload"), None);
    assert_eq!(tasks[0]["content_type"], "image/png");
    assert_eq!(tasks[0]["attributes"], json!({"a": "é", "b": "2"}));
    assert_eq!(tasks[1]["payload"], Value::Null);
    assert_eq!(tasks[1].get("payload_base64"), None);
    assert_eq!(node.task(1)["payload_base64"], "AP8Q");
}

#[test]
fn contents_are_checked() {
    let mut node = Node::new();
    let many: serde_json::Map<String, Value> =
        (0..11).map(|n| (n.to_string(), json!("x"))).collect();
    let long = "x".repeat(4097);
    for (more, code, field) in [
        (
            json!({"payload": 1, "payload_base64": "AA=="}),
            "bad_command",
            "payload_base64",
        ),
        (
            json!({"payload_base64": "A"}),
            "out_of_range",
            "payload_base64",
        ),
        (
            json!({"payload": 1, "attributes": many}),
            "out_of_range",
            "attributes",
        ),
        (
            json!({"payload": 1, "attributes": {"": "x"}}),
            "out_of_range",
            "attributes",
        ),
        (
            json!({"payload": 1, "attributes": {"a": long}}),
            "out_of_range",
            "attributes.a",
        ),
        (
            json!({"payload": 1, "content_type": ""}),
            "out_of_range",
            "content_type",
        ),
        (json!({"payload": 1, "ttl_ms": 0}), "out_of_range", "ttl_ms"),
    ] {
        let command = json!({"enqueue": super::with(json!({"queue": "q"}), more)});
        assert_eq!(node.refused(command), pair(code, field));
    }
}

#[test]
fn a_task_whose_attributes_do_not_fit_a_reply_is_refused() {
    let mut node = Node::new();
    node.0.set_reply_limit(8192);
    let text = "x".repeat(2000);
    let command = json!({"enqueue": {"queue": "q", "payload": 1, "attributes": {"a": text}}});
    assert_eq!(node.refused(command), pair("too_large", "payload"));
}

#[test]
fn a_result_is_bounded() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    let long = "x".repeat(64 << 10);
    assert_eq!(
        node.refused(json!({"ack": {"id": id, "token": token, "result": long}})),
        pair("out_of_range", "result")
    );
    assert_eq!(
        node.refused(json!({"ack": {"id": id, "token": token, "result_ttl_ms": 0}})),
        pair("out_of_range", "result_ttl_ms")
    );
}
