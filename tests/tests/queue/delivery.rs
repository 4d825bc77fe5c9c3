//! In which order tasks are delivered, and what holds them back.

use serde_json::{Value, json};

use super::kit::{payloads, shared};

#[tokio::test(flavor = "multi_thread")]
async fn priority_and_age_decide_the_order_and_a_delayed_task_comes_when_it_is_due() {
    let client = shared().await;
    client.enqueue("order", 3, json!({"priority": 5})).await;
    client.enqueue("order", 1, json!({"priority": -1})).await;
    client.enqueue("order", 2, json!({"priority": -1})).await;
    assert_eq!(
        payloads(&client.reserve("order", 9, 600_000).await),
        [1, 2, 3]
    );
    client.enqueue("order", 4, json!({"delay_ms": 300})).await;
    assert_eq!(
        client.reserve_one("order").await["payload"],
        4,
        "a worker waits for it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_limit_changes_live_and_never_blocks_other_keys() {
    let client = shared().await;
    client
        .send(json!({"configure": {"queue": "limit", "concurrency": 3, "key_concurrency": 1}}))
        .await;
    for (number, key) in ["a", "a", "b", "c", "d"].into_iter().enumerate() {
        client
            .enqueue("limit", number as u64, json!({"fairness_key": key}))
            .await;
    }
    let first = client.reserve("limit", 9, 600_000).await;
    assert_eq!(
        payloads(&first),
        [0, 2, 3],
        "one of each key, three together"
    );
    assert_eq!(client.reserve_now("limit", 9).await, Vec::<Value>::new());
    client
        .send(json!({"configure": {"queue": "limit", "concurrency": null}}))
        .await;
    let more = client.reserve_now("limit", 9).await;
    assert_eq!(payloads(&more), [4], "a second one of a key still waits");
    let (waiting, ()) = tokio::join!(client.reserve_one("limit"), client.ack(&first[0]));
    assert_eq!(waiting["payload"], 1, "an acknowledgement lets it go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_of_a_queue_delivers_a_burst_and_then_one_in_each_interval() {
    let client = shared().await;
    let slow = json!({"tasks": 1, "per_ms": 600_000, "burst": 2});
    client
        .send(json!({"configure": {"queue": "rate", "rate": slow}}))
        .await;
    for number in 0..5 {
        client.enqueue("rate", number, json!({})).await;
    }
    assert_eq!(payloads(&client.reserve("rate", 9, 600_000).await), [0, 1]);
    assert_eq!(client.reserve_now("rate", 9).await, Vec::<Value>::new());
    // A worker that waits is served when the limit permits it.
    let quick = json!({"tasks": 1, "per_ms": 200, "burst": 1});
    let waits = client.reserve_one("rate");
    let changes = client.send(json!({"configure": {"queue": "rate", "rate": quick}}));
    let (task, _) = tokio::join!(waits, changes);
    assert_eq!(task["payload"], 2);
    assert_eq!(client.reserve_one("rate").await["payload"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn fairness_keys_take_turns_by_their_weights() {
    let client = shared().await;
    for number in 0..6 {
        client
            .enqueue("fair", number, json!({"fairness_key": "busy"}))
            .await;
    }
    for number in 10..13 {
        client
            .enqueue("fair", number, json!({"fairness_key": "small"}))
            .await;
    }
    let tasks = client.reserve("fair", 4, 600_000).await;
    assert_eq!(payloads(&tasks), [0, 10, 1, 11]);
    client
        .send(json!({"configure_key": {"queue": "fair", "key": "busy", "weight": 3}}))
        .await;
    let tasks = payloads(&client.reserve("fair", 5, 600_000).await);
    let small = tasks
        .iter()
        .position(|&number| number == 12)
        .expect("its turn");
    assert!(small <= 3, "one turn of the heavy key at most: {tasks:?}");
    assert_eq!(tasks.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn ordering_key_has_one_task_in_flight_and_keeps_the_order_over_a_retry() {
    let client = shared().await;
    for number in 0..3 {
        client
            .enqueue("line", number, json!({"ordering_key": "k"}))
            .await;
    }
    client
        .enqueue("line", 9, json!({"ordering_key": "other"}))
        .await;
    let tasks = client.reserve("line", 9, 600_000).await;
    assert_eq!(payloads(&tasks), [0, 9]);
    let back = json!({"nack": {"id": tasks[0]["id"], "token": tasks[0]["token"], "delay_ms": 200}});
    client.send(back).await;
    for number in 0..3 {
        let task = client.reserve_one("line").await;
        assert_eq!(task["payload"], number);
        client.ack(&task).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limit_of_a_key_holds_back_its_tasks_only_and_can_be_set_for_one_key() {
    let client = shared().await;
    let slow = json!({"tasks": 1, "per_ms": 600_000, "burst": 1});
    client
        .send(json!({"configure": {"queue": "key-rate", "key_rate": slow}}))
        .await;
    let none = json!({"configure_key": {"queue": "key-rate", "key": "free", "rate": {"tasks": 100, "per_ms": 1}}});
    client.send(none).await;
    for (number, key) in ["a", "a", "b", "free", "free"].into_iter().enumerate() {
        client
            .enqueue("key-rate", number as u64, json!({"fairness_key": key}))
            .await;
    }
    let mut delivered = payloads(&client.reserve("key-rate", 9, 600_000).await);
    delivered.sort_unstable();
    assert_eq!(delivered, [0, 2, 3, 4]);
    let keys = client.query(json!({"keys": {"queue": "key-rate"}})).await;
    assert_eq!(keys["keys"]["a"]["blocked"], true, "{keys}");
    let live = json!({"configure": {"queue": "key-rate", "key_rate": null}});
    client.send(live).await;
    assert_eq!(payloads(&client.reserve_now("key-rate", 9).await), [1]);
}
