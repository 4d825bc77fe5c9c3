//! Guests that recurse too deep, on clusters of real processes: a failed command, and no node stops. And the way past an
//! entry that an operator decides on.

use std::fs;
use std::path::{Path, PathBuf};

use oarlock_tests::process::{Cluster, Http, HttpResponse, Node, eventually, run};
use serde_json::Value;

#[path = "../../host/wasm/src/testing/core.rs"]
#[allow(dead_code, reason = "it has more for the tests of the host")]
mod core;

const SCRIPTED: &str = include_str!("../../host/wasm/src/testing/scripted.wat");
/// Fuel of a command, so that recursion reaches its limit first.
const FUEL: [&str; 2] = ["--fuel-per-command", "10000000000"];

/// `scripted` in a file. Its command `s` recurses without an end; a further command `y` as often as it says.
fn write_guest(dir: &Path) -> PathBuf {
    let endless = "(if (i32.eq (local.get $op) (i32.const 115)) (then ;; s";
    let deep = "(if (i32.eq (local.get $op) (i32.const 121)) (then ;; y
      (return (call $down (i32.load (local.get $rest))))))";
    let down = "(func $down (param $left i32) (result i32)
      (if (i32.eqz (local.get $left)) (then (return (i32.const 0))))
      (i32.mul (i32.const 1) (call $down (i32.sub (local.get $left) (i32.const 1)))))";
    assert_eq!(SCRIPTED.matches(endless).count(), 1, "one command `s`");
    let mut text = SCRIPTED.replace(endless, &format!("{deep}\n    {endless}"));
    let close = text.rfind(')').expect("the end of the module");
    text.replace_range(close.., &format!("{down})"));
    let file = dir.join("deep.wasm");
    fs::write(&file, core::core_module(&text)).expect("the guest is written");
    file
}

fn start(count: usize) -> Cluster {
    let mut cluster = Cluster::prepare(count, "counter", &FUEL);
    let guest = write_guest(cluster.dir()).display().to_string();
    for node in &mut cluster.nodes {
        let args = &mut node.options_mut().args;
        let at = args.iter().position(|arg| arg == "--state-machine");
        args[at.expect("the flag") + 1].clone_from(&guest);
        node.start();
    }
    cluster
}

async fn apply(http: &Http, command: &[u8]) -> HttpResponse {
    let command = command.to_vec();
    eventually("a response", async || {
        let response = http.apply(command.clone()).await.ok()?;
        (response.status != 503).then_some(response)
    })
    .await
}

/// A command that recurses this often.
fn deep(times: u32) -> Vec<u8> {
    let mut command = vec![b'y'];
    command.extend_from_slice(&times.to_le_bytes());
    command
}

fn assert_too_deep(response: &HttpResponse) {
    assert_eq!(response.status, 500, "{response:?}");
    let error = &response.json()["error"];
    assert_eq!(error["code"], "trap", "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("recursed too deep"), "{error}");
}

/// The value of the guest, from a linearizable query.
async fn value(node: &Node) -> u64 {
    let http = node.http();
    eventually("the value", async || {
        let response = http.query("q").await.ok()?;
        let bytes = (response.status == 200).then_some(response.body)?;
        Some(u64::from_le_bytes(bytes.as_ref().try_into().ok()?))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn recursion_without_an_end_and_as_deep_as_the_input_is_a_failed_command_on_every_node() {
    let mut cluster = start(3);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    assert_eq!(apply(&http, b"a").await.status, 200);
    assert_too_deep(&apply(&http, b"s").await);
    assert_eq!(apply(&http, &deep(1_000)).await.status, 200);
    assert_too_deep(&apply(&http, &deep(10_000_000)).await);
    let query = http.query("s").await.expect("a response");
    assert_too_deep(&query);
    assert_eq!(apply(&http, b"a").await.status, 200);
    cluster.converged().await;
    // Every node applies these entries again.
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.leader().await;
    cluster.converged().await;
    for node in &cluster.nodes {
        assert_eq!(value(node).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_an_operator_skips_on_every_node_has_no_effect() {
    let mut cluster = start(3);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let mut indexes = Vec::new();
    for _ in 0..3 {
        let response = apply(&http, b"a").await;
        assert_eq!(response.status, 200);
        indexes.push(response.header("oarlock-index").to_owned());
    }
    cluster.converged().await;
    for node in &mut cluster.nodes {
        node.kill();
        let dir = node.data_dir().display().to_string();
        let done = run(["recover", "--data-dir", &dir, "--skip-entry", &indexes[1]]);
        assert!(done.status.success(), "{done:?}");
        let listed = run(["recover", "--data-dir", &dir, "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        assert_eq!(
            listed["decisions"][0]["index"].to_string(),
            indexes[1],
            "{listed}"
        );
    }
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.leader().await;
    cluster.converged().await;
    for node in &cluster.nodes {
        assert_eq!(value(node).await, 2);
    }
    // A snapshot carries the decision: the entries are not in the log of these nodes any more.
    for node in &mut cluster.nodes {
        let taken = run(["snapshot", "--endpoints", &node.http().0]);
        assert!(taken.status.success(), "{taken:?}");
        node.kill();
        node.start();
    }
    cluster.leader().await;
    cluster.converged().await;
    assert_eq!(value(&cluster.nodes[0]).await, 2);
}
