//! `oarlock recover` after the loss of a majority, with real processes: the best survivor is named, and becomes a new cluster with all
//! that it has.

use std::fs;
use std::path::Path;
use std::process::Output;

use oarlock_tests::process::kv::{put, read};
use oarlock_tests::process::{
    Cluster, Http, Node, NodeOptions, QUICK, apply_somewhere, free_ports, run, text,
};
use serde_json::{Value, json};

fn dir(node: &Node) -> String {
    node.data_dir().display().to_string()
}

/// `oarlock recover`, with the first directory as `--data-dir` and the others as survivors.
fn recover(dirs: &[&str], more: &[&str]) -> Output {
    let mut args = vec!["recover", "--data-dir", dirs[0]];
    for dir in &dirs[1..] {
        args.extend(["--survivor", dir]);
    }
    args.extend(more);
    run(args)
}

/// The bytes of all files in a directory, by their names.
fn content(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for file in fs::read_dir(dir).expect("a directory") {
        let path = file.expect("a file").path();
        if path.is_file() {
            let bytes = fs::read(&path).expect("readable");
            files.push((path.display().to_string(), bytes));
        }
    }
    files.sort();
    files
}

/// Five nodes, of which the last one was dead when `late` was written. All are stopped.
async fn lost_majority() -> (Cluster, Value) {
    let flags = [&QUICK[..], &["--snapshot-threshold", "20"]].concat();
    let mut cluster = Cluster::start(5, "kv", &flags);
    cluster.leader().await;
    let targets: Vec<Http> = cluster.nodes.iter().map(Node::http).collect();
    let first = apply_somewhere(&targets, "first", &put("first", "1")).await;
    for number in 0..30 {
        apply_somewhere(
            &targets,
            &format!("k{number}"),
            &put("k", &number.to_string()),
        )
        .await;
    }
    cluster.converged().await;
    cluster.nodes[4].kill();
    apply_somewhere(&targets[..4], "late", &put("late", "2")).await;
    // Node 1 has it before it ends.
    assert_eq!(read(&targets[0], "late").await, "2");
    for node in &mut cluster.nodes[..4] {
        node.kill();
    }
    (cluster, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_loss_of_a_majority_the_best_survivor_becomes_a_new_cluster() {
    let (mut cluster, first) = lost_majority().await;
    let dirs: Vec<String> = cluster.nodes.iter().map(dir).collect();
    let (best, stale) = (dirs[0].as_str(), dirs[4].as_str());

    let shown = recover(&[stale, best], &["--dry-run", "--json"]);
    assert!(shown.status.success(), "{}", text(&shown));
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["best"], best);
    assert_eq!(
        (&shown["voters"], &shown["voters_here"]),
        (&json!(5), &json!(2))
    );
    let entries = |at: usize| shown["survivors"][at]["last_entry"].as_u64();
    assert!(entries(1) > entries(0), "{shown}");
    let table = text(&recover(&[stale, best], &["--dry-run"]));
    assert!(table.contains("2 of 5 voters are here"), "{table}");

    // The one that has less is not taken, and neither is any where a majority is there.
    let into = cluster.dir().join("new");
    let into_text = into.display().to_string();
    let worse = recover(&[stale, best], &["--into", &into_text]);
    assert_eq!(worse.status.code(), Some(1), "{}", text(&worse));
    assert!(
        text(&worse).contains(&format!("Pass --data-dir {best}")),
        "{}",
        text(&worse)
    );
    let majority = recover(&[best, &dirs[1], &dirs[2]], &["--into", &into_text]);
    assert_eq!(majority.status.code(), Some(1), "{}", text(&majority));
    assert!(
        text(&majority).contains("nothing is lost"),
        "{}",
        text(&majority)
    );
    assert!(!into.exists());

    let before = content(Path::new(best));
    let ports = free_ports(2);
    let peer_addr = format!("127.0.0.1:{}", ports[0]);
    let guest = cluster.nodes[0].options_mut().args[1].clone();
    let made = recover(
        &[best, stale],
        &[
            "--into",
            &into_text,
            "--peer-addr",
            &peer_addr,
            "--state-machine",
            &guest,
        ],
    );
    assert!(made.status.success(), "{}", text(&made));
    let told = text(&made);
    assert!(told.contains("oarlock serve --data-dir"), "{told}");
    assert!(told.contains("is lost if its client got a reply"), "{told}");
    let log =
        |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(
        log(&content(Path::new(best))),
        log(&before),
        "the survivor keeps its files"
    );

    let mut node = Node::new(NodeOptions {
        id: "node1".to_owned(),
        peer_addr,
        client_addr: format!("127.0.0.1:{}", ports[1]),
        cluster: String::new(),
        data_dir: into,
        args: cluster.nodes[0].options_mut().args.clone(),
        within: Vec::new(),
    });
    node.start();
    let http = node.http();
    assert_eq!(read(&http, "late").await, "2");
    assert_eq!(read(&http, "k").await, "29");
    // The keys are there.
    let again = apply_somewhere(std::slice::from_ref(&http), "first", &put("first", "1")).await;
    assert_eq!(again, first);
    // The old nodes that come back are another cluster: nothing of theirs gets in.
    for old in &mut cluster.nodes[1..4] {
        old.start();
    }
    let old: Vec<Http> = cluster.nodes[1..4].iter().map(Node::http).collect();
    apply_somewhere(&old, "old", &put("late", "old")).await;
    apply_somewhere(std::slice::from_ref(&http), "new", &put("new", "3")).await;
    assert_eq!(read(&http, "late").await, "2");
    assert_eq!(read(&old[0], "new").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survivor_that_is_used_or_damaged_is_not_taken() {
    let mut cluster = Cluster::start(1, "kv", &QUICK);
    cluster.leader().await;
    cluster.apply_somewhere("one", &put("k", "v")).await;
    let data_dir = dir(&cluster.nodes[0]);
    let used = recover(&[&data_dir], &["--dry-run", "--json"]);
    let shown: Value = serde_json::from_slice(&used.stdout).expect("JSON");
    assert_eq!(shown["best"], Value::Null);
    let error = shown["survivors"][0]["error"].as_str().expect("an error");
    assert!(error.contains("in use"), "{error}");
    cluster.nodes[0].kill();
    let empty = cluster.dir().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let empty = empty.display().to_string();
    let into = cluster.dir().join("new");
    let into_text = into.display().to_string();
    let nothing = recover(&[&empty], &["--into", &into_text]);
    assert_eq!(nothing.status.code(), Some(1), "{}", text(&nothing));
    assert!(
        text(&nothing).contains("contains no log"),
        "{}",
        text(&nothing)
    );
    assert!(!into.exists());
}
