//! `oarlock events` and `oarlock query --watch` on real nodes: over the loss of the node that they read from, no event is missing
//! or printed twice.

use std::process::Stdio;

use oarlock_tests::process::listeners::{change_flags, listened_node, set_flag};
use oarlock_tests::process::{Cluster, Http, Node, QUICK, oarlock, run, text};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A command that prints lines until it ends. It is killed with this value.
struct Printing {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Printing {
    fn start(endpoints: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(oarlock())
            .args(arguments)
            .args(["--endpoints", endpoints])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let out = process.stdout.take().expect("piped");
        Self {
            process,
            lines: BufReader::new(out).lines(),
        }
    }

    /// The next line, which is JSON; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.expect("readable")?;
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    async fn line(&mut self) -> Value {
        self.next().await.expect("another line")
    }

    /// Nothing more is printed, and the exit code is 0.
    async fn ends(mut self) {
        assert_eq!(self.next().await, None);
        let ended = self.process.wait().await.expect("it ends");
        assert_eq!(ended.code(), Some(0));
    }
}

/// An id as its two numbers: the index of the entry, and the place in it.
fn position(event: &Value) -> (u64, u64) {
    let id = event["id"].as_str().expect("an id");
    let (index, place) = id.split_once('.').expect("INDEX.N");
    let number = |text: &str| text.parse().expect("a number");
    (number(index), number(place))
}

fn endpoints(cluster: &Cluster) -> (Vec<Http>, String) {
    let targets: Vec<Http> = cluster.nodes.iter().map(Node::http).collect();
    let names: Vec<&str> = targets.iter().map(|http| http.0.as_str()).collect();
    let joined = names.join(",");
    (targets, joined)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_continue_on_another_node_and_none_is_missing_or_printed_twice() {
    const LAST: u64 = 60;
    let mut cluster = Cluster::start(3, "flags", &QUICK);
    cluster.leader().await;
    let (targets, joined) = endpoints(&cluster);
    change_flags(targets.clone(), 1, 10).await.expect("changes");
    let count = LAST.to_string();
    let flags = ["events", "--json", "--topic", "flag", "--after", "0.0"];
    let flags = [&flags[..], &["--count", &count]].concat();
    let mut events = Printing::start(&joined, &flags);
    let mut seen = Vec::new();
    for _ in 0..10 {
        seen.push(events.line().await);
    }
    let read_from = listened_node(&mut cluster).await;
    let changes = change_flags(targets, 11, LAST);
    seen.push(events.line().await);
    cluster.nodes[read_from].kill();
    while let Some(event) = events.next().await {
        seen.push(event);
        // Later ones than those that the command waits for.
        if seen.len() as u64 == LAST {
            break;
        }
    }
    events.ends().await;
    changes.await.expect("changes");
    assert!(!cluster.nodes[read_from].is_running());

    let versions: Vec<u64> = seen
        .iter()
        .map(|event| {
            assert_eq!(event["topic"], "flag", "{event}");
            event["data"]["version"].as_u64().expect("a version")
        })
        .collect();
    let wanted: Vec<u64> = (1..=LAST).collect();
    assert_eq!(versions, wanted);
    let positions: Vec<(u64, u64)> = seen.iter().map(position).collect();
    assert!(
        positions.windows(2).all(|two| two[0] < two[1]),
        "{positions:?}"
    );
}

#[test]
fn an_id_that_is_none_is_a_wrong_usage() {
    let wrong = run(["events", "--after", "x", "--endpoints", "127.0.0.1:1"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
    let message = text(&wrong);
    assert!(
        message.contains("--after \"x\" is not the id of an event; use INDEX.N"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_query_prints_the_response_before_and_after_a_change() {
    let mut cluster = Cluster::start(3, "flags", &QUICK);
    cluster.leader().await;
    let (targets, joined) = endpoints(&cluster);
    let query = r#"{"for":{"user":"ann"}}"#;
    let mut watch = Printing::start(&joined, &["query", "--watch", "--count", "2", query]);
    assert_eq!(watch.line().await, json!({"on": []}));
    // An entry that does not change the response prints nothing.
    let refused = targets[0].apply("{}").await.expect("a response");
    assert_eq!(refused.status, 422, "{refused:?}");
    let changed = cluster
        .apply_somewhere("on", &set_flag("search", 100))
        .await;
    assert_eq!(changed, json!({"version": 1}));
    assert_eq!(watch.line().await, json!({"on": ["search"]}));
    watch.ends().await;
}
