//! A guest whose memory is full, and one that fails to write its state, as processes: the cluster can always get out.

use std::path::PathBuf;

use oarlock_tests::process::{Cluster, Http, HttpResponse, QUICK, eventually};
use serde_json::{Value, json};

#[path = "../../host/wasm/src/testing/core.rs"]
#[allow(dead_code, reason = "it has more for the tests of the host")]
mod core;

const SCRIPTED: &str = include_str!("../../host/wasm/src/testing/scripted.wat");

/// Memory of the guest, in bytes.
const MEMORY: &str = "33554432";

async fn send(http: &Http, command: impl Into<Vec<u8>>) -> HttpResponse {
    let command = command.into();
    eventually("a node responds", async || {
        let headers = [("oarlock-timeout-ms", "3000")];
        let response = http
            .send("POST", "/v1/apply", &headers, command.clone())
            .await;
        let response = response.ok()?;
        (![429, 503, 504].contains(&response.status)).then_some(response)
    })
    .await
}

/// Adds a task of this size. Returns whether it was accepted.
async fn enqueue(http: &Http, bytes: usize) -> bool {
    let task = json!({"enqueue": {"queue": "q", "payload": "x".repeat(bytes)}});
    let response = send(http, task.to_string()).await;
    if response.status == 200 {
        return true;
    }
    // Before the report is committed, the guest can reach its limit.
    let code = response.json()["error"]["code"].clone();
    assert!(
        [json!("full"), json!("out_of_memory")].contains(&code),
        "{response:?}"
    );
    false
}

/// The next tasks, at most 1,000.
async fn reserve(http: &Http) -> Vec<Value> {
    let reserve =
        json!({"reserve": {"queues": ["q"], "worker": "w", "lease_ms": 600_000, "max": 1000}});
    let response = send(http, reserve.to_string()).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["tasks"].as_array().unwrap().clone()
}

async fn take_snapshots(cluster: &Cluster) {
    for node in &cluster.nodes {
        let headers = [("oarlock-timeout-ms", "60000")];
        let taken = node.http().send("POST", "/v1/snapshot", &headers, "").await;
        let taken = taken.unwrap();
        assert_eq!(taken.status, 200, "{taken:?}");
    }
}

async fn memory_is(cluster: &Cluster, low: bool) {
    for node in &cluster.nodes {
        eventually("all nodes agree whether memory is low", async || {
            let status = node.http().status().await?;
            (status["memory"]["low"] == low).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_can_be_drained_and_used_again() {
    let args = [&QUICK[..], &["--guest-memory-bytes", MEMORY]].concat();
    let mut cluster = Cluster::start(3, "queue", &args);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let mut added = 0;
    // Large tasks, then small ones into what is left.
    for bytes in [500_000, 100_000, 10_000] {
        while enqueue(&http, bytes).await {
            added += 1;
        }
    }
    assert!(added > 20, "{added}");
    memory_is(&cluster, true).await;
    let ready = http.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200);
    let text = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(text.contains("memory of the guest is low"), "{text}");
    assert!(!enqueue(&http, 1).await);
    take_snapshots(&cluster).await;
    let mut drained = 0;
    loop {
        let tasks = reserve(&http).await;
        if tasks.is_empty() {
            break;
        }
        for task in &tasks {
            let ack = json!({"ack": {"id": task["id"], "token": task["token"]}});
            let acked = send(&http, ack.to_string()).await;
            assert_eq!(acked.status, 200, "{acked:?}");
        }
        drained += tasks.len();
    }
    assert_eq!(drained, added);
    // The nodes give back the memory with a snapshot and the next command, on their own or with these.
    take_snapshots(&cluster).await;
    reserve(&http).await;
    memory_is(&cluster, false).await;
    assert!(enqueue(&http, 500_000).await);
    assert_eq!(reserve(&http).await.len(), 1);
    cluster.converged().await;
}

/// The scripted guest. Its snapshot traps once a command `p` has set a number above 0, if `traps`.
fn scripted(cluster: &Cluster, traps: bool) -> PathBuf {
    const START: &str = "(call $write (local.get $sink) (i32.const 0) (i32.const 16))";
    assert_eq!(SCRIPTED.matches(START).count(), 1);
    let check = "(if (i32.load (i32.const 8)) (then unreachable))";
    let text = if traps {
        SCRIPTED.replace(START, &format!("{check} {START}"))
    } else {
        SCRIPTED.to_owned()
    };
    let path = cluster.dir().join(format!("scripted-{traps}.wasm"));
    std::fs::write(&path, core::core_module(&text)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_can_not_write_its_state_is_replaced_although_the_log_is_full() {
    let limits = ["--max-log-entries", "60", "--snapshot-threshold", "20"];
    let mut cluster = Cluster::prepare(3, "queue", &[&QUICK[..], &limits].concat());
    let module = scripted(&cluster, true).display().to_string();
    for node in &mut cluster.nodes {
        let args = &mut node.options_mut().args;
        args[1].clone_from(&module);
        node.start();
    }
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let broken = send(&http, b"p\x01\0\0\0").await;
    assert_eq!(broken.status, 200, "{broken:?}");
    let mut added = 0_u64;
    eventually("the log is full", async || {
        let headers = [("oarlock-timeout-ms", "1000")];
        let response = http.send("POST", "/v1/apply", &headers, "a").await.ok()?;
        match response.status {
            200 => {
                added += 1;
                None
            }
            429 | 503 => Some(()),
            504 => None,
            _ => panic!("{response:?}"),
        }
    })
    .await;
    let new = std::fs::read(scripted(&cluster, false)).unwrap();
    let headers = [("oarlock-timeout-ms", "60000")];
    let upgraded = http.send("POST", "/v1/state-machine", &headers, new).await;
    let upgraded = upgraded.unwrap();
    assert_eq!(upgraded.status, 200, "{upgraded:?}");
    // The new module writes its state, so the log has room again, and no command was lost.
    let after = send(&http, "a").await;
    let value = u64::from_le_bytes(after.body[..].try_into().unwrap());
    assert!(value > added, "{value} after {added}");
    take_snapshots(&cluster).await;
    cluster.converged().await;
}
