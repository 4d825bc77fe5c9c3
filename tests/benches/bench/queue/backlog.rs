//! Many tasks that wait: memory of each, the slowest command, pages of statistics, and the start of a node that holds them.

use std::time::{Duration, Instant};

use oarlock_client::load::latencies::Latencies;
use oarlock_tests::process::{Cluster, eventually};
use serde_json::json;

use super::super::oarlock::{metric, payload};
use super::broker::{Broker, LEASE_MS, WAIT_MS};
use super::task_queue::TaskQueueClient;
use crate::Options;
use crate::report::{Report, Target};

/// Tasks of one command.
const BATCH: u64 = 500;
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
const MEMORY_METRIC: &str = "oarlock_guest_memory_bytes ";

/// Fills one node, uses it, and starts it again.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let flags = ["--log", "warn", "--guest-memory-bytes", MEMORY];
    let mut cluster = Cluster::prepare(1, "queue", &flags);
    if let Some(binary) = &options.binary {
        cluster.nodes[0].use_binary(binary);
    }
    cluster.nodes[0].start();
    cluster.leader().await;
    let address = cluster.nodes[0].http().0;
    let client = TaskQueueClient::open(&address, "queue-0", options.payload).await;
    let mut client = client.unwrap_or_else(|why| panic!("{why}"));
    let http = cluster.nodes[0].http();
    let count = options.backlog / BATCH * BATCH;
    let empty = metric(&http, MEMORY_METRIC).await;
    let batches = fill(&mut client, count, options.payload).await;
    let full = metric(&http, MEMORY_METRIC).await;
    let name = format!("{count} ready tasks of {} B", options.payload);
    report.line(
        &format!("{name}: memory of the guest, each"),
        full.saturating_sub(empty) as f64 / count.max(1) as f64,
        "B",
    );
    tell(report, "  batch of 500 puts", &batches);
    tell(report, "  put, reserve or ack", &cycles(&mut client).await);
    tell(report, "  page of statistics", &pages(&mut client).await);
    let snapshot = http.send("POST", "/v1/snapshot", &[], "").await;
    snapshot.expect("a response");
    cluster.nodes[0].kill();
    let begun = Instant::now();
    cluster.nodes[0].start();
    eventually("the node is ready", async || {
        let response = http.get("/readyz").await.ok()?;
        (response.status == 200).then_some(())
    })
    .await;
    report.line("  start, to ready", begun.elapsed().as_secs_f64(), "s");
}

/// Puts so many tasks into queues of a hundred; the time of each batch.
async fn fill(client: &mut TaskQueueClient, count: u64, bytes: usize) -> Latencies {
    let payload = payload(bytes);
    let mut times = Latencies::default();
    for batch in 0..count / BATCH {
        let tasks = batch * BATCH..(batch + 1) * BATCH;
        let commands: Vec<_> = tasks
            .map(|task| {
                let queue = format!("queue-{}", task / EACH);
                json!({"enqueue": {"queue": queue, "payload": payload}})
            })
            .collect();
        let body = json!({"batch": {"commands": commands}}).to_string();
        timed(&mut times, client.apply(body.as_bytes())).await;
    }
    times
}

/// The commands of a worker, each by itself.
async fn cycles(client: &mut TaskQueueClient) -> Latencies {
    let mut times = Latencies::default();
    for _ in 0..CYCLES {
        timed(&mut times, client.put()).await;
        let task = timed(&mut times, client.take()).await;
        timed(&mut times, client.end(&task)).await;
    }
    // One that waits for several queues.
    let queues: Vec<String> = (0..QUEUES).map(|queue| format!("queue-{queue}")).collect();
    let reserve = json!({"reserve": {
        "queues": queues, "worker": "bench", "lease_ms": LEASE_MS, "max": 100, "wait_ms": WAIT_MS,
    }});
    timed(&mut times, client.apply(reserve.to_string().as_bytes())).await;
    times
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
