//! All nodes restart with another value of each limit: replies and state are the same, and the way back is open.

use oarlock_tests::process::{Cluster, HttpResponse, Node, QUICK, eventually};
use serde_json::{Map, Value, json};

use crate::{enqueue, post};

/// Longer than the test, in milliseconds.
const LONG_MS: u64 = 12 * 3_600_000;
/// Under these settings the commands of [`commands`] are accepted, or fail by the limit that their key names.
const FUEL: u64 = 10_000_000;
const MEMORY_BYTES: u64 = 2 << 20;
const COMMAND_BYTES: u64 = 950_000;

/// A limit with its lowest and its highest value: flags in place of those of the start.
struct ChangedLimit {
    low: &'static [&'static str],
    high: &'static [&'static str],
    /// With the low value, queries are refused with this code: the limits of queries are not replicated.
    query_refused: Option<&'static str>,
}

const fn limit(low: &'static [&'static str], high: &'static [&'static str]) -> ChangedLimit {
    ChangedLimit {
        low,
        high,
        query_refused: None,
    }
}

/// All flags of the guest's limits, and those of replication that are limits.
const LIMITS: [ChangedLimit; 10] = [
    limit(
        &["--max-command-bytes", "1"],
        &["--max-command-bytes", "33554432"],
    ),
    limit(
        &["--fuel-per-command", "1"],
        &["--fuel-per-command", "18446744073709551615"],
    ),
    ChangedLimit {
        low: &["--fuel-per-query", "1"],
        high: &["--fuel-per-query", "18446744073709551615"],
        query_refused: Some("out_of_fuel"),
    },
    limit(
        &["--guest-memory-bytes", "65536"],
        &["--guest-memory-bytes", "4294967296"],
    ),
    limit(
        &["--max-idempotency-keys", "0"],
        &["--max-idempotency-keys", "100000000"],
    ),
    limit(
        &["--idempotency-ttl-ms", "0"],
        &["--idempotency-ttl-ms", "31536000000"],
    ),
    // The threshold is below the number of entries.
    limit(
        &["--max-log-entries", "2", "--snapshot-threshold", "1"],
        &[
            "--max-log-entries",
            "1000000000",
            "--snapshot-threshold",
            "999999999",
        ],
    ),
    limit(
        &["--snapshot-threshold", "1"],
        &["--snapshot-threshold", "9999"],
    ),
    limit(
        &["--max-clock-skew-ms", "10"],
        &["--max-clock-skew-ms", "3600000"],
    ),
    limit(
        &["--lease-drift-percent", "0"],
        &["--lease-drift-percent", "100"],
    ),
];

/// The commands with their keys, and the status and the code of each response.
fn commands() -> Vec<(String, String, u16, &'static str)> {
    let many: Vec<Value> = (0..1000)
        .map(|n| json!({"enqueue": {"queue": "q", "payload": n}}))
        .collect();
    let large = |bytes| json!({"enqueue": {"queue": "q", "payload": "x".repeat(bytes)}});
    let reserve = json!({"reserve": {"queues": ["q"], "worker": "w", "lease_ms": LONG_MS}});
    let delayed = json!({"enqueue": {"queue": "q", "payload": 1, "delay_ms": LONG_MS}});
    let refused = json!({"enqueue": {"queue": "", "payload": 1}});
    let too_large = COMMAND_BYTES as usize + 1;
    let mut all: Vec<_> = (1..=5)
        .map(|n| (format!("k{n}"), enqueue(n), 200, ""))
        .collect();
    for (key, command, status, code) in [
        (
            "fuel",
            json!({"batch": {"commands": many}}),
            500,
            "out_of_fuel",
        ),
        ("memory", large(900_000), 500, "out_of_memory"),
        ("size", large(too_large), 413, "too_large"),
        ("refused", refused, 422, "out_of_range"),
        ("leased", reserve, 200, ""),
        ("delayed", delayed, 200, ""),
    ] {
        all.push((key.to_owned(), command.to_string(), status, code));
    }
    all
}

/// Sends a command until the cluster has a leader that executes it.
async fn send(node: &Node, key: &str, command: &str) -> HttpResponse {
    let http = node.http();
    eventually("the command is executed", async || {
        let headers = [("idempotency-key", key), ("oarlock-timeout-ms", "10000")];
        let sent = http.send("POST", "/v1/apply", &headers, command.to_owned());
        let response = sent.await.ok()?;
        (![429, 503, 504].contains(&response.status)).then_some(response)
    })
    .await
}

/// What the cluster has replied, and what its nodes show.
#[derive(Default)]
struct Replies(Vec<(String, String, u16, Value)>);

impl Replies {
    async fn send(&mut self, node: &Node, key: &str, command: &str) -> (u16, Value) {
        let response = send(node, key, command).await;
        let reply = (response.status, response.json());
        let sent = (key.to_owned(), command.to_owned(), reply.0, reply.1.clone());
        self.0.push(sent);
        reply
    }

    /// Sends all commands again, to one node after the other: each has the reply that it had.
    async fn are_those_from_before(&self, cluster: &Cluster, when: &str) {
        for (at, (key, command, status, reply)) in self.0.iter().enumerate() {
            let again = send(&cluster.nodes[at % 3], key, command).await;
            assert_eq!(
                (again.status, &again.json()),
                (*status, reply),
                "{key}, {when}"
            );
        }
    }
}

/// The response to a linearizable query.
async fn query(node: &Node, query: &Value) -> (u16, Value) {
    eventually("the node answers a query", async || {
        let response = node.http().query(query.to_string()).await.ok()?;
        (![429, 503, 504].contains(&response.status)).then(|| (response.status, response.json()))
    })
    .await
}

