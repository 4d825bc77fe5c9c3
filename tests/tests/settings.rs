//! Real processes with changed flags, and directories of the release before: what decides outcomes is in the log.

use std::fs;
use std::path::Path;

use oarlock_tests::process::{Cluster, Node, NodeOptions, QUICK, eventually, free_ports, run};
use serde_json::{Value, json};

#[path = "settings"]
mod parts {
    mod restarts;
}

/// Flags with values that would change outcomes.
const CHANGED: [[&str; 2]; 5] = [
    ["--fuel-per-command", "1000"],
    ["--guest-memory-bytes", "4194304"],
    ["--max-command-bytes", "20"],
    ["--max-idempotency-keys", "1"],
    ["--idempotency-ttl-ms", "1"],
];

fn enqueue(n: u64) -> String {
    json!({"enqueue": {"queue": "q", "payload": {"n": n}}}).to_string()
}

async fn settings(node: &Node) -> Option<Value> {
    let response = node.http().get("/v1/settings").await.ok()?;
    (response.status == 200).then(|| response.json())
}

/// Number of ready tasks, from a linearizable query.
async fn ready(node: &Node) -> u64 {
    eventually("the node answers a query", async || {
        let response = node.http().query(r#"{"stats":{}}"#).await.ok()?;
        let stats = (response.status == 200).then(|| response.json())?;
        stats["queues"]["q"]["ready"].as_u64()
    })
    .await
}

/// Sends a request with a JSON body until the node has a leader.
async fn post(node: &Node, path: &str, body: &Value) -> (u16, Value) {
    eventually("the node responds", async || {
        let response = node.http().send("POST", path, &[], body.to_string()).await;
        let response = response.ok()?;
        (![503, 504].contains(&response.status)).then(|| (response.status, response.json()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_with_other_flags_have_one_state_and_warn_of_each_flag() {
    let mut cluster = Cluster::prepare(3, "queue", &QUICK);
    let odd = CHANGED.iter().flatten().map(ToString::to_string);
    cluster.nodes[2].options_mut().args.extend(odd);
    cluster.nodes.iter_mut().for_each(Node::start);
    // Any of the three may have begun the cluster, with its own flags.
    cluster.leader().await;
    let wide = json!({"set": {
        "fuel_per_command": 1_000_000_000_u64, "memory_bytes": 1 << 28, "command_bytes": 1 << 20,
        "keys": 1000, "key_ttl_ms": 86_400_000
    }});
    let (status, changed) = post(&cluster.nodes[0], "/v1/settings", &wide).await;
    assert_eq!(status, 200, "{changed}");
    for n in 1..=5 {
        let key = format!("k{n}");
        let reply = cluster.apply_somewhere(&key, &enqueue(n)).await;
        assert_eq!(reply["duplicate"], false);
        // The key is kept on every node, whatever its flags are.
        let again = cluster.apply_somewhere(&key, &enqueue(n)).await;
        assert_eq!(again["id"], reply["id"]);
    }
    cluster.converged().await;
    for node in &cluster.nodes {
        assert_eq!(ready(node).await, 5);
        let shown = settings(node).await.expect("settings");
        assert_eq!(shown["settings"]["command_bytes"], 1 << 20, "{shown}");
    }
    let log = cluster.nodes[2].log();
    let own = settings(&cluster.nodes[2]).await.expect("settings");
    assert_eq!(own["differing"].as_array().map(Vec::len), Some(5), "{own}");
    // It has warned unless its own flags were those with which the cluster began.
    cluster.nodes[2].kill();
    cluster.nodes[2].start();
    for [flag, _] in CHANGED {
        let warning = format!("{flag} is ");
        eventually("the node warns of the flag", async || {
            let added = cluster.nodes[2].log().split_off(log.len());
            added.contains(&warning).then_some(())
        })
        .await;
    }
    cluster.converged().await;
}

/// A directory that the release before this one has written, at cluster level 0: `tests/fixtures/level-0`. The node was
/// started with `--node-id node1` and the built-in queue, and has three tasks.
fn of_the_release_before(dir: &Path) -> Node {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/level-0/raft.redb");
    let data_dir = dir.join("node1");
    fs::create_dir(&data_dir).expect("a directory");
    fs::copy(fixture, data_dir.join("raft.redb")).expect("a copy");
    let ports = free_ports(2);
    Node::new(NodeOptions {
        id: "node1".to_owned(),
        peer_addr: format!("127.0.0.1:{}", ports[0]),
        client_addr: format!("127.0.0.1:{}", ports[1]),
        cluster: String::new(),
        data_dir,
        args: QUICK.map(str::to_owned).to_vec(),
        within: Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_the_release_before_stays_at_level_0_until_an_operator_raises_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut node = of_the_release_before(dir.path());
    node.start();
    assert_eq!(ready(&node).await, 3);
    let shown = settings(&node).await.expect("settings");
    assert_eq!(
        (&shown["level"], &shown["settings"]),
        (&json!(0), &Value::Null)
    );
    let change = json!({"set": {"keys": 5}});
    let (status, refused) = post(&node, "/v1/settings", &change).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("level_too_low")),
        "{refused}"
    );
    // The directory keeps the module with which the log began, for a later release with another task queue.
    eventually("the module is kept", async || {
        let mut files = fs::read_dir(node.data_dir()).ok()?;
        files.find(|file| {
            let name = file
                .as_ref()
                .map(|file| file.file_name().to_string_lossy().into_owned());
            name.is_ok_and(|name| name.starts_with("module-209994da"))
        })
    })
    .await
    .expect("a file");

    let endpoint = node.options_mut().client_addr.clone();
    let raised = run(["settings", "raise-level", "--endpoints", &endpoint]);
    assert!(raised.status.success(), "{raised:?}");
    let shown = settings(&node).await.expect("settings");
    assert_eq!(shown["level"], 1, "{shown}");
    // The guest is compiled for the rules of the level first.
    eventually("the settings apply", async || {
        let shown = settings(&node).await?;
        (shown["settings"]["keys"] == 100_000).then_some(())
    })
    .await;
    let set = run(["settings", "set", "keys=5", "--endpoints", &endpoint]);
    assert!(set.status.success(), "{set:?}");
    assert_eq!(ready(&node).await, 3);

    // Entries before the raise are executed as before, under whatever flags the node restarts.
    node.kill();
    let changed = CHANGED.iter().flatten().map(ToString::to_string);
    node.options_mut().args.extend(changed);
    node.start();
    assert_eq!(ready(&node).await, 3);
    let shown = settings(&node).await.expect("settings");
    assert_eq!(shown["settings"]["keys"], 5, "{shown}");
}
