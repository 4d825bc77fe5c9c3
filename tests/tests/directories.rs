//! Real processes with wrong, empty, copied or old data directories, and with changed flags: no acknowledged write is
//! missing from an answer, and none is acknowledged where it would be lost.

use std::fs;
use std::path::{Path, PathBuf};

use oarlock_tests::process::kv::{get, put, read};
use oarlock_tests::process::{
    BOOTSTRAP, Cluster, Node, QUICK, apply_somewhere, eventually, free_ports, run,
};
use serde_json::{Value, json};

/// Neither a command nor a linearizable query is carried out.
async fn serves_nothing(node: &Node) {
    let headers = [("oarlock-timeout-ms", "700")];
    for (path, body) in [("/v1/apply", put("lost", "x")), ("/v1/query", get("k"))] {
        let response = node.http().send("POST", path, &headers, body).await;
        let response = response.expect("a response");
        // 504 from a leader that has lost its majority and does not know it yet: it has acknowledged nothing.
        let refused = [503, 504].contains(&response.status);
        assert!(refused, "{path}: {response:?}");
    }
}

/// Waits until the node reports why it does not vote.
async fn blocked_on(node: &Node, reason: &str) {
    eventually("the node reports why it does not vote", async || {
        let status = node.http().status().await?;
        (status["voting"]["blocked_on"] == reason).then_some(())
    })
    .await;
}

/// Waits until the node votes and all of the others count it.
async fn is_voter(cluster: &Cluster, at: usize) {
    let id = cluster.nodes[at].id().to_owned();
    eventually("the node votes", async || {
        let own = cluster.nodes[at].http().status().await?;
        (own["voting"]["eligible"] == true).then_some(())?;
        for node in &cluster.nodes {
            let status = node.http().status().await?;
            let members = status["members"].as_array()?.clone();
            let own = members.iter().find(|member| member["node_id"] == id)?;
            (own["voter"] == true).then_some(())?;
        }
        Some(())
    })
    .await;
}

fn wipe(node: &Node) {
    fs::remove_dir_all(node.data_dir()).expect("a directory");
}

/// Copies a data directory, as `cp -r` does.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for item in fs::read_dir(from).expect("a directory") {
        let item = item.expect("an entry");
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).expect("a copy");
        }
    }
}

/// A cluster that was begun by one node with these flags and grown to three.
async fn grown(one: &str) -> Cluster {
    let mut cluster = Cluster::prepare(1, "kv", &QUICK);
    let options = cluster.nodes[0].options_mut();
    options.cluster = one.replace("ADDRESS", &options.peer_addr);
    cluster.nodes[0].start();
    cluster.leader().await;
    grow(&mut cluster).await;
    cluster
}

