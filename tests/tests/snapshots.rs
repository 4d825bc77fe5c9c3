//! Snapshot files that rot while their node runs, and snapshots that can't be taken, on real processes.

use std::fs;
use std::path::{Path, PathBuf};

use oarlock_tests::process::{Cluster, Node, QUICK, eventually};
use serde_json::Value;

fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut flags = QUICK.to_vec();
    flags.extend(["--snapshot-threshold", "20", "--max-log-entries", "40"]);
    flags.extend(more);
    flags
}

async fn commands(cluster: &mut Cluster, name: &str, count: usize) {
    for number in 0..count {
        let key = format!("{name}-{number}");
        cluster.apply_somewhere(&key, r#"{"add":{"by":1}}"#).await;
    }
}

/// The newest snapshot file of a node, and its bytes.
fn newest_snapshot(node: &Node) -> Option<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(node.data_dir().join("snapshots")).ok()?;
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let snapshots = paths.filter(|path| path.extension().is_some_and(|kind| kind == "snap"));
    let newest = snapshots.max()?;
    let bytes = fs::read(&newest).ok()?;
    Some((newest, bytes))
}

/// Damages the newest snapshot of a running node, where it is. Returns the damaged bytes.
async fn damage(node: &Node) -> Vec<u8> {
    eventually("the node has a snapshot", async || {
        let (path, mut bytes) = newest_snapshot(node)?;
        *bytes.last_mut()? ^= 1;
        write_in_place(&path, &bytes);
        Some(bytes)
    })
    .await
}

fn write_in_place(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a damaged file");
}

/// Waits until a node has named its damaged snapshot and has replaced it.
async fn replaces(node: &Node, damaged: &[u8]) {
    eventually("the damaged snapshot is replaced", async || {
        let log = node.log();
        let named = log.contains(".snap") && log.contains("the newest snapshot is damaged");
        let replaced = log.contains("a new snapshot has replaced the damaged one");
        (named && replaced).then_some(())
    })
    .await;
    let (_, bytes) = newest_snapshot(node).expect("a snapshot");
    assert_ne!(bytes, damaged);
    assert_eq!(node.metric("oarlock_raft_snapshot_damaged").await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_rots_on_the_leader_or_on_a_follower_is_found_and_replaced() {
    let mut cluster = Cluster::start(3, "counter", &flags(&["--snapshot-check-interval-s", "1"]));
    let leader = cluster.leader().await;
    commands(&mut cluster, "first", 50).await;
    for at in [leader, (leader + 1) % 3] {
        let damaged = damage(&cluster.nodes[at]).await;
        replaces(&cluster.nodes[at], &damaged).await;
    }
    // What replaced it is sound: the node starts from it.
    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    commands(&mut cluster, "second", 5).await;
    let statuses = cluster.converged().await;
    assert!(statuses.iter().all(|status| status["snapshot_index"] != 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_snapshot_is_found_when_a_peer_refuses_it_and_the_peer_gets_a_new_one() {
    // The interval is an hour: only the peer finds it.
    let mut cluster = Cluster::start(3, "counter", &flags(&[]));
    let leader = cluster.leader().await;
    commands(&mut cluster, "first", 50).await;
    cluster.converged().await;
    let damaged = damage(&cluster.nodes[leader]).await;
    let wiped = (leader + 1) % 3;
    cluster.nodes[wiped].kill();
    fs::remove_dir_all(cluster.nodes[wiped].data_dir()).expect("a directory");
    cluster.nodes[wiped].start();
    replaces(&cluster.nodes[leader], &damaged).await;
    let statuses = cluster.converged().await;
    assert_eq!(statuses.len(), 3, "the wiped node has everything");
    let value: Value = cluster.apply_somewhere("last", r#"{"add":{"by":1}}"#).await;
    assert_eq!(value["value"], 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_snapshot_that_fails_is_answered_with_the_reason() {
    let mut cluster = Cluster::start(1, "counter", &QUICK);
    cluster.leader().await;
    commands(&mut cluster, "first", 3).await;
    let node = &cluster.nodes[0];
    let (snapshots, aside) = (
        node.data_dir().join("snapshots"),
        node.data_dir().join("aside"),
    );
    fs::rename(&snapshots, &aside).expect("the directory is moved away");
    fs::write(&snapshots, "no directory").expect("a file in its place");
    let send = async || {
        let response = node.http().send("POST", "/v1/snapshot", &[], "").await;
        response.expect("a response")
    };
    let response = send().await;
    assert_eq!(response.status, 500, "{response:?}");
    let error = &response.json()["error"];
    assert_eq!(error["code"], "snapshot_failed");
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains("snapshots"), "{message}");
    fs::remove_file(&snapshots).expect("the file is removed");
    fs::rename(&aside, &snapshots).expect("the directory is back");
    let response = send().await;
    assert_eq!(response.status, 200, "{response:?}");
}
