//! Real processes whose disks were wiped or corrupted: each reports it, and votes again once the others have sent it
//! everything. Where a majority lost its data, the cluster elects no leader and reports that too.

use std::fs;
use std::path::{Path, PathBuf};

use oarlock_tests::process::{Cluster, Http, Node, QUICK, Recorder, eventually, noted};
use serde_json::{Value, json};

/// The same, with a snapshot soon.
fn quick_with_snapshots() -> Vec<&'static str> {
    let mut flags = QUICK.to_vec();
    flags.extend(["--snapshot-threshold", "100"]);
    flags
}

fn targets(cluster: &Cluster) -> Vec<Http> {
    cluster.nodes.iter().map(Node::http).collect()
}

/// Waits until a node may vote again and all nodes count its vote.
async fn is_a_voter_again(cluster: &Cluster, at: usize) {
    let id = cluster.nodes[at].id().to_owned();
    eventually("the node votes again", async || {
        if !cluster.nodes[at]
            .log()
            .contains("this node is eligible to vote")
        {
            return None;
        }
        for node in &cluster.nodes {
            let status = node.http().status().await?;
            let members = status["members"].as_array()?.clone();
            let own = members.iter().find(|member| member["node_id"] == id)?;
            if own["voter"] != true {
                return None;
            }
        }
        Some(())
    })
    .await;
}

fn forget_log(cluster: &Cluster, at: usize) {
    let log = cluster.nodes[at].data_dir().with_extension("log");
    fs::write(log, "").expect("a log to be emptied");
}

/// What a module is recognized by among other bytes.
const NOTE: [u8; 64] = *b"a note that stands in no other file, so that a test can find it.";

/// The part of the note that is looked for: in the log, the note may be in two sectors.
const PART: usize = 16;

/// Corrupts each copy of the note in a file; returns how many there were.
fn spoil_note(file: &Path) -> usize {
    let mut bytes = fs::read(file).expect("a file");
    let parts = [&NOTE[..PART], &NOTE[NOTE.len() - PART..]];
    let found = |(_, window): &(usize, &[u8])| parts.contains(window);
    let copies: Vec<usize> = bytes
        .windows(PART)
        .enumerate()
        .filter(found)
        .map(|(at, _)| at)
        .collect();
    for at in &copies {
        bytes[at + 5] ^= 0x10;
    }
    fs::write(file, bytes).expect("a damaged file");
    copies.len()
}

/// The file of the log in which the note is.
fn segment_with_the_note(node: &Node) -> PathBuf {
    let logs = fs::read_dir(node.data_dir().join("log")).expect("a directory");
    let log = logs.map(|log| log.expect("a log").path()).next();
    let files = fs::read_dir(log.expect("one log")).expect("a directory");
    let mut files = files.map(|file| file.expect("a segment").path());
    let holds = |file: &PathBuf| {
        let bytes = fs::read(file).unwrap_or_default();
        bytes.windows(PART).any(|window| window == &NOTE[..PART])
    };
    files.find(holds).expect("a segment with the module")
}

fn newest_snapshot(node: &Node) -> Option<PathBuf> {
    let files = fs::read_dir(node.data_dir().join("snapshots")).ok()?;
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let snapshots = paths.filter(|path| path.extension().is_some_and(|kind| kind == "snap"));
    snapshots.max()
}

/// Replaces the counter by the one with a note, and waits until every node runs it.
async fn upgrade(cluster: &mut Cluster) -> Value {
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let response = http
        .send("POST", "/v1/state-machine", &[], noted("counter", &NOTE))
        .await
        .expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    let sha256 = response.json()["sha256"].clone();
    for node in &cluster.nodes {
        runs(node, &sha256).await;
    }
    sha256
}

async fn runs(node: &Node, sha256: &Value) {
    eventually("the node runs the new module", async || {
        let status = node.http().status().await?;
        (status["state_machine"]["sha256"] == *sha256).then_some(())
    })
    .await;
}

