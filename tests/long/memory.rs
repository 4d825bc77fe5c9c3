//! A guest whose memory is full, and one that fails to write its state, as processes: the cluster can always get out.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use oarlock_tests::process::locks::send_with_key;
use oarlock_tests::process::{Cluster, Http, HttpResponse, Node, QUICK, eventually, run};
use serde_json::{Value, json};
use tokio::task::JoinSet;

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

/// Sizes of tasks: large ones, then smaller ones into what is left.
const SIZES: [usize; 3] = [500_000, 100_000, 10_000];
/// Clients that fill the queue at once.
const CLIENTS: usize = 6;

/// Several clients at all running nodes add tasks until none of these sizes is accepted any more. Returns how many were.
async fn fill(cluster: &mut Cluster) -> usize {
    let running = cluster.running();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let http = cluster.nodes[running[client % running.len()]].http();
        clients.spawn(fill_from(http));
    }
    clients.join_all().await.into_iter().sum()
}

/// Adds tasks at one node. They have keys, because a response may be lost.
async fn fill_from(http: Http) -> usize {
    static KEYS: AtomicUsize = AtomicUsize::new(0);
    let mut added = 0;
    for bytes in SIZES {
        let task = json!({"enqueue": {"queue": "q", "payload": "x".repeat(bytes)}}).to_string();
        loop {
            let key = format!("fill-{}", KEYS.fetch_add(1, Ordering::Relaxed));
            if !is_added(send_with_key_to(&http, &key, &task).await) {
                break;
            }
            added += 1;
        }
    }
    added
}

/// Sends a command until the node has an outcome.
async fn send_with_key_to(http: &Http, key: &str, command: &str) -> HttpResponse {
    loop {
        let sent = send_with_key(http, key, command.to_owned()).await;
        match sent {
            Ok(response) if ![429, 503, 504].contains(&response.status) => return response,
            _ => tokio::task::yield_now().await,
        }
    }
}

/// Whether a task was accepted. Otherwise there is no room for it.
fn is_added(response: HttpResponse) -> bool {
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

/// Waits until the memory of each running node is used for at least nine tenths of what the queue may use: from the soft limit
/// on, four fifths of the guest's memory, it adds no task. The rest is the reserve in which the tasks are removed.
async fn is_full(cluster: &mut Cluster) {
    for at in cluster.running() {
        let node = &cluster.nodes[at];
        let mut number = 0;
        eventually("the memory of the node is full", async || {
            // After a failed call, the guest has no memory until the next one.
            number += 1;
            let none = json!({"reserve": {"queues": ["none"], "worker": "w", "lease_ms": 1000}});
            node.http().apply(none.to_string()).await.ok()?;
            let memory = node.http().status().await?["memory"].clone();
            let (used, soft) = (
                memory["bytes"].as_u64()?,
                memory["soft_limit_bytes"].as_u64()?,
            );
            if number % 100 == 0 {
                println!("{}: {memory}", node.id());
            }
            (used * 10 >= soft * 9).then_some(())
        })
        .await;
    }
}

/// The tasks of the queue, and the bytes of their payloads.
async fn stored(node: &Node) -> (usize, u64) {
    eventually("the node answers a query", async || {
        let response = node
            .http()
            .query(r#"{"stats":{"detail":true}}"#)
            .await
            .ok()?;
        let queue = (response.status == 200).then(|| response.json()["queues"]["q"].clone())?;
        let ready = usize::try_from(queue["ready"].as_u64()?).ok()?;
        Some((ready, queue["bytes"].as_u64()?))
    })
    .await
}

/// Adds a task of this size. Returns whether it was accepted.
async fn enqueue(http: &Http, bytes: usize) -> bool {
    let task = json!({"enqueue": {"queue": "q", "payload": "x".repeat(bytes)}});
    is_added(send(http, task.to_string()).await)
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
            let metric = node.metric("oarlock_guest_memory_low").await?;
            (status["memory"]["low"] == low && metric == i64::from(low)).then_some(())
        })
        .await;
    }
}

/// Reserves and acknowledges until the queue is empty. Returns how many tasks it had.
async fn drain(http: &Http) -> usize {
    let mut drained = 0;
    loop {
        let tasks = reserve(http).await;
        if tasks.is_empty() {
            return drained;
        }
        for task in &tasks {
            let ack = json!({"ack": {"id": task["id"], "token": task["token"]}});
            let acked = send(http, ack.to_string()).await;
            assert_eq!(acked.status, 200, "{acked:?}");
        }
        drained += tasks.len();
    }
}

