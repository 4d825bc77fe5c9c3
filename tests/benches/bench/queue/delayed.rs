//! Many delayed tasks while clocks jump and a leader dies: none is delivered early, few are late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oarlock_client::load::latencies::Latencies;
use oarlock_tests::process::{Cluster, WallClocks};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::broker::{LEASE_MS, WAIT_MS};
use super::task_queue::{TaskQueue, TaskQueueClient};
use crate::Options;
use crate::report::{Report, Target};

const QUEUE: &str = "delayed";
/// Tasks of one command.
const BATCH: u64 = 1000;
const PRODUCERS: u64 = 8;
const WORKERS: usize = 16;
/// Most tasks of one delivery.
const MAX: u64 = 200;
/// Deliveries a second: the tasks fall due over a time that follows from it.
const RATE: u64 = 2500;
/// Time to put so many tasks, before the first one falls due.
const PUTS_PER_SECOND: u64 = 50_000;
/// A memory of the guest that holds a million tasks.
const MEMORY: &str = "2147483648";
/// Log time and delays have this resolution.
const RESOLUTION_US: u64 = 1000;
/// What the project aims at.
const LATE_US: f64 = 50_000.0;
/// By how much the clock of a node jumps, in milliseconds.
const JUMPS_MS: [i64; 6] = [3_600_000, 0, -3_600_000, 0, 31_536_000_000, 0];

/// The leader is killed when these parts of the tasks have been delivered.
const KILLS: [f64; 2] = [1.0 / 3.0, 2.0 / 3.0];

/// When each task is due. By the clock of the clients, which does not jump, in microseconds since `begun`: not before `earliest`,
/// counted from when it was sent, and no later than `latest`, counted from when it was stored. By the time of the log, in
/// milliseconds: not before `by_log`.
struct Times {
    begun: Instant,
    earliest: Vec<AtomicU64>,
    latest: Vec<AtomicU64>,
    by_log: Vec<AtomicU64>,
}

impl Times {
    fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What the workers saw.
#[derive(Default)]
struct Seen {
    /// How late tasks came in their first attempt.
    late: Latencies,
    /// Before their time by the log.
    early: u64,
    /// How early tasks came by the clock of the clients.
    early_by_clock: Latencies,
    /// Delivered, but first in an attempt whose response was lost.
    lost: u64,
    again: u64,
    tasks: u64,
}

/// Puts the tasks, lets them fall due under trouble, and reports.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let flags = ["--log", "warn", "--guest-memory-bytes", MEMORY];
    let mut cluster = Cluster::prepare(3, "queue", &flags);
    let clocks = WallClocks::of(&mut cluster);
    let mut queue = TaskQueue::start_prepared(cluster, options.binary.as_deref()).await;
    let count = options.delayed / BATCH * BATCH;
    let times = Arc::new(Times {
        begun: Instant::now(),
        earliest: (0..count).map(|_| AtomicU64::new(0)).collect(),
        latest: (0..count).map(|_| AtomicU64::new(0)).collect(),
        by_log: (0..count).map(|_| AtomicU64::new(0)).collect(),
    });
    let addresses = queue.addresses();
    produce(&times, &addresses, count).await;
    let put = times.begun.elapsed();
    let delivered = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for at in 0..WORKERS {
        let address = addresses[at % addresses.len()].clone();
        workers.spawn(work(Arc::clone(&times), address, Arc::clone(&delivered)));
    }
    trouble(&mut queue, &clocks, &delivered, count).await;
    let mut seen = Seen::default();
    while let Some(one) = workers.join_next().await {
        let one = one.expect("a worker that does not panic");
        seen.late.merge(&one.late);
        seen.early += one.early;
        seen.early_by_clock.merge(&one.early_by_clock);
        seen.lost += one.lost;
        seen.again += one.again;
        seen.tasks += one.tasks;
    }
    tell(report, &seen, count, put);
}

fn tell(report: &mut Report, seen: &Seen, count: u64, put: Duration) {
    report.line("delayed tasks", count as f64, "tasks");
    report.line("  time to put them", put.as_secs_f64(), "s");
    report.line("  delivered once", seen.tasks as f64, "tasks");
    report.line(
        "  delivered again after a lost response",
        seen.again as f64,
        "tasks",
    );
    report.line(
        "  delivered in a later attempt, because the response of the first was lost",
        seen.lost as f64,
        "tasks",
    );
    report.line("  early by the time of the log", seen.early as f64, "tasks");
    let early = &seen.early_by_clock;
    report.line(
        "  early by a clock that did not jump",
        early.count() as f64,
        "tasks",
    );
    report.line("    by, most", early.max_us() as f64, "µs");
    let late = |quantile| seen.late.quantile_us(quantile) as f64;
    report.line("  late, p50", late(0.5), "µs");
    report.duel(
        "  late, p99",
        late(0.99),
        LATE_US,
        "µs",
        Target::AtMost(1.0),
    );
    report.line("  late, most", seen.late.max_us() as f64, "µs");
}

/// Puts all tasks, in batches over several connections.
async fn produce(times: &Arc<Times>, addresses: &[String], count: u64) {
    let first_due = Duration::from_secs(10 + count / PUTS_PER_SECOND);
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let times = Arc::clone(times);
        let address = addresses[0].clone();
        producers.spawn(async move {
            let mut client = client(&address).await;
            let batches = (0..count / BATCH).filter(|batch| batch % PRODUCERS == producer);
            for batch in batches {
                put_batch(&times, &mut client, batch * BATCH, first_due).await;
            }
        });
    }
    while let Some(ended) = producers.join_next().await {
        ended.expect("a producer that does not panic");
    }
}