/// Kills a node, damages the module in the file, and sees the node stop by the file's name, then heal with `--repair`.
async fn heals_from_a_damaged_module(
    cluster: &mut Cluster,
    at: usize,
    file: &Path,
    sha256: &Value,
) {
    cluster.nodes[at].kill();
    assert!(spoil_note(file) > 0, "{} holds no module", file.display());
    forget_log(cluster, at);
    cluster.nodes[at].start();
    assert_eq!(cluster.nodes[at].wait().code(), Some(1));
    let log = cluster.nodes[at].log();
    for text in ["corrupt", "--repair"] {
        assert!(log.contains(text), "{text} is missing: {log}");
    }
    let args = cluster.nodes[at].options_mut().args.clone();
    cluster.nodes[at]
        .options_mut()
        .args
        .push("--repair".to_owned());
    cluster.nodes[at].start();
    is_a_voter_again(cluster, at).await;
    cluster.nodes[at].options_mut().args = args;
    runs(&cluster.nodes[at], sha256).await;
    cluster.converged().await;
}

fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("a file");
    let middle = bytes.len() / 3;
    for byte in &mut bytes[middle..middle + 4096] {
        *byte ^= 0x40;
    }
    bytes[0] ^= 0x40;
    fs::write(file, bytes).expect("a damaged file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_was_wiped_rejoins_under_load_whether_it_led_or_not() {
    let mut cluster = Cluster::start(3, "queue", &quick_with_snapshots());
    cluster.leader().await;
    let recorder = Recorder::start(4, &targets(&cluster), 0);
    for leads in [true, false] {
        recorder.progress(150).await;
        let leader = cluster.leader().await;
        let victim = if leads { leader } else { (leader + 1) % 3 };
        cluster.nodes[victim].kill();
        fs::remove_dir_all(cluster.nodes[victim].data_dir()).expect("a directory");
        forget_log(&cluster, victim);
        cluster.nodes[victim].start();
        is_a_voter_again(&cluster, victim).await;
    }
    recorder.progress(50).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[0].http()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_log_stops_the_node_with_its_name_and_with_the_flag_the_node_rejoins_under_load()
{
    let mut cluster = Cluster::start(3, "queue", &quick_with_snapshots());
    cluster.leader().await;
    let recorder = Recorder::start(4, &targets(&cluster), 0);
    recorder.progress(150).await;
    let victim = cluster.leader().await;
    cluster.nodes[victim].kill();
    flip(&cluster.nodes[victim].data_dir().join("raft.redb"));
    forget_log(&cluster, victim);
    cluster.nodes[victim].start();
    assert_eq!(cluster.nodes[victim].wait().code(), Some(1));
    let log = cluster.nodes[victim].log();
    for text in ["raft.redb", "corrupt", "--repair"] {
        assert!(log.contains(text), "{text} is missing: {log}");
    }
    let aside = cluster.nodes[victim].data_dir().join("damaged-1");
    assert!(!aside.exists(), "nothing is touched without the flag");

    let options = cluster.nodes[victim].options_mut();
    options.args.push("--repair".to_owned());
    cluster.nodes[victim].start();
    is_a_voter_again(&cluster, victim).await;
    assert!(
        aside.join("raft.redb").is_file(),
        "the damaged file is kept"
    );
    recorder.progress(50).await;
    cluster.converged_under_load().await;
    recorder.check(&cluster.nodes[victim].http()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_corrupt_in_the_log_stops_any_node_and_with_the_flag_it_is_reinstalled() {
    // It takes no snapshot, so the module stays where the upgrade has put it.
    let mut cluster = Cluster::start(3, "counter", &QUICK);
    let sha256 = upgrade(&mut cluster).await;
    for at in 0..cluster.nodes.len() {
        let log = segment_with_the_note(&cluster.nodes[at]);
        heals_from_a_damaged_module(&mut cluster, at, &log, &sha256).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_corrupt_in_a_snapshot_stops_any_node_and_with_the_flag_it_is_reinstalled()
{
    let mut cluster = Cluster::start(3, "counter", &quick_with_snapshots());
    let sha256 = upgrade(&mut cluster).await;
    for at in 0..cluster.nodes.len() {
        let mut sent = 0;
        let snapshot = loop {
            cluster
                .apply_somewhere(&format!("{at}-{sent}"), r#"{"add":{"by":1}}"#)
                .await;
            sent += 1;
            let holds = |path: &PathBuf| {
                let bytes = fs::read(path).unwrap_or_default();
                bytes.windows(NOTE.len()).any(|window| window == NOTE)
            };
            if let Some(snapshot) = newest_snapshot(&cluster.nodes[at]).filter(holds) {
                break snapshot;
            }
        };
        heals_from_a_damaged_module(&mut cluster, at, &snapshot, &sha256).await;
    }
}

/// The field `voting` of the status of a node.
async fn voting(node: &Node) -> Value {
    let status = node.http().status().await;
    status.expect("a status")["voting"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_majority_with_wiped_disks_elects_no_leader_and_every_node_reports_it() {
    let mut cluster = Cluster::start(3, "kv", &quick_with_snapshots());
    cluster.leader().await;
    let put = json!({"put": {"key": "k", "value": "v"}}).to_string();
    cluster.apply_somewhere("one", &put).await;
    cluster.converged().await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    for at in [0, 1] {
        fs::remove_dir_all(cluster.nodes[at].data_dir()).expect("a directory");
    }
    // While the one that knows better is away, the two could take themselves for new.
    for at in [0, 1] {
        forget_log(&cluster, at);
        cluster.nodes[at].start();
    }
    for at in [0, 1] {
        eventually("the node names what it waits for", async || {
            cluster.nodes[at].log().contains("node3").then_some(())
        })
        .await;
    }
    cluster.nodes[2].start();
    eventually("the node with the data names the lost ones", async || {
        let log = cluster.nodes[2].log();
        log.contains("quorum lost: too many voters have empty stores")
            .then_some(())
    })
    .await;
    for at in [0, 1] {
        eventually("the wiped node reports that it is not new", async || {
            let log = cluster.nodes[at].log();
            log.contains("the cluster is not new").then_some(())
        })
        .await;
    }
    for at in [0, 1] {
        let voting = voting(&cluster.nodes[at]).await;
        assert_eq!(
            (&voting["eligible"], &voting["blocked_on"]),
            (&json!(false), &json!("rejoin"))
        );
    }
    let whole = voting(&cluster.nodes[2]).await;
    assert_eq!(
        whole["voters_without_data"],
        json!(["node1", "node2"]),
        "{whole}"
    );
    let metrics = cluster.nodes[2].http().get("/metrics").await;
    let metrics = String::from_utf8(metrics.expect("a response").body.to_vec()).expect("text");
    for line in [
        "oarlock_raft_can_vote 1",
        "oarlock_raft_voters_without_data 2",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    let headers = [("oarlock-timeout-ms", "1000")];
    for node in &cluster.nodes {
        let http = node.http();
        let refused = http.send("POST", "/v1/apply", &headers, put.clone()).await;
        assert_eq!(refused.expect("a response").status, 503);
    }
    // Data that is not on the wiped disks alone is still there to recover from.
    assert!(cluster.nodes[2].data_dir().join("raft.redb").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_waits_for_all_of_its_nodes_and_then_starts_by_itself() {
    let mut cluster = Cluster::prepare(3, "kv", &quick_with_snapshots());
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    // First of all it waits for both of the others.
    let waits = json!({"eligible": false, "blocked_on": "bootstrap", "nodes": ["node3"], "voters_without_data": []});
    for at in [0, 1] {
        eventually("the node names what it waits for", async || {
            let named = cluster.nodes[at].log().contains("node3");
            (named && voting(&cluster.nodes[at]).await == waits).then_some(())
        })
        .await;
    }
    cluster.nodes[2].start();
    cluster.leader().await;
    let put = json!({"put": {"key": "k", "value": "v"}}).to_string();
    cluster.apply_somewhere("one", &put).await;
    cluster.converged().await;
    let founded =
        json!({"eligible": true, "blocked_on": null, "nodes": [], "voters_without_data": []});
    for node in &cluster.nodes {
        eventually("the node is eligible to vote", async || {
            (voting(node).await == founded).then_some(())
        })
        .await;
    }
}
