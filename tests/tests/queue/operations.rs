//! What operators do and see.

use serde_json::{Value, json};

use super::kit::{payloads, shared};

#[tokio::test(flavor = "multi_thread")]
async fn pause_resume_purge_and_delete_of_a_queue() {
    let client = shared().await;
    for number in 0..3 {
        client.enqueue("ops", number, json!({})).await;
    }
    client.send(json!({"pause": {"queue": "ops"}})).await;
    assert_eq!(client.reserve_now("ops", 9).await, Vec::<Value>::new());
    let (task, _) = tokio::join!(
        client.reserve_one("ops"),
        client.send(json!({"resume": {"queue": "ops"}}))
    );
    assert_eq!(task["payload"], 0);
    assert_eq!(
        client
            .refused(json!({"delete_queue": {"queue": "ops"}}))
            .await
            .0,
        "not_empty"
    );
    let purged = client.send(json!({"purge": {"queue": "ops"}})).await;
    assert_eq!(purged, json!({"removed": 2, "more": false}));
    client.ack(&task).await;
    let deleted = client.send(json!({"delete_queue": {"queue": "ops"}})).await;
    assert_eq!(deleted, json!({"removed": 0, "more": false}));
    assert_eq!(client.stats("ops").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_a_task_or_drops_the_oldest() {
    let client = shared().await;
    client
        .send(json!({"configure": {"queue": "full", "max_length": 2}}))
        .await;
    client.enqueue("full", 1, json!({})).await;
    client.enqueue("full", 2, json!({})).await;
    let third = json!({"enqueue": {"queue": "full", "payload": 3}});
    assert_eq!(client.refused(third).await.0, "full");
    client
        .send(json!({"configure": {"queue": "full", "overflow": "drop_oldest"}}))
        .await;
    client.enqueue("full", 4, json!({})).await;
    assert_eq!(payloads(&client.reserve("full", 9, 600_000).await), [2, 4]);
    assert_eq!(client.stats("full").await["removed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_tasks_keys_workers_and_what_is_stuck_in_pages() {
    let client = shared().await;
    for number in 0..3 {
        client
            .enqueue(
                "shown",
                number,
                json!({"fairness_key": format!("key{number}")}),
            )
            .await;
    }
    let held = client.reserve("shown", 1, 600_000).await;
    let list = json!({"list": {"queue": "shown", "state": "ready", "max": 1, "payload": true}});
    let page = client.query(list).await;
    assert_eq!(page["tasks"][0]["payload"], 1);
    let rest = json!({"list": {"queue": "shown", "state": "ready", "after": page["next"]}});
    let rest = client.query(rest).await;
    assert_eq!(rest["tasks"].as_array().expect("tasks").len(), 1);
    let filter = json!({"list": {"queue": "shown", "state": "timed", "fairness_key": "key0"}});
    let leased = client.query(filter).await["tasks"][0].clone();
    assert_eq!(
        (&leased["id"], &leased["worker"]),
        (&held[0]["id"], &json!("w"))
    );
    let keys = client.query(json!({"keys": {"queue": "shown"}})).await["keys"].clone();
    assert_eq!(keys.as_object().expect("keys").len(), 3);
    let workers = client.query(json!({"workers": {}})).await["workers"].clone();
    assert!(workers["w"]["last_seen_ms"].is_u64(), "{workers}");
    client.enqueue("unserved", 1, json!({})).await;
    let stuck = client.query(json!({"stuck": {}})).await;
    let unserved = stuck["unserved"].as_array().expect("a list");
    assert!(
        unserved
            .iter()
            .any(|queue| queue["queue"] == "unserved" && queue["reason"] == "no_worker"),
        "{stuck}"
    );
}

/// To take each key out of the turns by itself would cost more than one command may.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_thousands_of_fairness_keys_is_one_bounded_command() {
    const KEYS: u64 = 40_000;
    let client = shared().await;
    let keys: Vec<u64> = (0..KEYS).collect();
    for keys in keys.chunks(1000) {
        let task = |key: &u64| json!({"enqueue": {"queue": "keyed", "payload": key, "fairness_key": format!("key-{key}")}});
        let commands: Vec<Value> = keys.iter().map(task).collect();
        client
            .send(json!({"batch": {"commands": commands, "all_or_nothing": true}}))
            .await;
    }
    let purged = client.send(json!({"purge": {"queue": "keyed"}})).await;
    assert_eq!(purged, json!({"removed": 4096, "more": true}));
    // The others keep their turns.
    let delivered = client.reserve_now("keyed", 3).await;
    assert_eq!(payloads(&delivered), [4096, 4097, 4098]);
}
