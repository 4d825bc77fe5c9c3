//! Snapshots of version 1, which version 1 wrote: `data/version-1.snapshot` and, by an earlier SDK,
//! `data/version-1-format-1.snapshot`.

use serde_json::{Value, json};

use super::Node;

/// Its time, and the token that its worker holds for task 5.
const AT_MS: u64 = 1_577_836_800_000;
const HELD: &str = "1-0aed1ad35772f405";

const VERSION_1: &[u8] = include_bytes!("data/version-1.snapshot");
const FORMAT_1: &[u8] = include_bytes!("data/version-1-format-1.snapshot");
/// What version 2 writes after it has read them. They differ in the wake time, which format 1 does not contain.
const MIGRATED: &[u8] = include_bytes!("data/version-1-migrated.snapshot");
const FORMAT_1_MIGRATED: &[u8] = include_bytes!("data/version-1-format-1-migrated.snapshot");

fn migrated() -> Node {
    migrated_from(VERSION_1)
}

fn migrated_from(snapshot: &[u8]) -> Node {
    let mut node = Node::new();
    node.0.restore(snapshot).unwrap();
    assert_eq!(
        node.now_ms(),
        AT_MS,
        "the harness begins at the time at which it was written"
    );
    node
}

#[test]
fn tasks_of_version_1_keep_their_state_order_errors_and_keys() {
    let mut node = migrated();
    let stats = node.query(json!({"stats": {}}));
    assert_eq!(
        stats["queues"]["email"],
        json!({"ready": 1, "delayed": 1, "leased": 0, "dead": 1, "completed": 0})
    );
    assert_eq!(
        stats["queues"]["sms"],
        json!({"ready": 1, "delayed": 0, "leased": 1, "dead": 0, "completed": 1})
    );
    assert_eq!(node.task(3)["state"], "dead");
    assert_eq!(node.task(3)["errors"], json!(["no route"]));
    assert_eq!(node.task(2)["payload"], json!([1, 2.5]));
    for (queue, key, id) in [("email", "k1", 1), ("sms", "k2", 4)] {
        let reply =
            node.send(json!({"enqueue": {"queue": queue, "payload": 1, "dedupe_key": key}}));
        assert_eq!(reply, json!({"id": id, "duplicate": true}));
    }
    assert_eq!(node.enqueue("sms", json!({})), 7, "ids go on");
    assert_eq!(node.reserve_ids(&["email"], 9), [1]);
    assert_eq!(node.reserve_ids(&["sms"], 9), [6, 7]);
}

#[test]
fn a_token_and_a_lease_of_version_1_stay_valid() {
    let mut node = migrated();
    assert_eq!(
        node.send(json!({"ack": {"id": 5, "token": HELD}})),
        json!({})
    );
    let mut node = migrated();
    assert_eq!(node.advance_ms(999).reserve_ids(&["sms"], 9), [6]);
    assert_eq!(node.advance_ms(1).reserve_ids(&["sms"], 9), [5]);
    assert_eq!(
        node.task(5)["errors"],
        json!(["the lease of worker w1 ran out"])
    );
}

#[test]
fn timers_of_version_1_fire_and_its_keys_end() {
    let mut node = migrated();
    node.advance_ms(90_000).0.wake();
    assert_eq!(node.task(2)["state"], "ready");
    node.advance_ms(60 * 60 * 1000);
    let reply = node.send(json!({"enqueue": {"queue": "sms", "payload": 1, "dedupe_key": "k2"}}));
    assert_eq!(reply["duplicate"], Value::Bool(false));
}

#[test]
fn a_migrated_state_is_the_recorded_one_byte_for_byte() {
    for (snapshot, recorded) in [(VERSION_1, MIGRATED), (FORMAT_1, FORMAT_1_MIGRATED)] {
        let bytes = migrated_from(snapshot).0.snapshot();
        assert_eq!(bytes, recorded);
    }
}

#[test]
fn a_migrated_state_is_written_and_read_as_any_other() {
    let node = migrated();
    let bytes = node.0.snapshot();
    assert_eq!(Node(node.0.restored()).0.snapshot(), bytes);
}
