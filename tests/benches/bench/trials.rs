//! What happens when something happens: a leader dies, leadership moves, a node starts with a long log, nothing at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oarlock_tests::http::Http;
use oarlock_tests::process::{Cluster, Node, eventually};
use task_queue_raft::entry::Entry;
use task_queue_raft::ids::Index;
use task_queue_raft::storage::node_store::NodeStore;
use task_queue_raft::storage::{LogStore, WriteBatch};
use tokio::sync::watch;

use super::Options;
use super::disk::entry;
use super::load;
use super::oarlock::{Oarlock, metric};
use super::report::{Report, Target};
use super::usage::Usage;

/// Election timeouts of the failover trials: short, so that many fit into a minute. What counts is the ratio.
const ELECTION_MS: (u64, u64) = (500, 1000);
const ELECTION_FLAGS: [&str; 6] = [
    "--election-timeout-min-ms",
    "500",
    "--election-timeout-max-ms",
    "1000",
    "--heartbeat-interval-ms",
    "150",
];
/// How long the cluster is left alone between two trials.
const CALM: Duration = Duration::from_millis(1500);
/// Connections of the load under which leadership moves.
const TRANSFER_CONNECTIONS: usize = 64;
/// How often it moves.
const TRANSFERS: usize = 8;
const TRANSFER_EVERY: Duration = Duration::from_millis(600);
/// Entries of one write of the log that a node starts with.
const CHUNK: u64 = 4096;

/// Kills the leader again and again: how long no write is acknowledged.
pub(crate) async fn failover(options: &Options, report: &mut Report) {
    let mut ours = Oarlock::start(&ELECTION_FLAGS, options.binary.as_deref()).await;
    let mut gaps_ms = Vec::new();
    for _ in 0..options.trials {
        let leader = ours.cluster.leader().await;
        let followers = ours.cluster.nodes.iter().enumerate();
        let followers = followers
            .filter(|(at, _)| *at != leader)
            .map(|(_, node)| node.http().0);
        let followers: Vec<String> = followers.collect();
        let (stop, stopped) = watch::channel(false);
        let writers = followers.into_iter().map(|address| {
            tokio::spawn(longest_silence(address, options.payload, stopped.clone()))
        });
        let writers: Vec<_> = writers.collect();
        tokio::time::sleep(CALM / 2).await;
        ours.cluster.nodes[leader].kill();
        ours.cluster.leader().await;
        tokio::time::sleep(CALM / 2).await;
        // The receivers live in the tasks.
        let _ = stop.send(true);
        let mut gap = Duration::ZERO;
        for writer in writers {
            gap = gap.max(writer.await.expect("a writer that does not panic"));
        }
        gaps_ms.push(gap.as_secs_f64() * 1e3);
        ours.cluster.nodes[leader].start();
        tokio::time::sleep(CALM).await;
    }
    gaps_ms.sort_by(f64::total_cmp);
    let at = |part: f64| gaps_ms[((gaps_ms.len() - 1) as f64 * part).round() as usize];
    // The timeout of a follower is drawn from between the two.
    let timeout = (ELECTION_MS.0 + ELECTION_MS.1) as f64 / 2.0;
    let name = format!(
        "leader killed, {} trials, gap in writes against the election timeout",
        gaps_ms.len()
    );
    report.duel(
        &format!("{name}, p50"),
        at(0.5),
        timeout,
        "ms",
        Target::AtMost(1.5),
    );
    report.duel(
        &format!("{name}, p99"),
        at(0.99),
        timeout,
        "ms",
        Target::AtMost(3.0),
    );
}

