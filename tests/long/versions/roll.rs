//! Rolling upgrades and the way back, on which each node starts with an empty directory.

use std::path::Path;

use oarlock_tests::process::{
    Cluster, Node, QUICK, eventually, lacks_history, oarlock, release_before, run,
};

use super::load::Load;

async fn ready(node: &Node) {
    eventually("the node is ready", async || {
        let response = node.http().get("/readyz").await.ok()?;
        (response.status == 200).then_some(())
    })
    .await;
}

/// Starts a node with another binary while clients go on.
async fn switch(cluster: &mut Cluster, load: &mut Load, at: usize, binary: &Path, signal: &str) {
    let node = &mut cluster.nodes[at];
    load.pause(at);
    node.signal(signal);
    node.wait();
    node.use_binary(binary);
    if binary == release_before() {
        leaves_segments(node);
    }
    node.start();
    ready(&cluster.nodes[at]).await;
    load.resume(at);
    load.goes_on().await;
}

/// The release before refuses a directory with segments and leaves it unchanged. The way back is an empty directory: the node rejoins.
fn leaves_segments(node: &mut Node) {
    node.start();
    assert_eq!(node.wait().code(), Some(1));
    let log = node.log();
    assert!(log.contains("has format 4"), "{log}");
    std::fs::remove_dir_all(node.data_dir()).expect("a directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_run_together_forward_and_back_without_a_failed_request() {
    if let Some(why) = lacks_history() {
        return eprintln!("NOT TESTED HERE: two releases, because {why}");
    }
    let (before, now) = (release_before(), oarlock());
    let args = [&QUICK[..], &["--snapshot-threshold", "50"]].concat();
    let mut cluster = Cluster::prepare(3, "queue", &args);
    for node in &mut cluster.nodes {
        // Each binary runs its own task queue: both can run the log of the other.
        node.options_mut()
            .args
            .retain(|arg| !arg.ends_with(".wasm") && arg != "--state-machine");
        node.use_binary(before);
        node.start();
    }
    cluster.leader().await;
    for node in &cluster.nodes {
        ready(node).await;
    }
    let mut load = Load::start(&cluster);
    load.goes_on().await;
    for (round, binary) in [now, before, now].into_iter().enumerate() {
        for at in [2, 0, 1] {
            // One node of each round is killed: it must find its data by itself.
            let signal = if at == round { "KILL" } else { "TERM" };
            switch(&mut cluster, &mut load, at, binary, signal).await;
        }
        cluster.converged_under_load().await;
    }
    let endpoint = cluster.nodes[0].options_mut().client_addr.clone();
    let raised = run(["settings", "raise-level", "--endpoints", &endpoint]);
    assert!(raised.status.success(), "{raised:?}");
    load.goes_on().await;
    a_node_of_the_release_before_is_kept_out(&mut cluster, &mut load).await;
    let clients = load.end().await;
    cluster.converged().await;
    for client in &clients {
        for node in &cluster.nodes {
            client.check(node).await;
        }
    }
    for node in &cluster.nodes {
        let status = node.http().status().await.expect("a status");
        assert!(status["snapshot_index"].as_u64() > Some(0), "{status:#}");
        assert_eq!(status["audit"]["quarantined"], false, "{status:#}");
    }
}

/// At level 1, a node of the release before does not take part, and the others go on.
async fn a_node_of_the_release_before_is_kept_out(cluster: &mut Cluster, load: &mut Load) {
    load.pause(2);
    let node = &mut cluster.nodes[2];
    node.signal("TERM");
    node.wait();
    node.use_binary(release_before());
    node.start();
    load.goes_on().await;
    if cluster.nodes[2].is_running() {
        let ready = cluster.nodes[2].http().get("/readyz").await;
        assert!(ready.is_err() || ready.is_ok_and(|ready| ready.status == 503));
        cluster.nodes[2].kill();
    } else {
        cluster.nodes[2].wait();
    }
    cluster.nodes[2].use_binary(oarlock());
    cluster.nodes[2].start();
    ready(&cluster.nodes[2]).await;
    load.resume(2);
    load.goes_on().await;
}
