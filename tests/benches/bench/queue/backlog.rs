//! Many tasks that wait: memory of each, how many fit, the slowest command, also during a snapshot, pages of statistics, and the
//! start of a node that holds them.

use std::time::{Duration, Instant};

use oarlock_client::load::latencies::Latencies;
use oarlock_tests::process::{Cluster, Http, Node, eventually};
use serde_json::{Value, json};

use super::super::oarlock::{metric, payload};
use super::broker::{Broker, LEASE_MS, WAIT_MS};
use super::task_queue::TaskQueueClient;
use crate::Options;
use crate::report::{Report, Target};

/// Tasks of one command.
const BATCH: u64 = 1000;
/// Tasks of one queue.
const EACH: u64 = 100;
/// Queues that one worker waits for.
const QUEUES: u64 = 50;
/// The most that a guest can have: its addresses have 32 bits.
const MEMORY: &str = "4294901760";
/// Commands of a worker that are measured against the backlog.
const CYCLES: u64 = 500;
/// What the project aims at.
const SLOWEST_US: f64 = 50_000.0;
const BESIDE_PAYLOAD: f64 = 400.0;
const START_SECONDS: f64 = 10.0;
const MEMORY_METRIC: &str = "oarlock_guest_memory_bytes ";

/// Fills the nodes, uses them, and starts one again.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let flags = ["--log", "warn", "--guest-memory-bytes", MEMORY];
    let mut cluster = Cluster::prepare(options.backlog_nodes, "queue", &flags);
    for node in &mut cluster.nodes {
        if let Some(binary) = &options.binary {
            node.use_binary(binary);
        }
        node.start();
    }
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    allow_large_snapshots(&http).await;
    let mut client = open(&http, options.payload).await;
    let empty = metric(&http, MEMORY_METRIC).await;
    let (count, batches) = fill(&mut client, options).await;
    let full = metric(&http, MEMORY_METRIC).await;
    let name = format!(
        "{count} ready tasks of {} B on {} node(s)",
        options.payload, options.backlog_nodes
    );
    report.line(&name, count as f64, "tasks");
    let each = full.saturating_sub(empty) as f64 / count.max(1) as f64;
    report.line("  memory of the guest", full as f64 / 1e6, "MB");
    report.duel(
        "  memory of the guest for each, besides the payload",
        each - options.payload as f64,
        BESIDE_PAYLOAD,
        "B",
        Target::AtMost(1.0),
    );
    tell_resident(report, &cluster.nodes[leader], "full");
    tell(report, "  batch of 1,000 puts", &batches);
    let times = cycles(&mut client, CYCLES).await;
    tell(report, "  put, reserve or ack", &times);
    tell(report, "  page of statistics", &pages(&mut client).await);
    during_a_snapshot(report, &http, &mut client).await;
    tell_resident(report, &cluster.nodes[leader], "after a snapshot");
    let begun = Instant::now();
    cluster.nodes[leader].kill();
    cluster.nodes[leader].start();
    eventually("the node is ready", async || {
        let response = http.get("/readyz").await.ok()?;
        (response.status == 200).then_some(())
    })
    .await;
    let seconds = begun.elapsed().as_secs_f64();
    let target = Target::AtMost(1.0);
    report.duel("  start, to ready", seconds, START_SECONDS, "s", target);
    let mut client = open(&http, options.payload).await;
    let times = cycles(&mut client, 10).await;
    tell(report, "  put, reserve or ack after the start", &times);
}

/// A guest with so much memory has snapshots over the default limit of 2 GiB.
async fn allow_large_snapshots(http: &Http) {
    let settings = json!({"set": {"snapshot_bytes": 4_u64 << 30}});
    let set = http.send("POST", "/v1/settings", &[], settings.to_string());
    let set = set.await.expect("a response");
    assert_eq!(set.status, 200, "{set:?}");
}

async fn open(http: &Http, payload: usize) -> TaskQueueClient {
    let client = TaskQueueClient::open(&http.0, "queue-0", payload).await;
    client.unwrap_or_else(|why| panic!("{why}"))
}

fn tell_resident(report: &mut Report, node: &Node, when: &str) {
    let status = node.pid().map(|pid| format!("/proc/{pid}/status"));
    let status = status.and_then(|path| std::fs::read_to_string(path).ok());
    for (field, name) in [("VmRSS:", "resident memory"), ("VmHWM:", "its peak")] {
        let line = status.as_deref().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with(field))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        });
        if let Some(kib) = line {
            report.line(
                &format!("  {name} of a node, {when}"),
                kib * 1024.0 / 1e6,
                "MB",
            );
        }
    }
}