/// Numbers that change with the time although the state does not.
const OF_THE_TIME: [&str; 4] = [
    "oldest_ready_ms",
    "enqueued_a_minute",
    "completed_a_minute",
    "failed_a_minute",
];

/// All numbers of the queue, and its tasks, as this node shows them.
async fn state(node: &Node) -> Value {
    let mut state = Map::new();
    let (status, mut stats) = query(node, &json!({"stats": {"detail": true}})).await;
    assert_eq!(status, 200, "{stats}");
    let numbers = stats["queues"]["q"].as_object_mut().expect("a queue");
    for name in OF_THE_TIME {
        assert!(numbers.remove(name).is_some(), "{name}: {numbers:?}");
    }
    state.insert("stats".to_owned(), stats);
    // Ids begin at 1. No id is used for a command that failed.
    for id in 1_u64.. {
        let (status, task) = query(node, &json!({"task": {"id": id}})).await;
        assert_eq!(status, 200, "{task}");
        if task["task"].is_null() {
            break;
        }
        state.insert(format!("task {id}"), task);
    }
    state.into()
}

/// The flags of a start, some of them with other values.
fn with(plain: &[String], changed: &[&str]) -> Vec<String> {
    let mut args = plain.to_vec();
    for flag in changed.chunks(2) {
        if let Some(at) = args.iter().position(|arg| arg == flag[0]) {
            args.drain(at..at + 2);
        }
        args.extend(flag.iter().map(|&arg| arg.to_owned()));
    }
    args
}

async fn restart(cluster: &mut Cluster, args: &[String]) {
    for node in &mut cluster.nodes {
        node.kill();
        node.options_mut().args = args.to_vec();
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.leader().await;
}

async fn take_snapshots(cluster: &Cluster) {
    for node in &cluster.nodes {
        let headers = [("oarlock-timeout-ms", "60000")];
        let taken = node.http().send("POST", "/v1/snapshot", &headers, "").await;
        assert_eq!(taken.expect("a response").status, 200);
    }
}

/// Three nodes with the settings of this test, which have executed [`commands`].
async fn begun() -> (Cluster, Replies) {
    let mut cluster = Cluster::start(3, "queue", &QUICK);
    cluster.leader().await;
    let settings = json!({"set": {
        "fuel_per_command": FUEL, "memory_bytes": MEMORY_BYTES, "command_bytes": COMMAND_BYTES
    }});
    let (status, set) = post(&cluster.nodes[0], "/v1/settings", &settings).await;
    assert_eq!(status, 200, "{set}");
    cluster.converged().await;
    let mut replies = Replies::default();
    for (key, command, status, code) in commands() {
        let reply = replies.send(&cluster.nodes[0], &key, &command).await;
        let named = reply.1["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((reply.0, named), (status, code), "{key}: {}", reply.1);
    }
    (cluster, replies)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_any_changed_limit_keeps_the_state_and_so_does_the_way_back() {
    let (mut cluster, mut replies) = begun().await;
    let plain = cluster.nodes[0].options_mut().args.clone();
    let mut before = state(&cluster.nodes[0]).await;
    let mut number = 0_u64;
    for limit in &LIMITS {
        let rounds = [
            (limit.low, limit.query_refused),
            (limit.high, None),
            (&[][..], None),
        ];
        for (changed, query_refused) in rounds {
            number += 1;
            // In half of the rounds the replies are repeated from a snapshot, in the others by the log.
            if number.is_multiple_of(2) {
                take_snapshots(&cluster).await;
            }
            restart(&mut cluster, &with(&plain, changed)).await;
            let when = format!("with {changed:?}");
            replies.are_those_from_before(&cluster, &when).await;
            if let Some(code) = query_refused {
                let (_, refused) = query(&cluster.nodes[0], &json!({"stats": {}})).await;
                assert_eq!(refused["error"]["code"], code, "{when}: {refused}");
                continue;
            }
            for node in &cluster.nodes {
                assert_eq!(state(node).await, before, "{when}");
            }
            let key = format!("added-{number}");
            let added = replies
                .send(&cluster.nodes[0], &key, &enqueue(number))
                .await;
            assert_eq!(added.0, 200, "{when}: {}", added.1);
            cluster.converged().await;
            before = state(&cluster.nodes[0]).await;
        }
    }
    for node in &cluster.nodes {
        let status = node.http().status().await.expect("a status");
        assert_eq!(status["audit"]["quarantined"], false, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_out_of_its_range_keeps_the_nodes_from_starting_and_without_it_all_is_there() {
    let (mut cluster, replies) = begun().await;
    let plain = cluster.nodes[0].options_mut().args.clone();
    let before = state(&cluster.nodes[0]).await;
    let invalid = [
        ("--snapshot-threshold", "10000", "below max-log-entries"),
        ("--guest-memory-bytes", "65535", "65535 is not in 65536.."),
        ("--max-command-bytes", "0", "0 is not in 1.."),
    ];
    for (flag, value, reason) in invalid {
        for node in &mut cluster.nodes {
            if node.is_running() {
                node.kill();
            }
            let log = node.log().len();
            node.options_mut().args = with(&plain, &[flag, value]);
            node.start();
            let ended = node.wait();
            let text = node.log().split_off(log);
            assert_eq!(ended.code(), Some(2), "{flag} {value}: {text}");
            let names = text.contains(flag.trim_start_matches('-'));
            assert!(names && text.contains(reason), "{flag} {value}: {text}");
        }
    }
    for node in &mut cluster.nodes {
        node.options_mut().args.clone_from(&plain);
        node.start();
    }
    cluster.leader().await;
    replies.are_those_from_before(&cluster, "again").await;
    for node in &cluster.nodes {
        assert_eq!(state(node).await, before);
    }
    cluster.converged().await;
}
