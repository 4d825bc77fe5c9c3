//! Times over a change of the leader.

use oarlock_tests::process::Cluster;
use serde_json::{Value, json};

use super::kit::{QueueClient, reserve};

const LEASE_MS: u64 = 4000;
const DELAY_MS: u64 = 3000;

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().expect("a number")
}

/// When a task was delivered, by the time of the log.
fn delivered_ms(task: &Value, lease_ms: u64) -> u64 {
    number(task, "lease_until_ms") - lease_ms
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_leader_shortens_no_lease_and_delivers_no_delayed_task_early() {
    let mut cluster = Cluster::start(3, "queue", &[]);
    let leader = cluster.leader().await;
    let client = QueueClient::of(&cluster);
    let first = client.enqueue("held", 1, json!({})).await;
    let held = client.reserve("held", 1, LEASE_MS).await.remove(0);
    assert_eq!(held["id"], first);
    // It is added after the delivery, so its time is not over before that time and its delay.
    let earliest_ms = delivered_ms(&held, LEASE_MS) + DELAY_MS;
    client
        .enqueue("delayed", 2, json!({"delay_ms": DELAY_MS}))
        .await;

    cluster.nodes[leader].kill();
    let others = (0..3).filter(|&at| at != leader);
    let client = QueueClient::to(others.map(|at| cluster.nodes[at].http()).collect());
    let wait = |queue: &str| reserve(queue, "w", 1, LEASE_MS, 40_000);
    let (delayed, again) = tokio::join!(client.send(wait("delayed")), client.send(wait("held")));
    let (delayed, again) = (&delayed["tasks"][0], &again["tasks"][0]);
    assert_eq!(delayed["payload"], 2);
    assert!(delivered_ms(delayed, LEASE_MS) >= earliest_ms, "{delayed}");
    assert_eq!((&again["id"], &again["attempt"]), (&held["id"], &json!(2)));
    assert!(
        delivered_ms(again, LEASE_MS) >= number(&held, "lease_until_ms"),
        "{again}"
    );
    cluster.nodes[leader].start();
    cluster.leader().await;
    cluster.converged().await;
}
