//! Nodes that are away or behind, and upgrades that meet another.

use oarlock_tests::process::{Cluster, Node, QUICK, Recorder, eventually, noted};
use serde_json::{Value, json};

use super::kit::{all_run, ask, sha256, told, upgrade};

const CLIENTS: usize = 4;
const NOTE_BYTES: usize = 1 << 20;

/// The states of the nodes in the upgrade in progress, once these nodes have reported that they are ready.
async fn once_ready(node: &Node, ready: &[&str]) -> Value {
    told(&node.http(), "those who are there are ready", |told| {
        let nodes = &told["upgrade"]["nodes"];
        let all = ready.iter().all(|id| nodes[*id]["state"] == "ready");
        all.then(|| nodes.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_node_is_waited_for_by_name_and_a_second_upgrade_waits_for_the_first() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    let leader = cluster.leader().await;
    let targets: Vec<_> = cluster.nodes.iter().map(Node::http).collect();
    let (away, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    let recorder = Recorder::start(CLIENTS, &targets, 0);
    recorder.progress(20).await;
    cluster.nodes[away].kill();

    let (first, second) = (
        noted("queue", &vec![1; NOTE_BYTES]),
        noted("queue", &vec![2; NOTE_BYTES]),
    );
    let waiting = ask(targets[asked].clone(), first.clone());
    let present = [cluster.nodes[leader].id(), cluster.nodes[asked].id()];
    let nodes = once_ready(&cluster.nodes[leader], &present).await;
    assert_eq!(
        nodes[cluster.nodes[away].id()],
        json!({"state": "waiting"}),
        "{nodes:#}"
    );

    // Another module is refused while the first upgrade is in progress; the status shows its requester and deadline.
    let refused = upgrade(&[targets[leader].clone()], &second).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.error_code(), "upgrade_under_way");
    // The old module serves meanwhile.
    recorder.progress(20).await;

    cluster.nodes[away].start();
    let response = waiting.await.expect("it ends").expect("a response");
    assert_eq!(response.json()["sha256"], sha256(&first), "{response:?}");
    all_run(&cluster, &response.json()["sha256"]).await;
    let response = upgrade(&[targets[leader].clone()], &second).await;
    assert_eq!(response.json()["sha256"], sha256(&second), "{response:?}");
    all_run(&cluster, &response.json()["sha256"]).await;
    recorder.progress(20).await;
    recorder.check(&targets[0]).await;
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lags_behind_the_log_gets_the_module_with_a_snapshot() {
    let mut args = QUICK.to_vec();
    args.extend(["--snapshot-threshold", "40", "--max-log-entries", "80"]);
    let mut cluster = Cluster::start(3, "queue", &args);
    let leader = cluster.leader().await;
    let targets: Vec<_> = cluster.nodes.iter().map(Node::http).collect();
    let recorder = Recorder::start(CLIENTS, &targets, 0);
    recorder.progress(20).await;
    // It reports that it is ready, so that the others do not wait for it, and misses all that follows.
    let (lags, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let module = noted("queue", &vec![3; NOTE_BYTES]);
    cluster.nodes[third].kill();
    let waiting = ask(targets[leader].clone(), module.clone());
    once_ready(&cluster.nodes[leader], &[cluster.nodes[lags].id()]).await;
    let status = cluster.nodes[lags].http().status().await.expect("it runs");
    let seen = status["last_log_index"].as_u64().expect("a number");
    cluster.nodes[lags].kill();
    cluster.nodes[third].start();
    let response = waiting.await.expect("it ends").expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    eventually("the entries that it lacks are gone", async || {
        let mut firsts = Vec::new();
        for at in [leader, third] {
            firsts.push(targets[at].status().await?["first_log_index"].as_u64()?);
        }
        // `seen` was its last index when it was queried: it has at least these entries.
        firsts.iter().all(|first| *first > seen + 100).then_some(())
    })
    .await;
    cluster.nodes[lags].start();
    all_run(&cluster, &response.json()["sha256"]).await;
    let status = targets[lags].status().await.expect("it runs");
    assert!(status["snapshot_index"].as_u64() > Some(seen), "{status:#}");
    let past = targets[lags]
        .get("/v1/upgrades")
        .await
        .expect("it runs")
        .json();
    assert_eq!(past["history"][0]["sha256"], sha256(&module), "{past:#}");
    recorder.progress(20).await;
    recorder.check(&targets[lags]).await;
    cluster.converged().await;
}
