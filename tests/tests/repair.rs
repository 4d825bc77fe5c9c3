//! Real processes whose disks were wiped or damaged: each says so, and is a voter again once the others have given it
//! everything; where too many are gone, the cluster stands still and says so too.

use std::fs;
use std::path::Path;

use oarlock_tests::process::{Cluster, Http, Node, Recorder, eventually};
use serde_json::json;

const QUICK: [&str; 8] = [
    "--election-timeout-min-ms",
    "300",
    "--election-timeout-max-ms",
    "600",
    "--heartbeat-interval-ms",
    "50",
    "--snapshot-threshold",
    "100",
];

fn targets(cluster: &Cluster) -> Vec<Http> {
    cluster.nodes.iter().map(Node::http).collect()
}

/// Waits until a node has its say again and all nodes count it.
async fn is_a_voter_again(cluster: &Cluster, at: usize) {
    let id = cluster.nodes[at].id().to_owned();
    eventually("the node votes again", async || {
        if !cluster.nodes[at].log().contains("this node has its say") {
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
async fn a_node_whose_disk_was_wiped_comes_back_under_load_whether_it_led_or_not() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
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
async fn a_damaged_log_stops_the_node_by_name_and_with_the_flag_it_heals_under_load() {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let recorder = Recorder::start(4, &targets(&cluster), 0);
    recorder.progress(150).await;
    let victim = cluster.leader().await;
    cluster.nodes[victim].kill();
    flip(&cluster.nodes[victim].data_dir().join("raft.redb"));
    forget_log(&cluster, victim);
    cluster.nodes[victim].start();
    assert_eq!(cluster.nodes[victim].wait().code(), Some(1));
    let said = cluster.nodes[victim].log();
    for words in ["raft.redb", "damaged", "--repair"] {
        assert!(said.contains(words), "{words} is missing: {said}");
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
async fn a_majority_with_wiped_disks_stands_still_and_every_node_says_so() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
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
        eventually("the node says for whom it waits", async || {
            cluster.nodes[at].log().contains("node3").then_some(())
        })
        .await;
    }
    cluster.nodes[2].start();
    eventually("the node with the data says who is lost", async || {
        let log = cluster.nodes[2].log();
        log.contains("too many voters have lost their stores")
            .then_some(())
    })
    .await;
    for at in [0, 1] {
        eventually("the wiped node says that it is not new", async || {
            let log = cluster.nodes[at].log();
            log.contains("the cluster is not new").then_some(())
        })
        .await;
    }
    let headers = [("oarlock-timeout-ms", "1000")];
    for node in &cluster.nodes {
        let http = node.http();
        let refused = http.send("POST", "/v1/apply", &headers, put.clone()).await;
        assert_eq!(refused.expect("an answer").status, 503);
    }
    // What is not on the wiped disks alone is there, for whoever begins anew from it.
    assert!(cluster.nodes[2].data_dir().join("raft.redb").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_cluster_waits_for_all_of_its_nodes_and_then_begins_by_itself() {
    let mut cluster = Cluster::prepare(3, "kv", &QUICK);
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    for at in [0, 1] {
        eventually("the node says for whom it waits", async || {
            cluster.nodes[at].log().contains("node3").then_some(())
        })
        .await;
    }
    cluster.nodes[2].start();
    cluster.leader().await;
    let put = json!({"put": {"key": "k", "value": "v"}}).to_string();
    cluster.apply_somewhere("one", &put).await;
    cluster.converged().await;
}
