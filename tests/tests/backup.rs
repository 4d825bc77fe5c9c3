//! `oarlock backup`, `restore` and `verify` with real processes: a backup that is made while clients write contains all that was
//! acknowledged before, and becomes a new cluster that no node of the old one can join.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use oarlock_tests::process::kv::{put, read};
use oarlock_tests::process::{
    Cluster, Http, Node, NodeOptions, QUICK, apply_somewhere, eventually, free_ports, run, run_in,
    text,
};
use serde_json::{Value, json};

fn endpoints(cluster: &Cluster) -> String {
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.http().0).collect();
    addresses.join(",")
}

/// Makes a backup, and returns its description.
fn backup(endpoints: &str, file: &Path) -> Value {
    let file = file.display().to_string();
    let made = run(["backup", &file, "--endpoints", endpoints, "--json"]);
    assert!(made.status.success(), "{}", text(&made));
    serde_json::from_slice::<Value>(&made.stdout).expect("JSON")["backup"].clone()
}

/// Restores a backup, and starts the node of the new cluster.
fn restored(from: &mut Cluster, file: &Path, dir: &str) -> Node {
    let data_dir = from.dir().join(dir);
    let ports = free_ports(2);
    let peer_addr = format!("127.0.0.1:{}", ports[0]);
    let made = run([
        "restore",
        &file.display().to_string(),
        "--data-dir",
        &data_dir.display().to_string(),
        "--node-id",
        "new1",
        "--peer-addr",
        &peer_addr,
    ]);
    assert!(made.status.success(), "{}", text(&made));
    let next = format!("--node-id new1 --peer-addr {peer_addr}\n");
    assert!(text(&made).contains(&next), "{}", text(&made));
    let mut node = Node::new(NodeOptions {
        id: "new1".to_owned(),
        peer_addr,
        client_addr: format!("127.0.0.1:{}", ports[1]),
        cluster: String::new(),
        data_dir,
        args: from.nodes[0].options_mut().args.clone(),
        within: Vec::new(),
    });
    node.start();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_all_that_was_acknowledged_and_becomes_a_new_cluster() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    let targets: Vec<Http> = cluster.nodes.iter().map(Node::http).collect();
    let first = apply_somewhere(&targets, "first", &put("first", "1")).await;

    let (stop, acknowledged) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writer = {
        let (stop, acknowledged, targets) = (
            Arc::clone(&stop),
            Arc::clone(&acknowledged),
            targets.clone(),
        );
        tokio::spawn(async move {
            while !stop.load(Ordering::Acquire) {
                let n = acknowledged.load(Ordering::Acquire) + 1;
                apply_somewhere(&targets, &format!("key{n}"), &put(&format!("k{n}"), "v")).await;
                acknowledged.store(n, Ordering::Release);
            }
        })
    };
    eventually("some commands are acknowledged", async || {
        (acknowledged.load(Ordering::Acquire) > 20).then_some(())
    })
    .await;
    let before = acknowledged.load(Ordering::Acquire);
    let file = cluster.dir().join("a.backup");
    let (all, made) = (endpoints(&cluster), file.clone());
    let description = tokio::task::spawn_blocking(move || backup(&all, &made))
        .await
        .expect("a backup");
    stop.store(true, Ordering::Release);
    writer.await.expect("the writer ends");
    assert_eq!(
        description["cluster_id"],
        cluster.nodes[0].http().status().await.expect("a status")["cluster_id"]
    );
    assert_eq!(description["guest"], "kv");

    let mut node = restored(&mut cluster, &file, "new");
    let http = node.http();
    for n in [1, before / 2, before] {
        assert_eq!(read(&http, &format!("k{n}")).await, "v", "k{n} of {before}");
    }
    // The keys are there: the command is not executed again, and has the reply of the old cluster.
    let again = apply_somewhere(std::slice::from_ref(&http), "first", &put("first", "1")).await;
    assert_eq!(again, first);
    // It goes on after the entry of the backup.
    let status = http.status().await.expect("a status");
    assert!(status["applied_index"].as_u64() > description["index"].as_u64());

    // A node of the old cluster takes no part in the new one, also if it is added, and the old one goes on.
    let body = json!({"node_id": "node3", "peer_addr": cluster.nodes[2].peer_addr()});
    let added = http
        .send("POST", "/v1/members", &[], body.to_string())
        .await;
    let added = added.expect("a response");
    if added.status == 200 {
        eventually("the new cluster reports another lineage", async || {
            node.log().contains("lineage").then_some(())
        })
        .await;
    }
    apply_somewhere(&targets, "last", &put("last", "old")).await;
    assert_eq!(read(&targets[2], "last").await, "old");
    assert_eq!(read(&http, "last").await, Value::Null);
    // It restarts from its own log, and from the files only once.
    node.kill();
    node.start();
    assert_eq!(read(&node.http(), "k1").await, "v");
    let file = file.display().to_string();
    let dir = node.data_dir().display().to_string();
    let twice = run(["restore", &file, "--data-dir", &dir]);
    assert_eq!(twice.status.code(), Some(1));
    assert!(text(&twice).contains("not empty"), "{}", text(&twice));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_restored_cluster_grows_to_three_nodes_with_the_same_state() {
    let mut cluster = Cluster::start(1, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    let file = cluster.dir().join("a.backup");
    backup(&endpoints(&cluster), &file);
    cluster.nodes[0].kill();
    let node = restored(&mut cluster, &file, "new");
    cluster.nodes[0] = node;
    cluster.nodes[0]
        .options_mut()
        .args
        .retain(|arg| arg != "--bootstrap");
    for _ in 0..2 {
        let at = cluster.join();
        let joined = &cluster.nodes[at];
        eventually("the new node responds", async || {
            joined.http().status().await
        })
        .await;
        let body = json!({"node_id": joined.id(), "peer_addr": joined.peer_addr(), "voter": true});
        eventually("it is a voter", async || {
            let headers = [("oarlock-timeout-ms", "60000")];
            let http = cluster.nodes[0].http();
            let added = http.send("POST", "/v1/members", &headers, body.to_string());
            (added.await.ok()?.status == 200).then_some(())
        })
        .await;
    }
    cluster.converged().await;
    for node in &cluster.nodes {
        assert_eq!(read(&node.http(), "k").await, "v");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_leaves_no_directory() {
    let mut cluster = Cluster::start(1, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    let file = cluster.dir().join("a.backup");
    backup(&endpoints(&cluster), &file);
    let path = file.display().to_string();
    let sound = run(["verify", &path]);
    assert!(sound.status.success(), "{}", text(&sound));

    let bytes = fs::read(&file).expect("the backup");
    let wrong = cluster.dir().join("wrong.backup");
    let wrong_path = wrong.display().to_string();
    let dir = cluster.dir().join("new");
    let places = [0, 9, 13, 40, bytes.len() / 2, bytes.len() - 1];
    let flipped = places.map(|at| {
        let mut copy = bytes.clone();
        copy[at] ^= 4;
        copy
    });
    let cut = [
        bytes[..bytes.len() / 3].to_vec(),
        bytes[..bytes.len() - 1].to_vec(),
    ];
    for damaged in flipped.iter().chain(&cut) {
        fs::write(&wrong, damaged).expect("a copy");
        let verified = run(["verify", &wrong_path]);
        assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
        let restored = run([
            "restore",
            &wrong_path,
            "--data-dir",
            &dir.display().to_string(),
        ]);
        assert_eq!(restored.status.code(), Some(1), "{}", text(&restored));
        assert!(!dir.exists(), "{}", text(&restored));
    }
    // What `serve` would refuse is refused here.
    for wrong in [
        ["--node-id", "a=b"],
        ["--peer-addr", "nowhere"],
        ["--peer-addr", "127.0.0.1:0"],
        ["--cluster-id", ""],
    ] {
        let data_dir = dir.display().to_string();
        let refused = run([&["restore", &path, "--data-dir", &data_dir][..], &wrong].concat());
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(!dir.exists(), "{}", text(&refused));
    }

    // Relative paths are those of the caller.
    let relative = run_in(
        cluster.dir(),
        ["restore", "a.backup", "--data-dir", "relative"],
    );
    assert!(relative.status.success(), "{}", text(&relative));
    let relative = run_in(cluster.dir(), ["verify", "--data-dir", "relative"]);
    assert!(relative.status.success(), "{}", text(&relative));

    // A directory whose log begins after its snapshot is not sound.
    let restored = run(["restore", &path, "--data-dir", &dir.display().to_string()]);
    assert!(restored.status.success(), "{}", text(&restored));
    let verify = || run(["verify", "--data-dir", &dir.display().to_string()]);
    assert!(verify().status.success(), "{}", text(&verify()));
    fs::remove_dir_all(dir.join("snapshots")).expect("removed");
    assert_eq!(verify().status.code(), Some(1));
    assert!(text(&verify()).contains("not sound"), "{}", text(&verify()));

    // An existing file is not replaced by accident.
    let again = run(["backup", &path, "--endpoints", &endpoints(&cluster)]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read(&file).expect("the backup"), bytes);
    let forced = run([
        "backup",
        &path,
        "--force",
        "--endpoints",
        &endpoints(&cluster),
    ]);
    assert!(forced.status.success(), "{}", text(&forced));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_a_stopped_node_is_verified_and_damage_is_named() {
    let mut cluster = Cluster::start(1, "kv", &QUICK);
    cluster.leader().await;
    for n in 0..20 {
        cluster
            .apply_somewhere(&format!("key{n}"), &put("k", &"x".repeat(3000)))
            .await;
    }
    let snapshot = cluster.nodes[0]
        .http()
        .send("POST", "/v1/snapshot", &[], String::new())
        .await;
    assert_eq!(snapshot.expect("a response").status, 200);
    let dir = cluster.nodes[0].data_dir().to_owned();
    let path = dir.display().to_string();
    let running = run(["verify", "--data-dir", &path]);
    assert_eq!(running.status.code(), Some(1), "{}", text(&running));
    cluster.nodes[0].kill();
    let sound = run(["verify", "--data-dir", &path, "--json"]);
    assert!(sound.status.success(), "{}", text(&sound));
    let told: Value = serde_json::from_slice(&sound.stdout).expect("JSON");
    assert!(told["snapshot"].as_u64() > Some(20), "{told}");

    let snapshot = fs::read_dir(dir.join("snapshots"))
        .expect("snapshots")
        .next();
    let snapshot = snapshot.expect("a snapshot").expect("a file").path();
    let bytes = fs::read(&snapshot).expect("a snapshot");
    let mut wrong = bytes.clone();
    wrong[bytes.len() - 10] ^= 1;
    fs::write(&snapshot, &wrong).expect("written");
    let damaged = run(["verify", "--data-dir", &path]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(&damaged).contains("checksum"), "{}", text(&damaged));
}
