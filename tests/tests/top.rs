//! `oarlock top` on real nodes: once as a table and as JSON, and again and again as lines of JSON.

use std::process::Stdio;

use oarlock_tests::process::{Cluster, QUICK, eventually, oarlock, run, text};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_are_measured_also_those_that_do_not_respond() {
    let mut cluster = Cluster::start(3, "counter", &QUICK);
    let leader = cluster.leader().await;
    let endpoints: Vec<String> = cluster.nodes.iter().map(|node| node.http().0).collect();
    let endpoints = endpoints.join(",");
    let flags = ["--interval-ms", "300", "--endpoints", &endpoints];

    // In a pipe it is one table.
    let table = run([&["top"], &flags[..]].concat());
    assert_eq!(table.status.code(), Some(0), "{}", text(&table));
    let table = String::from_utf8(table.stdout).expect("text");
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.starts_with("NODE"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");

    let id = cluster.nodes[leader].id().to_owned();
    let of_leader = |value: &Value| {
        let nodes = value["nodes"].as_array().expect("nodes").clone();
        assert_eq!(nodes.len(), 3, "{value}");
        let mut nodes = nodes.into_iter();
        nodes
            .find(|node| node["node_id"] == id)
            .expect("the leader")
    };
    let once = run([&["top", "--once", "--json"], &flags[..]].concat());
    let once: Value = serde_json::from_slice(&once.stdout).expect("JSON");
    let row = of_leader(&once);
    assert_eq!(row["role"], "leader", "{row}");
    assert!(row["process_memory_bytes"].as_u64() > Some(0), "{row}");
    assert!(row["commands_per_second"].is_number(), "{row}");

    // Lines go on while commands are sent, and show them.
    let mut process = Command::new(oarlock())
        .args([&["top", "--json"], &flags[..]].concat())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let out = process.stdout.take().expect("piped");
    let mut lines = BufReader::new(out).lines();
    let http = cluster.nodes[leader].http();
    loop {
        let applied = http.apply(r#"{"add":{"by":1}}"#).await;
        assert_eq!(applied.expect("a response").status, 200);
        let line = lines.next_line().await.expect("readable");
        let line: Value = serde_json::from_str(&line.expect("no end")).expect("JSON");
        let row = of_leader(&line);
        if row["commands_per_second"].as_f64() > Some(0.0) {
            assert!(row["latency_p99_ms"].as_f64() > Some(0.0), "{row}");
            break;
        }
    }
    drop(lines);

    let other = (leader + 1) % 3;
    cluster.nodes[other].kill();
    let id = cluster.nodes[other].id().to_owned();
    eventually("the node that does not respond is shown", async || {
        let shown = run([&["top", "--once", "--json"], &flags[..]].concat());
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        let nodes = shown["nodes"].as_array()?.clone();
        let silent = nodes.iter().find(|node| node["node_id"] == id)?;
        silent["error"].is_string().then_some(())
    })
    .await;
    let silent = run(["top", "--once", "--endpoints", "127.0.0.1:1"]);
    assert_eq!(silent.status.code(), Some(3), "{}", text(&silent));
}