/// Adds two voters to a cluster of one.
async fn grow(cluster: &mut Cluster) {
    for _ in 0..2 {
        let at = cluster.join();
        let node = &cluster.nodes[at];
        eventually("the new node responds", async || node.http().status().await).await;
        let body = json!({"node_id": node.id(), "peer_addr": node.peer_addr(), "voter": true});
        let headers = [("oarlock-timeout-ms", "60000")];
        let leader = cluster.nodes[0].http();
        let added = leader
            .send("POST", "/v1/members", &headers, body.to_string())
            .await;
        assert_eq!(added.expect("a response").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_node_of_a_grown_cluster_acknowledges_nothing_on_a_replaced_disk() {
    for one in ["", "node1=ADDRESS"] {
        let mut cluster = grown(one).await;
        cluster.apply_somewhere("kept", &put("k", "kept")).await;
        cluster.converged().await;
        cluster.nodes.iter_mut().for_each(Node::kill);
        // Its flags are those of the first start, but for the one that begins a cluster.
        wipe(&cluster.nodes[0]);
        let args = &mut cluster.nodes[0].options_mut().args;
        args.retain(|arg| arg != BOOTSTRAP);
        cluster.nodes[0].start();
        blocked_on(&cluster.nodes[0], "join").await;
        serves_nothing(&cluster.nodes[0]).await;
        for at in [1, 2] {
            cluster.nodes[at].start();
        }
        is_voter(&cluster, 0).await;
        assert_eq!(read(&cluster.nodes[0].http(), "k").await, "kept");
        assert_eq!(read(&cluster.nodes[0].http(), "lost").await, Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_that_was_left_in_a_script_is_ignored_on_a_replaced_disk_if_a_member_runs() {
    let mut cluster = grown("").await;
    cluster.apply_somewhere("kept", &put("k", "kept")).await;
    cluster.converged().await;
    // One member alone has no majority, and is enough to tell.
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    wipe(&cluster.nodes[0]);
    cluster.nodes[0].start();
    blocked_on(&cluster.nodes[0], "join").await;
    serves_nothing(&cluster.nodes[0]).await;
    let log = cluster.nodes[0].log();
    assert!(log.contains("--bootstrap is ignored"), "{log}");
    cluster.nodes[1].start();
    is_voter(&cluster, 0).await;
    assert_eq!(read(&cluster.nodes[0].http(), "k").await, "kept");
}

/// With no other member up, the flag is an order to begin anew: no node can tell that there was a cluster. When the others
/// return, the two histories stay apart, and the node finds its way back on another empty disk without the flag.
#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_on_a_replaced_disk_while_no_member_runs_begins_another_history_that_stays_apart()
{
    let mut cluster = grown("").await;
    cluster.apply_somewhere("kept", &put("k", "kept")).await;
    cluster.converged().await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    wipe(&cluster.nodes[0]);
    cluster.nodes[0].start();
    let others = [cluster.nodes[1].http(), cluster.nodes[2].http()];
    let alone = [cluster.nodes[0].http()];
    apply_somewhere(&alone, "new", &put("n", "new")).await;
    for at in [1, 2] {
        cluster.nodes[at].start();
    }
    for other in &others {
        assert_eq!(read(other, "k").await, "kept");
    }
    apply_somewhere(&others, "after", &put("l", "after")).await;
    logs(&cluster.nodes[0], "lineage").await;
    // Each goes on with its own history.
    apply_somewhere(&alone, "more", &put("m", "more")).await;
    for (key, of_the_new, of_the_old) in [
        ("k", json!(null), json!("kept")),
        ("l", json!(null), json!("after")),
        ("n", json!("new"), json!(null)),
        ("m", json!("more"), json!(null)),
    ] {
        assert_eq!(read(&alone[0], key).await, of_the_new, "{key}");
        for other in &others {
            assert_eq!(read(other, key).await, of_the_old, "{key}");
        }
    }
    cluster.nodes[0].kill();
    let log = cluster.nodes[0].log();
    cluster.nodes[0].start();
    logs(&cluster.nodes[0], "--bootstrap has no effect").await;
    assert!(!log.contains("--bootstrap has no effect"), "{log}");
    cluster.nodes[0].kill();
    let apart = cluster.nodes[0].data_dir().with_extension("apart");
    cluster.nodes[0].options_mut().data_dir = apart;
    let args = &mut cluster.nodes[0].options_mut().args;
    args.retain(|arg| arg != BOOTSTRAP);
    cluster.nodes[0].start();
    is_voter(&cluster, 0).await;
    assert_eq!(read(&alone[0], "k").await, "kept");
    assert_eq!(read(&alone[0], "n").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_with_a_name_waits_and_bootstrap_begins_its_cluster_once() {
    let mut cluster = Cluster::prepare(1, "kv", &QUICK);
    let options = cluster.nodes[0].options_mut();
    options.cluster = String::new();
    options.args.retain(|arg| arg != BOOTSTRAP);
    cluster.nodes[0].start();
    blocked_on(&cluster.nodes[0], "join").await;
    logs(&cluster.nodes[0], "If it ever held data, don't: stop it").await;
    serves_nothing(&cluster.nodes[0]).await;
    cluster.nodes[0].kill();
    let args = &mut cluster.nodes[0].options_mut().args;
    args.push(BOOTSTRAP.to_owned());
    cluster.nodes[0].start();
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    assert_eq!(read(&cluster.nodes[0].http(), "k").await, "v");
    let log = cluster.nodes[0].log();
    assert!(log.contains("--bootstrap has no effect"), "{log}");
}

/// Whatever an empty node waits for, its log tells what to do if it should have data.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_an_empty_node_that_waits_tells_what_to_do_if_it_held_data() {
    let mut cluster = Cluster::prepare(3, "kv", &QUICK);
    cluster.nodes[0].start();
    blocked_on(&cluster.nodes[0], "bootstrap").await;
    let advice = "If this cluster ever held data, stop this node and correct --data-dir";
    logs(&cluster.nodes[0], advice).await;
    serves_nothing(&cluster.nodes[0]).await;
    let args = &mut cluster.nodes[1].options_mut().args;
    args.push("--join".to_owned());
    cluster.nodes[1].options_mut().cluster.clear();
    cluster.nodes[1].start();
    blocked_on(&cluster.nodes[1], "join").await;
    logs(&cluster.nodes[1], "If it ever held data, don't: stop it").await;
    serves_nothing(&cluster.nodes[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_with_a_list_of_several_nodes_is_refused_while_the_directory_is_empty() {
    let mut cluster = Cluster::prepare(3, "kv", &QUICK);
    for flag in [BOOTSTRAP, "--join"] {
        let args = &mut cluster.nodes[0].options_mut().args;
        args.push(flag.to_owned());
    }
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].wait().code(), Some(1));
    let args = &mut cluster.nodes[0].options_mut().args;
    args.retain(|arg| arg != "--join");
    cluster.nodes[0].start();
    assert_eq!(cluster.nodes[0].wait().code(), Some(1));
    let log = cluster.nodes[0].log();
    assert!(
        log.contains("--cluster of several nodes") && log.contains("--join is set too"),
        "{log}"
    );
    assert!(!cluster.nodes[0].data_dir().join("raft.redb").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_data_start_with_a_list_that_has_grown_and_log_the_difference() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    cluster.converged().await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    let more = format!(",node4=127.0.0.1:{}", free_ports(1)[0]);
    for node in &mut cluster.nodes {
        node.options_mut().cluster.push_str(&more);
        node.start();
    }
    cluster.leader().await;
    cluster.apply_somewhere("two", &put("l", "w")).await;
    for node in &cluster.nodes {
        assert_eq!(read(&node.http(), "k").await, "v");
        let log = node.log();
        assert!(log.contains("node4 is not a member"), "{log}");
        let members = node.http().status().await.expect("a status")["members"].clone();
        assert_eq!(members.as_array().map(Vec::len), Some(3), "{members}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_disk_with_a_changed_list_is_refused_with_the_flag_that_helps() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    cluster.converged().await;
    cluster.nodes[2].kill();
    wipe(&cluster.nodes[2]);
    let more = format!(",node4=127.0.0.1:{}", free_ports(1)[0]);
    cluster.nodes[2].options_mut().cluster.push_str(&more);
    cluster.nodes[2].start();
    blocked_on(&cluster.nodes[2], "bootstrap").await;
    logs(&cluster.nodes[2], "with --cluster-id set to the id").await;
    serves_nothing(&cluster.nodes[2]).await;
    cluster.nodes[2].kill();
    let status = cluster.nodes[0].http().status().await.expect("a status");
    let id = status["cluster_id"].as_str().expect("an id").to_owned();
    let args = &mut cluster.nodes[2].options_mut().args;
    args.extend(["--cluster-id".to_owned(), id]);
    cluster.nodes[2].start();
    is_voter(&cluster, 2).await;
    assert_eq!(read(&cluster.nodes[2].http(), "k").await, "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_moved_is_found_at_the_address_that_it_announces() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    cluster.converged().await;
    cluster.nodes[1].kill();
    let options = cluster.nodes[1].options_mut();
    let moved = format!("127.0.0.1:{}", free_ports(1)[0]);
    options.cluster = options.cluster.replace(&options.peer_addr, &moved);
    options.peer_addr = moved;
    cluster.nodes[1].start();
    is_voter(&cluster, 1).await;
    let moved = &cluster.nodes[1].peer_addr().to_owned();
    for at in [0, 2] {
        eventually("the status shows the announced address", async || {
            let status = cluster.nodes[at].http().status().await?;
            let members = status["members"].as_array()?.iter();
            let announced: Vec<_> = members.map(|member| &member["announced_addr"]).collect();
            (announced == [&Value::Null, &json!(moved), &Value::Null]).then_some(())
        })
        .await;
    }
    let listed = run(["members", "list", "--endpoints", &cluster.nodes[0].http().0]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(&format!("moved to {moved}")), "{listed}");
    // The others still have the old address in their flags, and need the node for a majority.
    cluster.nodes[2].kill();
    cluster.apply_somewhere("two", &put("k", "w")).await;
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.apply_somewhere("three", &put("k", "x")).await;
    for at in [0, 1] {
        assert_eq!(read(&cluster.nodes[at].http(), "k").await, "x");
    }
}

/// Waits until the log of a node contains a text.
async fn logs(node: &Node, text: &str) {
    eventually(text, async || node.log().contains(text).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_begun_on_wrong_directories_stays_apart_from_the_right_one() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("right", &put("k", "right")).await;
    cluster.converged().await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    let right: Vec<PathBuf> = cluster
        .nodes
        .iter()
        .map(|node| node.data_dir().to_owned())
        .collect();
    for node in &mut cluster.nodes {
        node.options_mut().data_dir = node.data_dir().with_extension("wrong");
        node.start();
    }
    cluster.leader().await;
    cluster.apply_somewhere("wrong", &put("w", "wrong")).await;
    for (at, right) in right.iter().enumerate() {
        cluster.nodes[at].kill();
        cluster.nodes[at].options_mut().data_dir.clone_from(right);
        cluster.nodes[at].start();
        match at {
            // The others go on with the wrong history, and this one takes no part in it.
            0 => {
                logs(&cluster.nodes[0], "lineage").await;
                serves_nothing(&cluster.nodes[0]).await;
                assert_eq!(read(&cluster.nodes[1].http(), "w").await, "wrong");
                assert_eq!(read(&cluster.nodes[2].http(), "k").await, Value::Null);
            }
            // Now the right history has a majority, and the wrong one none.
            1 => {
                assert_eq!(read(&cluster.nodes[0].http(), "k").await, "right");
                serves_nothing(&cluster.nodes[2]).await;
            }
            _ => {}
        }
    }
    cluster.leader().await;
    cluster.apply_somewhere("after", &put("l", "after")).await;
    for node in &cluster.nodes {
        assert_eq!(read(&node.http(), "k").await, "right");
        assert_eq!(read(&node.http(), "l").await, "after");
        assert_eq!(read(&node.http(), "w").await, Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_on_its_right_directory_among_two_of_another_history_changes_neither() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("right", &put("k", "right")).await;
    cluster.converged().await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    // All three directories are wrong; the histories have entries of the same terms and indexes.
    let right = cluster.nodes[2].data_dir().to_owned();
    for node in &mut cluster.nodes {
        node.options_mut().data_dir = node.data_dir().with_extension("wrong");
        node.start();
    }
    cluster.leader().await;
    cluster.apply_somewhere("wrong", &put("k", "wrong")).await;
    cluster.converged().await;
    cluster.nodes[2].kill();
    cluster.nodes[2].options_mut().data_dir = right;
    cluster.nodes[2].start();
    logs(&cluster.nodes[2], "lineage").await;
    cluster.apply_somewhere("more", &put("l", "more")).await;
    serves_nothing(&cluster.nodes[2]).await;
    assert_eq!(read(&cluster.nodes[0].http(), "k").await, "wrong");
}

/// Brings the directories of the nodes `stale` to an earlier state than that of node `at`, which is down.
async fn with_an_old_copy(swapped: usize, newest: usize) -> (Cluster, PathBuf) {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("old", &put("k", "old")).await;
    cluster.converged().await;
    cluster.nodes[swapped].kill();
    let backup = cluster.dir().join("backup");
    copy(cluster.nodes[swapped].data_dir(), &backup);
    let stale = 3 - swapped - newest;
    let id = cluster.nodes[swapped].id().to_owned();
    let connected = |node: &Node| {
        let line = format!("connected to peer peer={id} ");
        node.log().matches(&line).count()
    };
    let before = connected(&cluster.nodes[stale]);
    cluster.nodes[swapped].start();
    is_voter(&cluster, swapped).await;
    // The node that stays behind has met the new run, and has recorded that before the entry that it writes next.
    eventually("the nodes are connected", async || {
        (connected(&cluster.nodes[stale]) > before).then_some(())
    })
    .await;
    cluster.apply_somewhere("met", &put("met", "yes")).await;
    cluster.converged().await;
    cluster.nodes[stale].kill();
    let targets = [&cluster.nodes[swapped], &cluster.nodes[newest]].map(Node::http);
    apply_somewhere(&targets, "new", &put("k", "new")).await;
    cluster.nodes[newest].kill();
    cluster.nodes[swapped].kill();
    (cluster, backup)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_a_directory_answers_nothing_while_the_only_newer_one_is_away() {
    for (swapped, newest) in [(1, 0), (0, 2)] {
        let (mut cluster, backup) = with_an_old_copy(swapped, newest).await;
        let stale = 3 - swapped - newest;
        wipe(&cluster.nodes[swapped]);
        copy(&backup, cluster.nodes[swapped].data_dir());
        for at in [swapped, stale] {
            cluster.nodes[at].start();
        }
        blocked_on(&cluster.nodes[swapped], "rejoin").await;
        let id = cluster.nodes[swapped].id().to_owned();
        eventually("the other node knows of the lost store", async || {
            let status = cluster.nodes[stale].http().status().await?;
            (status["voting"]["voters_without_data"] == json!([id])).then_some(())
        })
        .await;
        for at in [swapped, stale] {
            serves_nothing(&cluster.nodes[at]).await;
        }
        let log = cluster.nodes[swapped].log();
        assert!(log.contains("this data directory is a copy"), "{log}");
        cluster.nodes[newest].start();
        is_voter(&cluster, swapped).await;
        for node in &cluster.nodes {
            assert_eq!(read(&node.http(), "k").await, "new");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_disk_that_is_put_back_after_its_replacement_answers_nothing() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("old", &put("k", "old")).await;
    cluster.converged().await;
    cluster.nodes[2].kill();
    let aside = cluster.dir().join("old-disk");
    fs::rename(cluster.nodes[2].data_dir(), &aside).expect("renamed");
    cluster.nodes[2].start();
    is_voter(&cluster, 2).await;
    // The replacement is one of the two that acknowledge a write, and the other one is away.
    cluster.nodes[1].kill();
    let targets = [&cluster.nodes[0], &cluster.nodes[2]].map(Node::http);
    apply_somewhere(&targets, "new", &put("k", "new")).await;
    cluster.nodes[0].kill();
    cluster.nodes[2].kill();
    wipe(&cluster.nodes[2]);
    fs::rename(&aside, cluster.nodes[2].data_dir()).expect("renamed");
    for at in [1, 2] {
        cluster.nodes[at].start();
    }
    blocked_on(&cluster.nodes[2], "rejoin").await;
    for at in [1, 2] {
        serves_nothing(&cluster.nodes[at]).await;
    }
    cluster.nodes[0].start();
    is_voter(&cluster, 2).await;
    for node in &cluster.nodes {
        assert_eq!(read(&node.http(), "k").await, "new");
    }
}

/// Overwrites the files of a data directory by those of a copy: the files keep their inodes, as after a rollback of a volume.
fn overwrite(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to.join("snapshots"));
    copy(from, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_of_an_earlier_run_is_found_by_a_peer_although_its_file_is_the_original_one() {
    let (mut cluster, backup) = with_an_old_copy(1, 0).await;
    overwrite(&backup, cluster.nodes[1].data_dir());
    for at in [1, 2] {
        cluster.nodes[at].start();
    }
    blocked_on(&cluster.nodes[1], "rejoin").await;
    for at in [1, 2] {
        serves_nothing(&cluster.nodes[at]).await;
    }
    let log = cluster.nodes[1].log();
    assert!(!log.contains("this data directory is a copy"), "{log}");
    cluster.nodes[0].start();
    is_voter(&cluster, 1).await;
    for node in &cluster.nodes {
        assert_eq!(read(&node.http(), "k").await, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_only_node_of_a_cluster_starts_only_if_its_operator_accepts_it() {
    let mut cluster = Cluster::start(1, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    cluster.nodes[0].kill();
    let backup = cluster.dir().join("backup");
    copy(cluster.nodes[0].data_dir(), &backup);
    wipe(&cluster.nodes[0]);
    copy(&backup, cluster.nodes[0].data_dir());
    let node = &mut cluster.nodes[0];
    node.start();
    assert!(!node.wait().success());
    let log = node.log();
    assert!(log.contains("is a copy of a data directory"), "{log}");
    assert!(log.contains("--accept-copy"), "{log}");
    // Accepted once, it counts from then on.
    node.options_mut().args.push("--accept-copy".to_owned());
    node.start();
    assert_eq!(read(&node.http(), "k").await, "v");
    assert!(node.log().contains("THIS DATA DIRECTORY IS A COPY"));
    node.kill();
    node.options_mut().args.pop();
    node.start();
    assert_eq!(read(&node.http(), "k").await, "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_before_the_cluster_has_grown_answers_nothing() {
    let mut cluster = Cluster::start(1, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "old")).await;
    cluster.nodes[0].kill();
    let backup = cluster.dir().join("backup");
    copy(cluster.nodes[0].data_dir(), &backup);
    cluster.nodes[0].start();
    cluster.leader().await;
    grow(&mut cluster).await;
    cluster.apply_somewhere("two", &put("k", "new")).await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    // The copy knows only of itself, and the nodes that know more are down.
    wipe(&cluster.nodes[0]);
    copy(&backup, cluster.nodes[0].data_dir());
    cluster.nodes[0].start();
    assert!(!cluster.nodes[0].wait().success());
    assert!(
        cluster.nodes[0]
            .log()
            .contains("is a copy of a data directory")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_moved_stays_the_same_store() {
    let mut cluster = Cluster::start(3, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    cluster.nodes.iter_mut().for_each(Node::kill);
    for node in &mut cluster.nodes {
        let moved = node.data_dir().with_extension("moved");
        fs::rename(node.data_dir(), &moved).expect("renamed");
        node.options_mut().data_dir = moved;
        node.start();
    }
    cluster.leader().await;
    for node in &cluster.nodes {
        assert_eq!(read(&node.http(), "k").await, "v");
        assert!(!node.log().contains("is a copy"), "{}", node.log());
    }
}
