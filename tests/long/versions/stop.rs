//! An entry at which every node stops: written by the release before, and passed with this one in the two ways that an operator
//! has.

use std::fs;
use std::path::{Path, PathBuf};

use oarlock_tests::process::{
    Cluster, Node, QUICK, eventually, file_before, lacks_history, oarlock, release_before, run,
};

use crate::core;

/// The command that recurses without an end.
const ENDLESS: &str = "s";
/// Adds one.
const ADD: &str = "a";

/// The scripted guest of the release before, whose host can run it. In the repaired one, `s` does what `a` does.
fn write_guest(dir: &Path, repaired: bool) -> PathBuf {
    const OVERFLOW: &str = "(return (call $overflow (i32.const 0)))";
    let text = file_before("host/wasm/src/testing/scripted.wat");
    let mut text = String::from_utf8(text).expect("a text");
    let counter = file_before("examples-wasm/dist/counter.wasm");
    assert_eq!(text.matches(OVERFLOW).count(), 1);
    if repaired {
        let add = "(i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
          (call $reply (i32.const 0) (i32.const 8)) (return (i32.const 0))";
        text = text.replace(OVERFLOW, add);
    }
    let file = dir.join(format!("repaired-{repaired}.wasm"));
    fs::write(&file, core::core_module_like(&text, &counter)).expect("the guest is written");
    file
}

/// Sends the endless command. All nodes stop, each with an error and a message that names the ways past the entry. Returns
/// the index of the entry.
async fn all_stop(cluster: &mut Cluster) -> String {
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let sent = tokio::spawn(async move { http.apply(ENDLESS).await });
    stopped(cluster).await;
    let response = sent.await.expect("sending does not panic");
    // The node may respond that it stops. It does not acknowledge.
    assert!(response.is_err() || response.is_ok_and(|response| response.status != 200));
    // With this release the message is the same at each start.
    for node in &mut cluster.nodes {
        node.use_binary(oarlock());
        node.start();
    }
    let indexes = stopped(cluster).await;
    assert!(
        indexes.iter().all(|index| *index == indexes[0]),
        "{indexes:?}"
    );
    indexes[0].clone()
}

/// Waits until all nodes have stopped, and returns the indexes that their messages name.
async fn stopped(cluster: &mut Cluster) -> Vec<String> {
    eventually("every node has stopped", async || {
        cluster.running().is_empty().then_some(())
    })
    .await;
    let named = cluster.nodes.iter_mut().map(|node| {
        let ended = node.wait();
        assert!(!ended.success(), "{ended}");
        let log = node.log();
        let last = log
            .rsplit_once("recover --skip-entry ")
            .map(|(_, rest)| rest);
        let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect();
        last.map_or_else(String::new, digits)
    });
    named.collect()
}

/// The same decision on every node.
fn decide(cluster: &Cluster, decision: &[&str]) {
    for node in &cluster.nodes {
        let dir = node.data_dir().display().to_string();
        let done = run([&["recover", "--data-dir", &dir], decision].concat());
        assert!(done.status.success(), "{done:?}");
    }
}

/// Starts all nodes. They have the same state, with this value, also after they have started again.
async fn all_have(cluster: &mut Cluster, value: u64) {
    for _ in 0..2 {
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.leader().await;
        // It compares the hashes of the states.
        cluster.converged().await;
        for node in &cluster.nodes {
            assert_eq!(shown(node).await, value);
        }
        cluster.nodes.iter_mut().for_each(Node::kill);
    }
    cluster.nodes.iter_mut().for_each(Node::start);
}

/// The value of the guest, from a linearizable query.
async fn shown(node: &Node) -> u64 {
    eventually("the node answers a query", async || {
        let response = node.http().query("q").await.ok()?;
        let bytes = (response.status == 200).then_some(response.body)?;
        Some(u64::from_le_bytes(bytes.as_ref().try_into().ok()?))
    })
    .await
}

async fn add(cluster: &Cluster) {
    eventually("the command is executed", async || {
        let response = cluster.nodes[0].http().apply(ADD).await.ok()?;
        (response.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_at_which_every_node_stops_is_skipped_and_a_second_one_goes_to_a_successor() {
    if let Some(why) = lacks_history() {
        return eprintln!("NOT TESTED HERE: two releases, because {why}");
    }
    let mut cluster = Cluster::prepare(3, "queue", &QUICK);
    let guest = write_guest(cluster.dir(), false).display().to_string();
    let repaired = write_guest(cluster.dir(), true).display().to_string();
    for node in &mut cluster.nodes {
        node.options_mut().args[1].clone_from(&guest);
        node.use_binary(release_before());
        node.start();
    }
    cluster.leader().await;
    add(&cluster).await;
    add(&cluster).await;
    cluster.converged().await;
    let first = all_stop(&mut cluster).await;
    decide(&cluster, &["--skip-entry", &first]);
    all_have(&mut cluster, 2).await;
    cluster.leader().await;
    add(&cluster).await;
    cluster.converged().await;

    // The cluster is at level 0, so such a command still stops all nodes.
    let second = all_stop(&mut cluster).await;
    assert_ne!(first, second);
    decide(&cluster, &["--at-entry", &second, "--successor", &repaired]);
    all_have(&mut cluster, 4).await;
    cluster.leader().await;
    add(&cluster).await;
    cluster.converged().await;
    for node in &cluster.nodes {
        assert_eq!(shown(node).await, 5);
    }
}
