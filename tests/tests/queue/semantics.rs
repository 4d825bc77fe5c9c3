//! Rules of deliveries, as clients of three nodes see them.

use oarlock_tests::process::Cluster;
use serde_json::{Value, json};

use super::kit::{QueueClient, payloads, reserve, shared};

#[tokio::test(flavor = "multi_thread")]
async fn after_its_lease_and_before_the_next_delivery_an_old_token_still_works() {
    let client = shared().await;
    let id = client.enqueue("late", 1, json!({})).await;
    let task = client.reserve("late", 1, 50).await.remove(0);
    // The lease has ended when the task is ready again. A reserve of another queue has nothing to do with it.
    oarlock_tests::process::eventually("the lease ends", async || {
        (client.stats("late").await["ready"] == 1).then_some(())
    })
    .await;
    let token = json!({"id": id, "token": task["token"], "lease_ms": 600_000});
    let extended = client.send(json!({ "extend": token })).await;
    assert!(extended["lease_until_ms"].as_u64() > task["lease_until_ms"].as_u64());
    assert_eq!(client.stats("late").await["leased"], 1);
    assert_eq!(client.reserve_now("late", 1).await, Vec::<Value>::new());
    client.ack(&task).await;
    assert_eq!(client.stats("late").await["completed"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returned_task_keeps_its_age_and_after_its_last_attempt_it_is_dead_and_kept() {
    let client = shared().await;
    let first = client.enqueue("aged", 1, json!({"max_attempts": 2})).await;
    client.enqueue("aged", 2, json!({})).await;
    let task = client.reserve_one("aged").await;
    assert_eq!((&task["id"], &task["attempt"]), (&json!(first), &json!(1)));
    assert_eq!(client.nack(&task, "once").await, "delayed");
    let task = client.reserve_one("aged").await;
    assert_eq!((&task["id"], &task["attempt"]), (&json!(first), &json!(2)));
    assert_eq!(client.nack(&task, "twice").await, "dead");
    assert_eq!(payloads(&client.reserve_now("aged", 9).await), [2]);
    let kept = client.task(first).await;
    assert_eq!(
        (&kept["state"], &kept["attempt"]),
        (&json!("dead"), &json!(2))
    );
    assert_eq!(kept["errors"], json!(["once", "twice"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_left_while_it_waited_holds_its_task_until_the_lease_ends() {
    let client = shared().await;
    client.send(json!({"configure": {"queue": "left"}})).await;
    let http = oarlock_tests::process::Http(client.address(0));
    let command = reserve("left", "gone", 1, 300, 45_000).to_string();
    let waits = tokio::spawn(async move {
        let headers = [("oarlock-timeout-ms", "50000")];
        http.send("POST", "/v1/apply", &headers, command).await
    });
    client.until_waiting("left", 1).await;
    waits.abort();
    assert!(waits.await.is_err_and(|ended| ended.is_cancelled()));
    let id = client.enqueue("left", 1, json!({})).await;
    let task = client.reserve_one("left").await;
    assert_eq!((&task["id"], &task["attempt"]), (&json!(id), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deduplication_key_survives_its_task_a_snapshot_and_a_restart_of_all_nodes() {
    let mut cluster = Cluster::start(3, "queue", &[]);
    cluster.leader().await;
    let client = QueueClient::of(&cluster);
    let keyed = json!({"dedupe_key": "k", "dedupe_window_ms": 3_600_000});
    let first = client.enqueue("once", 1, keyed.clone()).await;
    let task = client.reserve_one("once").await;
    client.ack(&task).await;
    cluster.converged().await;
    for node in &mut cluster.nodes {
        let taken = node.http().send("POST", "/v1/snapshot", &[], "").await;
        assert_eq!(taken.expect("a response").status, 200);
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.leader().await;
    let mut again = json!({"queue": "once", "payload": 2});
    again["dedupe_key"] = keyed["dedupe_key"].clone();
    let reply = client.send(json!({ "enqueue": again })).await;
    assert_eq!(reply, json!({"id": first, "duplicate": true}));
    assert_eq!(client.stats("once").await["ready"], 0);
}
