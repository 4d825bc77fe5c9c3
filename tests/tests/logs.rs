//! `oarlock logs` on three real nodes: the lines of all guests, followed over the loss of a node.

use std::collections::BTreeSet;
use std::process::Stdio;

use oarlock_tests::process::{Cluster, Node, QUICK, oarlock, run, text};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The guest writes a line and then fails.
fn half(by: u32) -> String {
    format!(r#"{{"half":{{"by":{by}}}}}"#)
}

/// A running `oarlock logs --follow`. It ends with this value.
struct Following {
    _process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn start(endpoint: &str) -> Self {
        let mut process = Command::new(oarlock())
            .args(["logs", "-f", "--json", "--source", "guest"])
            .args(["--timeout-ms", "2000", "--endpoints", endpoint])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let out = process.stdout.take().expect("piped");
        Self {
            _process: process,
            lines: BufReader::new(out).lines(),
        }
    }

    /// Waits until these nodes have a line with this text.
    async fn wait_for(&mut self, text: &str, nodes: &[&str]) {
        let mut missing: BTreeSet<&str> = nodes.iter().copied().collect();
        while !missing.is_empty() {
            let line = self.lines.next_line().await.expect("readable");
            let line = line.unwrap_or_else(|| panic!("it ended before {text:?}"));
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["text"] == text {
                assert_eq!(line["source"], "guest", "{line}");
                missing.remove(line["node"].as_str().expect("a node"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_of_all_nodes_are_shown_and_followed() {
    let mut cluster = Cluster::start(3, "faulty", &QUICK);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    let failed = http.apply(half(5)).await.expect("a response");
    assert_eq!(failed.status, 500, "{failed:?}");
    cluster.converged().await;
    let mut following = Following::start(&http.0);
    let all = ["node1", "node2", "node3"];
    following.wait_for("half done: 5", &all).await;

    let other = (leader + 1) % 3;
    cluster.nodes[other].kill();
    let failed = http.apply(half(6)).await.expect("a response");
    assert_eq!(failed.status, 500, "{failed:?}");
    let rest: Vec<&str> = (0..3).filter(|at| *at != other).map(|at| all[at]).collect();
    following.wait_for("half done: 6", &rest).await;
    cluster.nodes[other].start();
    following.wait_for("half done: 6", &[all[other]]).await;

    // The message of a panic has two lines; in the log it is one.
    let flags = [
        "--source", "guest", "--level", "error", "--node", all[other],
    ];
    let shown = run([&["logs", "--endpoints", &http.0], &flags[..]].concat());
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "one for each command: {shown}");
    for line in lines {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        assert_eq!(parts[1..3], [all[other], "ERROR"], "{line}");
        assert!(parts[3].starts_with("guest: panicked at "), "{line}");
        assert!(line.contains("trapped on purpose"), "{line}");
    }

    let unknown = run(["logs", "--node", "node9", "--endpoints", &http.0]);
    assert_eq!(unknown.status.code(), Some(1));
    let message = text(&unknown);
    assert!(
        message.contains("there is no node \"node9\"; the nodes are node1, node2, node3"),
        "{message}"
    );
    let address = cluster.nodes[leader].http().0;
    cluster.nodes.iter_mut().for_each(Node::kill);
    let unreachable = run(["logs", "--timeout-ms", "500", "--endpoints", &address]);
    assert_eq!(unreachable.status.code(), Some(3), "{}", text(&unreachable));
}