/// A node joins the full cluster. The log does not reach back to its begin, so it gets a snapshot.
async fn a_node_joins(cluster: &mut Cluster) {
    let at = cluster.join();
    let member = json!({"node_id": cluster.nodes[at].id(), "peer_addr": cluster.nodes[at].peer_addr(), "voter": true});
    let http = cluster.nodes[0].http();
    eventually("the node is a voter", async || {
        let added = http.send("POST", "/v1/members", &[], member.to_string());
        (added.await.ok()?.status == 200).then_some(())
    })
    .await;
    let status = eventually("the node has the state of a snapshot", async || {
        let status = cluster.nodes[at].http().status().await?;
        (status["snapshot_index"].as_u64()? > 0).then_some(status)
    })
    .await;
    let first = status["first_log_index"].as_u64();
    assert!(first > Some(1), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_can_be_drained_and_used_again() {
    let limits = ["--guest-memory-bytes", MEMORY, "--snapshot-threshold", "20"];
    let mut cluster = Cluster::start(3, "queue", &[&QUICK[..], &limits].concat());
    cluster.leader().await;
    let mut added = fill(&mut cluster).await;
    memory_is(&cluster, true).await;
    is_full(&mut cluster).await;
    let (count, bytes) = stored(&cluster.nodes[0]).await;
    assert_eq!(count, added);
    // Not only the memory is used: the tasks are there.
    let least = MEMORY.parse::<u64>().unwrap() / 2;
    assert!(bytes > least, "{bytes} bytes in {count} tasks");
    let ready = cluster.nodes[0].http().get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200);
    let text = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(text.contains("memory of the guest is low"), "{text}");
    assert!(!enqueue(&cluster.nodes[0].http(), 1).await);
    take_snapshots(&cluster).await;
    for at in 0..3 {
        cluster.nodes[at].kill();
        cluster.nodes[at].start();
        cluster.leader().await;
        cluster.converged_under_load().await;
        // The state takes less memory in a guest that has just restored it, so there may be room again.
        added += fill(&mut cluster).await;
        memory_is(&cluster, true).await;
        is_full(&mut cluster).await;
    }
    take_snapshots(&cluster).await;
    a_node_joins(&mut cluster).await;
    added += fill(&mut cluster).await;
    memory_is(&cluster, true).await;
    take_snapshots(&cluster).await;
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    assert_eq!(drain(&http).await, added);
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

/// Three nodes with a guest that can't write its state, and so a full log; the position of the leader, and how often the
/// command `a` was executed.
async fn with_a_full_log() -> (Cluster, usize, u64) {
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
        if is_refused(&http).await? {
            return Some(());
        }
        added += 1;
        None
    })
    .await;
    (cluster, leader, added)
}

/// Whether the log has no room for a command of a client. `None` if that is not known.
async fn is_refused(http: &Http) -> Option<bool> {
    let headers = [("oarlock-timeout-ms", "1000")];
    let response = http.send("POST", "/v1/apply", &headers, "a").await.ok()?;
    match response.status {
        200 => Some(false),
        429 | 503 => Some(true),
        504 => None,
        _ => panic!("{response:?}"),
    }
}

/// A command of an operator, at one node.
fn operate(http: &Http, command: &[&str]) {
    let done = run([command, &["--endpoints", &http.0]].concat());
    assert!(done.status.success(), "{command:?}: {done:?}");
}

/// The log is full, and operators change settings and members all the same.
async fn control_works(cluster: &mut Cluster, leader: usize) {
    let http = cluster.nodes[leader].http();
    operate(&http, &["settings", "set", "keys=5000"]);
    let settings = http.get("/v1/settings").await.unwrap().json();
    assert_eq!(settings["settings"]["keys"], 5000, "{settings}");
    let at = cluster.join();
    let added = cluster.nodes[at].id().to_owned();
    let member = format!("{added}={}", cluster.nodes[at].peer_addr());
    operate(&http, &["members", "add", &member]);
    operate(&http, &["members", "remove", &added]);
    let members = http.get("/v1/members").await.unwrap().json();
    assert!(!members.to_string().contains(&*added), "{members}");
    cluster.nodes.pop();
    let refused = eventually("the log is still full", async || is_refused(&http).await).await;
    assert!(refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_can_not_write_its_state_is_replaced_although_the_log_is_full() {
    let (mut cluster, leader, added) = with_a_full_log().await;
    let http = cluster.nodes[leader].http();
    control_works(&mut cluster, leader).await;
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

/// Two nodes skip an entry each, and not the same one: no majority has the same state. The log is still full.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_node_is_accepted_although_the_log_is_full() {
    let (mut cluster, _, _) = with_a_full_log().await;
    for (node, skipped) in cluster.nodes.iter_mut().zip(["", "12", "13"]) {
        node.kill();
        let dir = node.data_dir().display().to_string();
        if !skipped.is_empty() {
            let done = run(["recover", "--data-dir", &dir, "--skip-entry", skipped]);
            assert!(done.status.success(), "{done:?}");
        }
        let audits = ["--audit-interval-ms", "100"].map(str::to_owned);
        node.options_mut().args.extend(audits);
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    let http = cluster.nodes[0].http();
    eventually(
        "the states differ, and no command is accepted",
        async || (cluster.nodes[0].metric("oarlock_writes_stopped").await? == 1).then_some(()),
    )
    .await;
    eventually("the state of the first node is accepted", async || {
        let done = run(["audit", "accept", "node1", "--endpoints", &http.0]);
        let audit = http.get("/v1/audit").await.ok()?.json();
        (done.status.success() && audit["accepted"].is_string()).then_some(())
    })
    .await;
}