/// Writes one value after the other until stopped; returns the longest time between two acknowledgements.
async fn longest_silence(
    address: String,
    payload: usize,
    stopped: watch::Receiver<bool>,
) -> Duration {
    let Ok(mut client) = Oarlock::writer(&address, payload).await else {
        return Duration::ZERO;
    };
    let (mut longest, mut last, mut number) = (Duration::ZERO, Instant::now(), 0);
    while !*stopped.borrow() {
        number += 1;
        if client.exchange(number).await.is_ok() {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
    }
    longest
}

/// Hands leadership over while clients write: every request must be done.
pub(crate) async fn transfer(options: &Options, report: &mut Report) {
    let ours = Oarlock::start(&[], options.binary.as_deref()).await;
    let clients = ours.writers(TRANSFER_CONNECTIONS, options.payload).await;
    let nodes: Vec<Http> = ours.cluster.nodes.iter().map(Node::http).collect();
    let moving = tokio::spawn(async move {
        let mut moved = 0;
        for node in nodes.iter().cycle().take(TRANSFERS) {
            tokio::time::sleep(TRANSFER_EVERY).await;
            let response = node.send("POST", "/v1/leader/transfer", &[], "").await;
            moved += usize::from(response.is_ok_and(|response| response.status == 200));
        }
        moved
    });
    let time = TRANSFER_EVERY * (TRANSFERS as u32 + 2);
    let turn = load::run(clients, time, &ours.pids()).await;
    let moved = moving.await.expect("a task that does not panic");
    let name = format!(
        "leadership moved {moved} times under {} requests",
        turn.tally.done()
    );
    report.line(
        &format!("{name}: failed"),
        turn.tally.failed() as f64,
        "requests",
    );
    report.line(
        "  longest request",
        turn.tally.latencies.max_us() as f64 / 1e3,
        "ms",
    );
    report.errors("transfer", &turn.tally);
}

/// Starts a node whose log holds many entries, none of them in a snapshot.
pub(crate) async fn restart(options: &Options, report: &mut Report) {
    let flags = [
        "--log",
        "warn",
        "--max-log-entries",
        "1000000000",
        "--snapshot-threshold",
        "999999999",
    ];
    let mut cluster = Cluster::prepare(1, "kv", &flags);
    if let Some(binary) = &options.binary {
        cluster.nodes[0].use_binary(binary);
    }
    cluster.nodes[0].start();
    cluster.leader().await;
    cluster
        .apply_somewhere("first", r#"{"put":{"key":"k","value":"v"}}"#)
        .await;
    cluster.nodes[0].kill();
    fill(cluster.nodes[0].data_dir(), options);
    let begun = Instant::now();
    cluster.nodes[0].start();
    let node = cluster.nodes[0].http();
    eventually("the node is ready", async || {
        let response = node.get("/readyz").await.ok()?;
        (response.status == 200).then_some(())
    })
    .await;
    let name = format!(
        "start with {} entries in the log, to ready",
        options.entries
    );
    report.duel(
        &name,
        begun.elapsed().as_secs_f64(),
        2.0,
        "s",
        Target::AtMost(1.0),
    );
}

/// Appends entries to the log of a node that does not run, each a put.
fn fill(data_dir: &std::path::Path, options: &Options) {
    let identity = NodeStore::peek(data_dir)
        .expect("a log")
        .expect("a log that knows its node");
    let mut store = NodeStore::open(data_dir, &identity).expect("a log");
    let stored = store.load().expect("a sound log");
    // The envelope of a command without a key: its version, its kind, the command.
    let mut command = vec![1, 0];
    command.extend_from_slice(br#"{"put":{"key":"k","value":"v"}}"#);
    let command = Bytes::from(command);
    let (mut next, last) = (
        stored.last.index.next(),
        Index(stored.last.index.0 + options.entries),
    );
    while next <= last {
        let until = Index(last.0.min(next.0 + CHUNK - 1));
        let entries = (next.0..=until.0).map(|index| {
            let mut entry: Entry = entry(index, 1, &command);
            entry.id.term = stored.hard_state.term;
            entry
        });
        let batch = WriteBatch {
            entries: entries.collect(),
            ..WriteBatch::default()
        };
        store.write(&batch).expect("a write");
        next = until.next();
    }
}

/// Leaves a cluster alone for a while.
pub(crate) async fn idle(options: &Options, report: &mut Report) {
    let ours = Oarlock::start(&[], options.binary.as_deref()).await;
    let nodes: Arc<[Http]> = ours.cluster.nodes.iter().map(Node::http).collect();
    // A node that has not caught up is not idle.
    for node in nodes.iter() {
        eventually("the node is ready", async || {
            let response = node.get("/readyz").await.ok()?;
            (response.status == 200).then_some(())
        })
        .await;
    }
    tokio::time::sleep(CALM).await;
    let pids = ours.pids();
    let before: Vec<Usage> = pids.iter().map(|&pid| Usage::of(&[pid])).collect();
    let writes = syncs_of(&nodes).await;
    let time = Duration::from_secs(options.idle_seconds);
    tokio::time::sleep(time).await;
    let used: Vec<Usage> = pids
        .iter()
        .zip(before)
        .map(|(&pid, before)| Usage::of(&[pid]).since(before))
        .collect();
    let most = used.iter().map(|used| used.cpu).max().unwrap_or_default();
    let share = most.as_secs_f64() / time.as_secs_f64() * 100.0;
    let written: u64 = used.iter().map(|used| used.written).sum();
    let name = format!("idle for {} s", options.idle_seconds);
    report.duel(
        &format!("{name}: most of a core that a node used"),
        share,
        1.0,
        "%",
        Target::AtMost(1.0),
    );
    report.line(
        &format!("{name}: written to disk by all nodes"),
        written as f64,
        "bytes",
    );
    report.line(
        "  syncs of their logs",
        (syncs_of(&nodes).await - writes) as f64,
        "",
    );
}

async fn syncs_of(nodes: &[Http]) -> u64 {
    let mut all = 0;
    for node in nodes {
        all += metric(node, "oarlock_log_writes_total").await;
    }
    all
}
