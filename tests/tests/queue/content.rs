//! What tasks contain, and commands that add and acknowledge several.

use serde_json::json;

use super::kit::{payloads, shared};

#[tokio::test(flavor = "multi_thread")]
async fn payload_of_bytes_with_attributes_and_content_type() {
    let client = shared().await;
    let task = json!({"queue": "bytes", "payload_base64": "AP8Q", "content_type": "image/x-test",
                      "attributes": {"trace": "t1", "tenant": "ü"}});
    client.send(json!({ "enqueue": task })).await;
    let delivered = client.reserve_one("bytes").await;
    assert_eq!(delivered["payload_base64"], "AP8Q");
    assert_eq!(delivered.get("payload"), None);
    assert_eq!(delivered["content_type"], "image/x-test");
    assert_eq!(
        delivered["attributes"],
        json!({"trace": "t1", "tenant": "ü"})
    );
    client.ack(&delivered).await;

    let invalid = json!({"enqueue": {"queue": "bytes", "payload_base64": "not base64"}});
    let (_, field) = client.refused(invalid).await;
    assert_eq!(field, "payload_base64");
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_have_an_outcome_for_each_command_or_apply_all_or_nothing() {
    let client = shared().await;
    let new = |number: u64| json!({"enqueue": {"queue": "batch", "payload": number}});
    let wrong = json!({"enqueue": {"queue": "", "payload": 3}});
    let batch = |commands, all_or_nothing| json!({"batch": {"commands": commands, "all_or_nothing": all_or_nothing}});
    let reply = client
        .send(batch(json!([new(1), wrong, new(2)]), false))
        .await;
    let results = reply["results"].as_array().expect("results");
    assert!(results[0]["ok"]["id"].is_u64() && results[2]["ok"]["id"].is_u64());
    assert_eq!(results[1]["error"]["field"], "queue", "{reply}");

    let (_, field) = client.refused(batch(json!([new(3), wrong]), true)).await;
    assert_eq!(field, "commands[1].queue");
    let tasks = client.reserve("batch", 10, 600_000).await;
    assert_eq!(payloads(&tasks), [1, 2], "nothing of the refused batch");

    let ends = json!([
        {"ack": {"id": tasks[0]["id"], "token": tasks[0]["token"]}},
        {"extend": {"id": tasks[1]["id"], "token": tasks[1]["token"], "lease_ms": 1000}},
        {"nack": {"id": tasks[1]["id"], "token": tasks[1]["token"], "error": "later"}},
    ]);
    let reply = client.send(batch(ends, false)).await;
    let results = &reply["results"];
    assert_eq!(results[0], json!({"ok": {}}));
    assert!(results[1]["ok"]["lease_until_ms"].is_u64(), "{reply}");
    assert_eq!(results[2]["ok"], json!({"state": "delayed"}));
    assert_eq!(client.stats("batch").await["completed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dedupe_keeps_the_first_or_the_last_task_or_starts_the_delay_again() {
    let client = shared().await;
    let add = async |key: &str, keep: &str, payload: u64, delay_ms: u64| {
        let task = json!({"queue": "dedupe", "payload": payload, "dedupe_key": key,
                          "dedupe_keep": keep, "delay_ms": delay_ms});
        client.send(json!({ "enqueue": task })).await
    };
    let first = add("a", "first", 1, 0).await;
    let id = first["id"].clone();
    assert_eq!(
        add("a", "first", 2, 0).await,
        json!({"id": id, "duplicate": true})
    );
    assert_eq!(
        add("a", "last", 3, 0).await,
        json!({"id": id, "duplicate": true})
    );
    let task = client.reserve_one("dedupe").await;
    assert_eq!(task["payload"], 3, "the last one replaced its content");
    client.ack(&task).await;
    let spent = add("a", "first", 4, 0).await;
    assert_eq!(spent["duplicate"], true, "the key outlives its task");

    let id = add("b", "debounce", 5, 600_000).await["id"].clone();
    assert_eq!(add("b", "debounce", 6, 1).await["id"], id);
    let task = client.reserve_one("dedupe").await;
    assert_eq!((&task["id"], &task["payload"]), (&id, &json!(6)));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_returned_by_task_and_by_wait_for() {
    let client = shared().await;
    let id = client.enqueue("results", 1, json!({})).await;
    let over = client
        .send(json!({"wait_for": {"id": id, "wait_ms": 1}}))
        .await;
    assert_eq!(over, json!({"state": "ready"}), "the wait is over");
    let task = client.reserve_one("results").await;
    let waits = client.send(json!({"wait_for": {"id": id, "wait_ms": 40_000}}));
    let acknowledges = async {
        let ack = json!({"id": id, "token": task["token"], "result": {"sum": 42}});
        client.send(json!({ "ack": ack })).await
    };
    let (waited, acknowledged) = tokio::join!(waits, acknowledges);
    assert_eq!(acknowledged, json!({}));
    assert_eq!(waited, json!({"state": "done", "result": {"sum": 42}}));
    let shown = client.task(id).await;
    assert_eq!(
        (&shown["state"], &shown["result"]),
        (&json!("done"), &json!({"sum": 42}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn time_to_live_ends_a_task_that_is_not_delivered() {
    let client = shared().await;
    client
        .send(json!({"configure": {"queue": "ttl", "dead_letter": "ttl-dead"}}))
        .await;
    let id = client.enqueue("ttl", 1, json!({"ttl_ms": 1})).await;
    client.enqueue("ttl", 2, json!({"ttl_ms": 600_000})).await;
    // It becomes ready in the dead-letter queue when its time is over.
    let dead = client.reserve_one("ttl-dead").await;
    assert_eq!(dead["id"], id);
    let shown = client.task(id).await;
    assert_eq!(shown["died_in"], "ttl");
    assert!(
        shown["errors"][0]
            .as_str()
            .expect("an error")
            .contains("its time was over")
    );
    assert_eq!(client.reserve_one("ttl").await["payload"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_returns_as_many_tasks_as_fit_into_a_reply_at_least_one() {
    let client = shared().await;
    // A reply is at most 4 MiB.
    for _ in 0..6 {
        let task = json!({"queue": "large", "payload": "x".repeat(900_000)});
        client.send(json!({ "enqueue": task })).await;
    }
    let first = client.reserve("large", 9, 600_000).await.len();
    assert!((1..6).contains(&first), "{first} tasks");
    let mut delivered = first;
    while delivered < 6 {
        let more = client.reserve_now("large", 9).await.len();
        assert!(more > 0, "{delivered} of 6 tasks were delivered");
        delivered += more;
    }
}
