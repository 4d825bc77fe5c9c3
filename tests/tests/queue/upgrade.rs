//! The upgrade of a cluster that runs version 1 of the queue.

use std::cell::Cell;
use std::path::Path;

use oarlock_tests::process::{Cluster, eventually, guest};
use serde_json::{Value, json};

use super::kit::QueueClient;

/// The last module of version 1.
const VERSION_1: &str = "../host/server/modules/queue-f678ce10.wasm";

#[tokio::test(flavor = "multi_thread")]
async fn version_1_is_upgraded_under_load_and_loses_doubles_and_refuses_nothing() {
    let mut cluster = Cluster::prepare(3, "queue", &[]);
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(VERSION_1);
    for node in &mut cluster.nodes {
        node.options_mut().args[1] = module.display().to_string();
        node.start();
    }
    cluster.leader().await;
    let client = QueueClient::of(&cluster);
    // A dead, a delayed and a leased task, and a key, which the new version has to know.
    let kept = json!({"max_attempts": 1, "dedupe_key": "k", "priority": 3});
    let dead = client.enqueue("kept", 1, kept.clone()).await;
    let task = client.reserve_now("kept", 1).await.remove(0);
    assert_eq!(client.nack(&task, "no route").await, "dead");
    let delayed = client
        .enqueue("kept", 2, json!({"delay_ms": 600_000}))
        .await;
    client.enqueue("kept", 3, json!({})).await;
    let held = client.reserve_now("kept", 1).await.remove(0);

    let (stop, done) = (Cell::new(false), Cell::new(0));
    let clients: Vec<QueueClient> = (cluster.nodes.iter())
        .map(|node| QueueClient::to(vec![node.http()]))
        .collect();
    let load = |at: usize| work(&clients[at], at, &stop, &done);
    let progress = async |more: u64| {
        let before = done.get();
        eventually("the clients go on", async || {
            (done.get() >= before + more).then_some(())
        })
        .await;
    };
    let upgrades = async {
        progress(10).await;
        let bytes = std::fs::read(guest("queue")).expect("a module");
        // Compiling the module takes long on a slow machine. The request that comes again waits for the same upgrade.
        let http = cluster.nodes[0].http();
        let headers = [("oarlock-timeout-ms", "50000")];
        let response = eventually("the upgrade ends", async || {
            let sent = http.send("POST", "/v1/state-machine", &headers, bytes.clone());
            let response = sent.await.ok()?;
            (![429, 503, 504].contains(&response.status)).then_some(response)
        })
        .await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.json()["version"], 2);
        progress(10).await;
        stop.set(true);
    };
    tokio::join!(load(0), load(1), load(2), upgrades);

    assert_eq!(client.task(dead).await["errors"], json!(["no route"]));
    assert_eq!(client.task(delayed).await["state"], "delayed");
    let again = client.send(json!({"enqueue": {"queue": "kept", "payload": 9, "dedupe_key": "k"}}));
    assert_eq!(again.await, json!({"id": dead, "duplicate": true}));
    client.ack(&held).await;
    let stats = client.stats("kept").await;
    let counts = ["ready", "delayed", "leased", "dead", "completed"].map(|name| &stats[name]);
    assert_eq!(counts, [0, 1, 0, 1, 1].map(Value::from).each_ref());
    cluster.converged().await;
}

/// Adds, reserves and acknowledges tasks of a queue of its own, each exactly once, until it shall stop.
async fn work(client: &QueueClient, at: usize, stop: &Cell<bool>, done: &Cell<u64>) {
    let queue = format!("load{at}");
    let mut added = 0;
    while !stop.get() {
        let id = client.enqueue(&queue, added, json!({})).await;
        added += 1;
        let mut tasks = client.reserve_now(&queue, 2).await;
        let task = tasks.pop().expect("the task that was just added");
        assert!(tasks.is_empty(), "an acknowledged task came back");
        assert_eq!((&task["id"], &task["attempt"]), (&json!(id), &json!(1)));
        let extend = json!({"extend": {"id": id, "token": task["token"], "lease_ms": 60_000}});
        assert!(client.send(extend).await["lease_until_ms"].is_u64());
        client.ack(&task).await;
        done.set(done.get() + 1);
    }
    assert_eq!(client.stats(&queue).await["completed"], added);
}