/// Puts tasks into queues of a hundred, as many as wanted or as fit. Returns how many, and the time of each batch.
async fn fill(client: &mut TaskQueueClient, options: &Options) -> (u64, Latencies) {
    let payload = payload(options.payload);
    let mut times = Latencies::default();
    for batch in 0..options.backlog / BATCH {
        let tasks = batch * BATCH..(batch + 1) * BATCH;
        let commands: Vec<_> = tasks
            .map(|task| {
                let queue = format!("queue-{}", task / EACH);
                json!({"enqueue": {"queue": queue, "payload": payload}})
            })
            .collect();
        let body = json!({"batch": {"commands": commands}}).to_string();
        let reply = timed(&mut times, client.apply(body.as_bytes())).await;
        let results = reply["results"].as_array().expect("results");
        let added = results.iter().filter(|result| result.get("ok").is_some());
        let added = added.count() as u64;
        if added < BATCH {
            let why = results.iter().find(|result| result.get("ok").is_none());
            eprintln!("no more fit: {}", why.unwrap_or(&Value::Null));
            return (batch * BATCH + added, times);
        }
    }
    (options.backlog / BATCH * BATCH, times)
}

/// The commands of a worker, each by itself. While memory is low, nothing is put.
async fn cycles(client: &mut TaskQueueClient, count: u64) -> Latencies {
    let mut times = Latencies::default();
    for _ in 0..count {
        cycle(client, &mut times).await;
    }
    // One that waits for several queues.
    let queues: Vec<String> = (0..QUEUES).map(|queue| format!("queue-{queue}")).collect();
    let reserve = json!({"reserve": {
        "queues": queues, "worker": "bench", "lease_ms": LEASE_MS, "max": 100, "wait_ms": WAIT_MS,
    }});
    timed(&mut times, client.apply(reserve.to_string().as_bytes())).await;
    times
}

async fn cycle(client: &mut TaskQueueClient, times: &mut Latencies) {
    let begun = Instant::now();
    match client.put().await {
        Ok(()) => times.record(begun.elapsed()),
        Err(why) if why.contains("full") => {}
        Err(why) => panic!("{why}"),
    }
    let task = timed(times, client.take()).await;
    timed(times, client.end(&task)).await;
}

/// The commands of a worker while a snapshot is written.
async fn during_a_snapshot(report: &mut Report, http: &Http, client: &mut TaskQueueClient) {
    let begun = Instant::now();
    let snapshot = async {
        let headers = [("oarlock-timeout-ms", "120000")];
        let response = http.send("POST", "/v1/snapshot", &headers, "").await;
        (response.expect("a response"), begun.elapsed())
    };
    tokio::pin!(snapshot);
    let mut times = Latencies::default();
    let (response, took) = loop {
        tokio::select! {
            done = &mut snapshot => break done,
            () = cycle(client, &mut times) => {}
        }
    };
    // The interrupted cycle has left a response on the connection.
    *client = open(http, 0).await;
    if response.status != 200 {
        report.note(&format!("the snapshot: {response:?}"));
    }
    report.line("  a snapshot", took.as_secs_f64(), "s");
    tell(report, "  meanwhile: put, reserve or ack", &times);
}

/// All pages of the statistics.
async fn pages(client: &mut TaskQueueClient) -> Latencies {
    let mut times = Latencies::default();
    let mut after = None;
    loop {
        let query = match &after {
            None => json!({"stats": {}}),
            Some(after) => json!({"stats": {"after": after}}),
        };
        let page = timed(&mut times, client.query(query.to_string().as_bytes())).await;
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return times,
        }
    }
}

async fn timed<T>(times: &mut Latencies, work: impl Future<Output = Result<T, String>>) -> T {
    let begun = Instant::now();
    let done = work.await;
    let took: Duration = begun.elapsed();
    times.record(took);
    done.unwrap_or_else(|why| panic!("{why}"))
}

fn tell(report: &mut Report, name: &str, times: &Latencies) {
    report.line(&format!("{name}, p50"), times.quantile_us(0.5) as f64, "µs");
    report.duel(
        &format!("{name}, slowest of {}", times.count()),
        times.max_us() as f64,
        SLOWEST_US,
        "µs",
        Target::AtMost(1.0),
    );
}
