//! From a put to the delivery at a worker that waits, in an idle cluster.

use std::time::{Duration, Instant};

use oarlock_client::load::latencies::Latencies;

use super::super::disk;
use super::broker::{Broker, QueueServer};
use super::task_queue::{TaskQueue, TaskQueueClient};
use crate::Options;
use crate::report::{Report, Target};

const QUEUE: &str = "handover";
/// How long the worker waits before each put.
const CALM: Duration = Duration::from_millis(20);
/// What may be added to two syncs, in microseconds.
const MORE_US: f64 = 2000.0;

/// One put at a time, to one worker.
pub(crate) async fn measure(options: &Options, report: &mut Report) {
    let queue = TaskQueue::start(options.binary.as_deref()).await;
    let open = async || {
        let client = queue.client(QUEUE, options.payload).await;
        client.unwrap_or_else(|why| panic!("{why}"))
    };
    let (mut worker, mut producer) = (open().await, open().await);
    let mut latencies = Latencies::default();
    let mut at_follower = Latencies::default();
    let follower = TaskQueueClient::open(&queue.addresses()[1], QUEUE, options.payload).await;
    let mut other = follower.unwrap_or_else(|why| panic!("{why}"));
    let mut syncs = Vec::new();
    for _ in 0..options.rounds {
        // The speed of the disk drifts: it is measured between the turns.
        syncs.extend(disk::plain_appends());
        let begun = Instant::now();
        while begun.elapsed() < options.turn() {
            latencies.record(one(&mut worker, &mut producer).await);
            at_follower.record(one(&mut other, &mut producer).await);
        }
    }
    let sync_us = disk::median(&mut syncs).as_secs_f64() * 1e6;
    let (p50, p99) = (latencies.quantile_us(0.5), latencies.quantile_us(0.99));
    report.line("put to a waiting worker, p50", p50 as f64, "µs");
    report.line("  meanwhile: append 4 KiB + fdatasync, p50", sync_us, "µs");
    let slow = syncs.get(syncs.len() * 99 / 100).copied();
    let slow_us = slow.unwrap_or_default().as_secs_f64() * 1e6;
    report.line("  meanwhile: append 4 KiB + fdatasync, p99", slow_us, "µs");
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        report.line(
            &format!("  … at a follower, {name}"),
            at_follower.quantile_us(quantile) as f64,
            "µs",
        );
    }
    report.duel(
        "put to a waiting worker, p99, against 2 syncs + 2 ms",
        p99 as f64,
        2.0 * sync_us + MORE_US,
        "µs",
        Target::AtMost(1.0),
    );
}

/// The time of one task.
async fn one(worker: &mut TaskQueueClient, producer: &mut TaskQueueClient) -> Duration {
    let put = async {
        tokio::time::sleep(CALM).await;
        let begun = Instant::now();
        let put = producer.put().await;
        put.unwrap_or_else(|why| panic!("{why}"));
        begun
    };
    let delivery = async {
        let taken = worker.take().await;
        let delivered = Instant::now();
        (taken.unwrap_or_else(|why| panic!("{why}")), delivered)
    };
    let (begun, (task, delivered)) = tokio::join!(put, delivery);
    let ended = worker.end(&task).await;
    ended.unwrap_or_else(|why| panic!("{why}"));
    delivered.duration_since(begun)
}
