//! Upgrades on real processes: under load, and with nodes that are killed during the upgrade.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use oarlock_tests::process::{Cluster, Http, eventually, guest, noted};
use serde_json::json;

#[path = "upgrade"]
mod parts {
    pub(crate) mod kit;
    mod migrate;
    mod steps;
    mod voters;
}

use parts::kit::{all_run, upgrade};

const ADD: &str = r#"{"add":{"by":1}}"#;
/// Several entries in the log.
const NOTE_BYTES: usize = 1 << 20;

fn counter_with(note: u8) -> Bytes {
    noted("counter", &vec![note; NOTE_BYTES])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_the_one_back_under_load_lose_double_and_refuse_nothing() {
    let mut cluster = Cluster::start(3, "counter", &[]);
    cluster.leader().await;
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..6 {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        let http = cluster.nodes[client % 3].http();
        clients.spawn(async move {
            while !stop.load(Ordering::Acquire) {
                // Without a key and sent once: nothing hides a refusal.
                let response = http.apply(ADD).await.expect("a response");
                assert_eq!(response.status, 200, "{response:?}");
                done.fetch_add(1, Ordering::AcqRel);
            }
        });
    }
    let first = Bytes::from(std::fs::read(guest("counter")).expect("a module"));
    for (asked, module) in [counter_with(1), first].iter().enumerate() {
        let before = done.load(Ordering::Acquire);
        let response = upgrade(&[cluster.nodes[asked].http()], module).await;
        assert_eq!(response.status, 200, "{response:?}");
        all_run(&cluster, &response.json()["sha256"]).await;
        eventually("the clients go on", async || {
            (done.load(Ordering::Acquire) > before + 20).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Release);
    while let Some(client) = clients.join_next().await {
        client.expect("no request failed");
    }
    let response = cluster.nodes[2].http().query(r#"{"get":{}}"#).await;
    let value = response.expect("a response").json();
    assert_eq!(value, json!({"value": done.load(Ordering::Acquire)}));
    cluster.converged().await;
}

/// Waits for the `changes`-th change in what a node knows of upgrades.
async fn after(http: &Http, changes: usize) {
    let mut path = "/v1/upgrades".to_owned();
    for _ in 0..=changes {
        let told = http.get(&path).await.expect("it runs").json();
        path = format!("/v1/upgrades?after={}", told["revision"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_in_the_middle_leaves_one_module_everywhere_and_no_write_behind() {
    let mut cluster = Cluster::start(3, "counter", &[]);
    // Begun, some of the bytes, all of them, one ready after the other.
    for changes in [1, 3, 6, 8] {
        let leader = cluster.leader().await;
        cluster
            .apply_somewhere(&format!("before-{changes}"), ADD)
            .await;
        let module = counter_with(changes as u8);
        let killed = cluster.nodes[leader].http();
        let sending = {
            let (killed, module) = (killed.clone(), module.clone());
            tokio::spawn(async move { killed.send("POST", "/v1/state-machine", &[], module).await })
        };
        after(&killed, changes).await;
        cluster.nodes[leader].kill();
        // It may have had its response just before.
        let _ = sending.await.expect("it ends");
        cluster
            .apply_somewhere(&format!("between-{changes}"), ADD)
            .await;
        cluster.nodes[leader].start();
        let others = [
            cluster.nodes[(leader + 1) % 3].http(),
            cluster.nodes[(leader + 2) % 3].http(),
        ];
        let response = upgrade(&others, &module).await;
        assert_eq!(response.status, 200, "{response:?}");
        all_run(&cluster, &response.json()["sha256"]).await;
        cluster
            .apply_somewhere(&format!("before-{changes}"), ADD)
            .await;
    }
    let response = cluster.nodes[0].http().query(r#"{"get":{}}"#).await;
    assert_eq!(response.expect("a response").json(), json!({"value": 8}));
    cluster.converged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_later_gets_the_module_of_now() {
    let mut cluster = Cluster::start(1, "counter", &[]);
    cluster.leader().await;
    cluster.apply_somewhere("one", ADD).await;
    let response = upgrade(&[cluster.nodes[0].http()], &counter_with(1)).await;
    let sha256 = response.json()["sha256"].clone();
    let http = cluster.nodes[0].http();
    let taken = http.send("POST", "/v1/snapshot", &[], "");
    assert_eq!(taken.await.expect("a response").status, 200);
    let at = cluster.join();
    let body = json!({
        "node_id": cluster.nodes[at].id(),
        "peer_addr": cluster.nodes[at].peer_addr(),
        "voter": true,
    });
    let headers = [("oarlock-timeout-ms", "50000")];
    let added = cluster.nodes[0].http();
    let added = added.send("POST", "/v1/members", &headers, body.to_string());
    assert_eq!(added.await.expect("a response").status, 200);
    all_run(&cluster, &sha256).await;
    cluster.apply_somewhere("two", ADD).await;
    cluster.converged().await;
}
