//! The queue while the memory of its guest is low.

use oarlock_tests::process::{Cluster, QUICK, eventually};
use serde_json::{Value, json};

use super::kit::QueueClient;

/// Memory of the guest, in bytes.
const MEMORY: &str = "33554432";

async fn memory_is(cluster: &Cluster, low: bool) {
    for node in &cluster.nodes {
        eventually("all nodes agree whether memory is low", async || {
            let status = node.http().status().await?;
            (status["memory"]["low"] == low).then_some(())
        })
        .await;
    }
}

/// The tasks that one command took from a queue.
fn removed(reply: &Value) -> u64 {
    reply["removed"].as_u64().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn while_memory_is_low_an_enqueue_is_refused_and_all_that_frees_memory_works() {
    let args = [&QUICK[..], &["--guest-memory-bytes", MEMORY]].concat();
    let mut cluster = Cluster::start(3, "queue", &args);
    cluster.leader().await;
    let client = QueueClient::of(&cluster);
    // One task to acknowledge, one to return, one to cancel, and dead ones.
    for number in 0..2 {
        client.enqueue("held", number, json!({})).await;
    }
    let held = client.reserve("held", 2, 600_000).await;
    let waiting = client
        .enqueue("cancel", 1, json!({"delay_ms": 600_000}))
        .await;
    client.enqueue("dead", 1, json!({"max_attempts": 1})).await;
    let dying = client.reserve_one("dead").await;
    assert_eq!(client.nack(&dying, "no route").await, "dead");

    // Large tasks in two queues, until no more are added.
    let filler = "x".repeat(400_000);
    let fill = |queue: &str| json!({"enqueue": {"queue": queue, "payload": filler}});
    let mut added = 0;
    while client.accepts(fill(["purged", "deleted"][added % 2])).await {
        added += 1;
    }
    assert!(added > 20, "{added}");
    memory_is(&cluster, true).await;
    let small = json!({"enqueue": {"queue": "held", "payload": 1}});
    assert_eq!(client.refused(small.clone()).await.0, "full");
    let batch = json!({"batch": {"commands": [small.clone()]}});
    let reply = client.send(batch).await;
    assert_eq!(reply["results"][0]["error"]["code"], "full");

    client.ack(&held[0]).await;
    assert_eq!(client.nack(&held[1], "again").await, "delayed");
    let delivered = client.reserve_one("held").await;
    client.ack(&delivered).await;
    let cancelled = client.send(json!({"cancel": {"id": waiting}})).await;
    assert_eq!(cancelled, json!({"state": "cancelled"}));
    let dead = json!({"purge": {"queue": "dead", "dead": true}});
    assert_eq!(removed(&client.send(dead).await), 1);
    let delete = json!({"delete_queue": {"queue": "deleted", "force": true}});
    let deleted = removed(&client.send(delete).await);
    assert_eq!(client.refused(small.clone()).await.0, "full");
    let purge = json!({"purge": {"queue": "purged"}});
    let purged = removed(&client.send(purge).await);
    assert_eq!(deleted + purged, added as u64);

    // A node gives the memory back with its next snapshot, and the command after it.
    for node in &cluster.nodes {
        let headers = [("oarlock-timeout-ms", "60000")];
        let taken = node.http().send("POST", "/v1/snapshot", &headers, "").await;
        assert_eq!(taken.expect("a response").status, 200);
    }
    client.reserve_now("held", 1).await;
    memory_is(&cluster, false).await;
    client.send(small).await;
    assert_eq!(client.reserve_one("held").await["payload"], 1);
}
