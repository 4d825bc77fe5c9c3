//! Several commands in one.

use serde_json::{Value, json};

use super::{Node, pair};

fn enqueue(queue: &str, more: Value) -> Value {
    json!({"enqueue": super::with(json!({"queue": queue, "payload": 1}), more)})
}

fn batch(commands: &[Value], all_or_nothing: bool) -> Value {
    json!({"batch": {"commands": commands, "all_or_nothing": all_or_nothing}})
}

#[test]
fn each_command_of_a_batch_has_its_own_outcome() {
    let mut node = Node::new();
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    let results = node.send(batch(
        &[
            enqueue("q", json!({"dedupe_key": "k"})),
            json!({"ack": {"id": 99, "token": "x"}}),
            enqueue("q", json!({"dedupe_key": "k"})),
            json!({"extend": {"id": id, "token": token, "lease_ms": 5000}}),
            json!({"ack": {"id": id, "token": token}}),
            json!({"ack": {"id": id, "token": token}}),
        ],
        false,
    ));
    let results = results["results"].as_array().unwrap();
    assert_eq!(results[0], json!({"ok": {"id": 2, "duplicate": false}}));
    assert_eq!(results[1]["error"]["code"], "no_such_task");
    assert_eq!(results[2], json!({"ok": {"id": 2, "duplicate": true}}));
    assert_eq!(
        results[3],
        json!({"ok": {"lease_until_ms": node.now_ms() + 5000}})
    );
    assert_eq!(results[4], json!({"ok": {}}));
    assert_eq!(results[5]["error"]["code"], "no_such_task");
    assert_eq!(node.counts(), [1, 0, 0, 0, 1]);
}

#[test]
fn all_or_nothing_applies_all_commands_or_none() {
    let mut node = Node::new();
    node.send(json!({"configure": {"queue": "small", "max_length": 2}}));
    node.enqueue("q", json!({}));
    let (id, token) = node.reserve_one();
    let ack = json!({"ack": {"id": id, "token": token}});
    for (commands, code, field) in [
        (
            vec![
                ack.clone(),
                enqueue("q", json!({})),
                json!({"cancel": {"id": 99}}),
            ],
            "no_such_task",
            "commands[2].id",
        ),
        (
            vec![enqueue("q", json!({})), ack.clone(), ack.clone()],
            "bad_command",
            "commands",
        ),
        (
            vec![
                enqueue("small", json!({})),
                enqueue("small", json!({})),
                ack.clone(),
                enqueue("small", json!({})),
            ],
            "full",
            "commands[3].queue",
        ),
        (
            vec![
                ack.clone(),
                enqueue("q", json!({"priority": 1, "delay_ms": 1_u64 << 60})),
            ],
            "out_of_range",
            "commands[1].delay_ms",
        ),
        (
            vec![
                enqueue("q", json!({"after_batch": [1]})),
                enqueue("q", json!({})),
            ],
            "out_of_range",
            "commands[0].after_batch",
        ),
    ] {
        // The harness checks that a refused command has changed nothing.
        assert_eq!(node.refused(batch(&commands, true)), pair(code, field));
    }
    let done = node.send(batch(
        &[
            enqueue("small", json!({})),
            ack,
            enqueue("small", json!({"after_batch": [0]})),
        ],
        true,
    ));
    assert_eq!(
        done,
        json!({"results": [{"ok": {"id": 2, "duplicate": false}}, {"ok": {}}, {"ok": {"id": 3, "duplicate": false}}]})
    );
    assert_eq!(node.task(3)["state"], "waiting");
}

#[test]
fn a_batch_is_bounded_and_contains_no_command_that_waits() {
    let mut node = Node::new();
    let many: Vec<Value> = (0..1001).map(|_| enqueue("q", json!({}))).collect();
    assert_eq!(
        node.refused(batch(&many, false)),
        pair("out_of_range", "commands")
    );
    assert_eq!(
        node.refused(batch(&[], false)),
        pair("out_of_range", "commands")
    );
    let reserve = json!({"reserve": {"queues": ["q"], "worker": "w", "lease_ms": 1}});
    assert_eq!(
        node.refused(batch(&[reserve], false)),
        pair("bad_command", "commands")
    );
    assert_eq!(
        node.refused(batch(&[batch(&[enqueue("q", json!({}))], false)], false)),
        pair("bad_command", "commands")
    );
    node.send(batch(&many[..1000], true));
    assert_eq!(node.counts()[0], 1000);
}