async fn put_batch(times: &Times, client: &mut TaskQueueClient, first: u64, first_due: Duration) {
    let tasks = first..first + BATCH;
    let first_due_ms = u64::try_from(first_due.as_millis()).unwrap_or(u64::MAX);
    let sent_us = times.now_us();
    // Neighbours fall due at different moments: all batches cover the whole time.
    let delays: Vec<u64> = tasks
        .clone()
        .map(|task| {
            let place = task % BATCH * (times.earliest.len() as u64 / BATCH) + task / BATCH;
            let due_ms = first_due_ms + place * 1000 / RATE;
            due_ms.saturating_sub(sent_us / 1000)
        })
        .collect();
    let log_ms = log_time_ms(client).await;
    let commands: Vec<Value> = tasks
        .clone()
        .zip(&delays)
        .map(|(task, delay_ms)| {
            json!({"enqueue": {"queue": QUEUE, "payload": task, "delay_ms": delay_ms}})
        })
        .collect();
    let batch = json!({"batch": {"commands": commands}}).to_string();
    let reply = client.apply(batch.as_bytes()).await;
    let reply = reply.unwrap_or_else(|why| panic!("{why}"));
    let results = reply["results"].as_array().expect("results");
    assert!(
        results.iter().all(|result| result.get("ok").is_some()),
        "{reply}"
    );
    let stored_us = times.now_us();
    for (task, delay_ms) in tasks.zip(delays) {
        let at = usize::try_from(task).expect("a position");
        times.earliest[at].store(sent_us + delay_ms * 1000, Ordering::Relaxed);
        times.latest[at].store(stored_us + delay_ms * 1000, Ordering::Relaxed);
        times.by_log[at].store(log_ms + delay_ms, Ordering::Relaxed);
    }
}

/// The time of the log. Later entries have no earlier one.
async fn log_time_ms(client: &mut TaskQueueClient) -> u64 {
    let shown = client.query(br#"{"schedules":{}}"#).await;
    let shown = shown.unwrap_or_else(|why| panic!("{why}"));
    shown["now_ms"].as_u64().expect("a time")
}

/// Takes and acknowledges tasks until all have been delivered.
async fn work(times: Arc<Times>, address: String, delivered: Arc<AtomicU64>) -> Seen {
    let reserve = json!({"reserve": {
        "queues": [QUEUE], "worker": "bench", "lease_ms": LEASE_MS, "max": MAX, "wait_ms": WAIT_MS,
    }})
    .to_string();
    let mut seen = Seen::default();
    let mut client = client(&address).await;
    while delivered.load(Ordering::Relaxed) < times.earliest.len() as u64 {
        let Ok(reply) = client.apply(reserve.as_bytes()).await else {
            client = self::client(&address).await;
            continue;
        };
        let received_us = times.now_us();
        let tasks = reply["tasks"].as_array().expect("tasks");
        let mut acks = Vec::with_capacity(tasks.len());
        for task in tasks {
            seen.count(&times, task, received_us, &delivered);
            acks.push(json!({"ack": {"id": task["id"], "token": task["token"]}}));
        }
        if acks.is_empty() {
            continue;
        }
        let acks = json!({"batch": {"commands": acks}}).to_string();
        // A repeated acknowledgement is refused, and changes nothing.
        while client.apply(acks.as_bytes()).await.is_err() {
            client = self::client(&address).await;
        }
    }
    seen
}

impl Seen {
    fn count(&mut self, times: &Times, task: &Value, received_us: u64, delivered: &AtomicU64) {
        let number = task["payload"].as_u64().expect("a number");
        let at = usize::try_from(number).expect("a position");
        // The first delivery counts; taking the time out makes it the first.
        let latest = times.latest[at].swap(0, Ordering::Relaxed);
        if latest == 0 {
            self.again += 1;
            return;
        }
        delivered.fetch_add(1, Ordering::Relaxed);
        self.tasks += 1;
        let by_log = task["lease_until_ms"].as_u64().expect("a time") - LEASE_MS;
        self.early += u64::from(by_log < times.by_log[at].load(Ordering::Relaxed));
        let earliest = times.earliest[at].load(Ordering::Relaxed);
        let early = earliest.saturating_sub(received_us + RESOLUTION_US);
        if early > 0 {
            self.early_by_clock.record(Duration::from_micros(early));
        }
        if task["attempt"] != 1 {
            self.lost += 1;
            return;
        }
        let late = received_us.saturating_sub(latest);
        self.late.record(Duration::from_micros(late));
    }
}

/// Lets a clock jump every few seconds, and kills the leader a few times.
async fn trouble(queue: &mut TaskQueue, clocks: &WallClocks, delivered: &AtomicU64, count: u64) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    let mut step = 0;
    let mut kills = KILLS.iter().peekable();
    while delivered.load(Ordering::Relaxed) < count {
        every.tick().await;
        // One node at a time, and right again before the next one.
        clocks.set_ahead_ms(step / 2 % 3, JUMPS_MS[step % JUMPS_MS.len()]);
        step += 1;
        let part = delivered.load(Ordering::Relaxed) as f64 / count as f64;
        if kills.next_if(|at| **at < part).is_some() {
            queue.restart_leader().await;
        }
    }
}

async fn client(address: &str) -> TaskQueueClient {
    loop {
        if let Ok(client) = TaskQueueClient::open(address, QUEUE, 0).await {
            return client;
        }
        // The node is about to be started again.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
