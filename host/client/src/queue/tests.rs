use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::client::tests::support::{ScriptedNode, Turn, client};

async fn queue(turn: Turn) -> (ScriptedNode, Queue) {
    let node = ScriptedNode::start([turn]).await;
    let queue = Queue::new(client(&[&node.endpoint]), "email");
    (node, queue)
}

fn sent(node: &ScriptedNode) -> Value {
    serde_json::from_slice(&node.seen()[0].body).unwrap()
}

#[tokio::test]
async fn an_enqueue_has_the_fields_that_are_set_and_json_as_it_was_written() {
    let (node, queue) = queue(Turn::Respond(200, r#"{"id":5,"duplicate":false}"#)).await;
    let mut task =
        NewTask::new(TaskPayload::json_text(r#"{"n": 12345678901234567890123}"#).unwrap());
    task.attributes.insert("trace".into(), "t1".into());
    task.dedupe_key = Some("k".into());
    let reply = queue.enqueue(&task).await.unwrap();
    assert_eq!((reply.id, reply.duplicate), (5, false));
    let body = String::from_utf8(node.seen()[0].body.to_vec()).unwrap();
    assert_eq!(
        body,
        r#"{"enqueue":{"queue":"email","payload":{"n": 12345678901234567890123},"attributes":{"trace":"t1"},"priority":0,"delay_ms":0,"dedupe_key":"k"}}"#
    );
}

#[tokio::test]
async fn bytes_are_sent_in_base64_and_null_is_json() {
    for (payload, field, value) in [
        (
            TaskPayload::bytes(&b"\x00\xff"[..]),
            "payload_base64",
            json!("AP8="),
        ),
        (TaskPayload::json(&()).unwrap(), "payload", Value::Null),
    ] {
        let (node, queue) = queue(Turn::Respond(200, r#"{"id":5,"duplicate":true}"#)).await;
        assert!(
            queue
                .enqueue(&NewTask::new(payload))
                .await
                .unwrap()
                .duplicate
        );
        let arguments = &sent(&node)["enqueue"];
        assert_eq!(arguments.get(field), Some(&value));
    }
}

#[tokio::test]
async fn a_reserve_returns_tasks_with_json_or_bytes() {
    const REPLY: &str = r#"{"tasks":[
        {"id":1,"queue":"email","payload":null,"attempt":1,"token":"1-a","lease_until_ms":9},
        {"id":2,"queue":"sms","payload_base64":"AP8=","attempt":2,"token":"2-b","lease_until_ms":9,"content_type":"x/y",
         "attributes":{"a":"b"},"ordering_key":"o","later":1}]}"#;
    let (node, queue) = queue(Turn::Respond(200, REPLY)).await;
    let options = ReserveOptions {
        also: vec!["sms".into()],
        wait: Duration::from_micros(1),
        ..ReserveOptions::new("w1")
    };
    let tasks = queue.reserve(&options).await.unwrap();
    assert_eq!(
        sent(&node),
        json!({"reserve": {"queues": ["email", "sms"], "worker": "w1", "lease_ms": 30_000, "max": 1, "wait_ms": 1}})
    );
    assert_eq!(tasks[0].payload.as_bytes(), b"null");
    assert_eq!(tasks[1].payload.as_bytes(), b"\x00\xff");
    assert_eq!(tasks[1].attributes["a"], "b");
    assert_eq!(tasks[1].ordering_key.as_deref(), Some("o"));
}

#[tokio::test]
async fn a_task_without_payload_or_with_bad_base64_is_an_error() {
    for reply in [
        r#"{"tasks":[{"id":1,"queue":"q","attempt":1,"token":"t","lease_until_ms":9}]}"#,
        r#"{"tasks":[{"id":1,"queue":"q","payload_base64":"%","attempt":1,"token":"t","lease_until_ms":9}]}"#,
        "[]",
    ] {
        let (_node, queue) = queue(Turn::Respond(200, reply)).await;
        let error = queue.reserve(&ReserveOptions::new("w")).await.unwrap_err();
        assert!(matches!(error, QueueError::Decode(_)), "{error:?}");
    }
}

#[tokio::test]
async fn the_timeout_of_a_wait_is_longer_than_the_wait() {
    let (node, queue) = queue(Turn::Respond(200, r#"{"tasks":[]}"#)).await;
    let options = ReserveOptions {
        wait: MAX_WAIT,
        ..ReserveOptions::new("w1")
    };
    queue.reserve(&options).await.unwrap();
    let timeout: u128 = node.seen()[0]
        .header("oarlock-timeout-ms")
        .unwrap()
        .parse()
        .unwrap();
    assert!(timeout > MAX_WAIT.as_millis(), "{timeout}");
}

#[tokio::test]
async fn a_refusal_has_its_code_and_field() {
    const STALE: &str = r#"{"error":{"code":"stale_token","message":"no","field":"token"}}"#;
    let (_node, queue) = queue(Turn::WithoutIndex(422, STALE)).await;
    let error = queue.cancel(1).await.unwrap_err();
    assert_eq!(error.code(), Some("stale_token"));
    assert!(error.is_lost_delivery() && !error.is_unavailable());
}

#[tokio::test]
async fn each_command_of_a_batch_has_its_outcome() {
    const REPLY: &str = r#"{"results":[{"ok":{"id":1,"duplicate":false}},{"error":{"code":"full","message":"it is"}}]}"#;
    let (node, queue) = queue(Turn::Respond(200, REPLY)).await;
    let task = NewTask::json(&7).unwrap();
    let outcomes = queue
        .enqueue_all(&[task.clone(), task], true)
        .await
        .unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().id, 1);
    assert_eq!(outcomes[1].as_ref().unwrap_err().code, "full");
    let batch = &sent(&node)["batch"];
    assert_eq!(batch["all_or_nothing"], true);
    assert_eq!(batch["commands"][1]["enqueue"]["payload"], 7);
}

#[tokio::test]
async fn stats_are_read_with_and_without_details() {
    const PAGE: &str = r#"{"queues":{"a":{"ready":1,"delayed":0,"leased":0,"dead":0,"completed":2},
        "b":{"ready":1,"delayed":0,"leased":0,"dead":0,"completed":2,"waiting":0,"bytes":3,"oldest_ready_ms":4,"waiters":5,
             "paused":true,"enqueued_a_minute":0,"completed_a_minute":0,"failed_a_minute":0,"failed":0,"expired":0,"removed":0}},
        "next":"b"}"#;
    let (_node, queue) = queue(Turn::Respond(200, PAGE)).await;
    let page = queue.stats_page(None, true).await.unwrap();
    assert_eq!(page.queues["a"].detail, None);
    let detail = page.queues["b"].detail.as_ref().unwrap();
    assert_eq!((detail.waiters, detail.paused), (5, true));
    assert_eq!(page.next.as_deref(), Some("b"));
}

#[tokio::test]
async fn another_guest_and_an_earlier_queue_are_named() {
    const STATUS: &str = r#"{"node_id":"n1","role":"leader","term":3,"leader_id":"n1","commit_index":9,"applied_index":9,
        "first_log_index":1,"last_log_index":9,"snapshot_index":0,"state_hash":"00ff","members":[],
        "state_machine":{"name":"kv","version":1,"sha256":"ab"},"uptime_ms":5,"version":"0.1.0"}"#;
    const NO_SCHEMA: &str = r#"{"error":{"code":"no_schema","message":"none","hint":""}}"#;
    const OLD: &str = r#"{"properties":{"command":{"properties":{"enqueue":{},"reserve":{}}}}}"#;
    for (turn, words) in [
        (
            Turn::WithoutIndex(404, NO_SCHEMA),
            "it is not a task queue; use the endpoints",
        ),
        (
            Turn::WithoutIndex(200, OLD),
            "upgrade it with `oarlock upgrade`",
        ),
    ] {
        let node = ScriptedNode::start([turn, Turn::WithoutIndex(200, STATUS)]).await;
        let queue = Queue::new(client(&[&node.endpoint]), "email");
        let error = queue.check().await.unwrap_err().to_string();
        assert!(
            error.starts_with("the cluster runs kv version 1: ") && error.contains(words),
            "{error}"
        );
    }
    const NEW: &str = r#"{"properties":{"command":{"properties":{"enqueue":{},"reserve":{},"release":{},"wait_for":{},"redrive":{}}}}}"#;
    let (_node, queue) = queue(Turn::WithoutIndex(200, NEW)).await;
    queue.check().await.unwrap();
}

#[test]
fn the_name_before_another_one_is_directly_before_it() {
    for (name, earlier) in [
        ("email", "emaik"),
        ("b", "a"),
        ("a\u{e000}", "a"),
        ("\0", ""),
    ] {
        let before = name_before(name);
        assert!(before.as_str() < name, "{name}");
        assert!(before.as_str() >= earlier, "{name}");
    }
    assert!(name_before("email").as_str() > "emaikz");
    assert_eq!(name_before(""), "");
}
