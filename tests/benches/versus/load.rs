//! Closed loops: each client sends its next request when the answer to the last one is there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::http1::Pipeline;
use super::usage::Usage;

/// Runs before the measured time, and is not counted.
const WARM_UP: Duration = Duration::from_millis(500);
/// A client that met an error waits this long, so that a node in need gets no storm.
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// One client.
pub(crate) trait Client: Send + 'static {
    /// Sends the request of this number and reads its answer to the end.
    fn exchange(&mut self, number: u64) -> impl Future<Output = Result<(), String>> + Send;
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Latencies of what was done, in microseconds.
    latencies_us: Vec<u32>,
    /// What was not done, by what was said.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The measured time.
    pub(crate) elapsed: Duration,
    /// Processor time of the clients.
    pub(crate) client_cpu: Duration,
    /// Processor time of the nodes, together.
    pub(crate) node_cpu: Duration,
    /// Durable writes of the leader's log.
    pub(crate) syncs: u64,
}

impl Tally {
    /// How many were done.
    pub(crate) fn done(&self) -> u64 {
        self.latencies_us.len() as u64
    }

    /// How many were not.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Done a second.
    pub(crate) fn rate(&self) -> f64 {
        self.done() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// That part took no longer, in microseconds.
    pub(crate) fn quantile_us(&self, quantile: f64) -> u64 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = (quantile * last as f64).round() as usize;
        self.latencies_us.get(at).copied().unwrap_or(0).into()
    }

    /// Processor time for each that was done, in microseconds.
    pub(crate) fn each_us(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.done().max(1) as f64
    }

    /// Several turns as one.
    pub(crate) fn merged(turns: &[Self]) -> Self {
        let mut all = Self::default();
        for turn in turns {
            all.latencies_us.extend_from_slice(&turn.latencies_us);
            for (words, count) in &turn.errors {
                *all.errors.entry(words.clone()).or_default() += count;
            }
            all.elapsed += turn.elapsed;
            all.client_cpu += turn.client_cpu;
            all.node_cpu += turn.node_cpu;
            all.syncs += turn.syncs;
        }
        all.latencies_us.sort_unstable();
        all
    }
}

/// What all clients of one load share.
struct Shared {
    numbers: AtomicU64,
    measuring: AtomicBool,
    over: AtomicBool,
}

/// Runs the clients for a while; `pids` are the nodes.
pub(crate) async fn run<C: Client>(clients: Vec<C>, time: Duration, pids: &[u32]) -> Tally {
    run_tasks(clients, drive, tokio::time::sleep(time), pids).await
}

/// Runs the clients until something is done; what that gives comes beside what they saw.
pub(crate) async fn run_during<C: Client, T>(
    clients: Vec<C>,
    work: impl Future<Output = T>,
    pids: &[u32],
) -> (Tally, T) {
    let mut given = None;
    let tally = run_tasks(clients, drive, async { given = Some(work.await) }, pids).await;
    (tally, given.expect("the load ends after the work"))
}

/// The same with several requests under way on each connection.
pub(crate) async fn run_pipelines(pipelines: Vec<Pipeline>, time: Duration, pids: &[u32]) -> Tally {
    run_tasks(pipelines, drive_pipeline, tokio::time::sleep(time), pids).await
}

async fn run_tasks<C, F>(
    clients: Vec<C>,
    drive: fn(C, Arc<Shared>) -> F,
    measured: impl Future<Output = ()>,
    pids: &[u32],
) -> Tally
where
    F: Future<Output = Tally> + Send + 'static,
{
    let shared = Arc::new(Shared {
        numbers: AtomicU64::new(0),
        measuring: AtomicBool::new(false),
        over: AtomicBool::new(false),
    });
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(drive(client, Arc::clone(&shared)));
    }
    tokio::time::sleep(WARM_UP).await;
    let (own, nodes, begun) = (Usage::own(), Usage::of(pids), Instant::now());
    shared.measuring.store(true, Ordering::Relaxed);
    measured.await;
    shared.measuring.store(false, Ordering::Relaxed);
    let elapsed = begun.elapsed();
    let (client_cpu, node_cpu) = (
        Usage::own().since(own).cpu,
        Usage::of(pids).since(nodes).cpu,
    );
    shared.over.store(true, Ordering::Relaxed);
    let parts = tasks.join_all().await;
    Tally {
        elapsed,
        client_cpu,
        node_cpu,
        ..Tally::merged(&parts)
    }
}

/// One client, until it is over. What ends within the measured time counts.
async fn drive<C: Client>(mut client: C, shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::default();
    while !shared.over.load(Ordering::Relaxed) {
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let outcome = client.exchange(number).await;
        let took = begun.elapsed();
        let counts = shared.measuring.load(Ordering::Relaxed);
        match outcome {
            Ok(()) if counts => {
                let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
                tally.latencies_us.push(us);
            }
            Ok(()) => {}
            Err(words) => {
                if counts {
                    *tally.errors.entry(words).or_default() += 1;
                }
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
    tally
}

/// One connection: as many requests under way as it may have; each answer makes room for the next request.
async fn drive_pipeline(mut pipeline: Pipeline, shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::default();
    let mut sent = VecDeque::new();
    while !shared.over.load(Ordering::Relaxed) {
        while sent.len() < pipeline.depth() {
            pipeline.push(shared.numbers.fetch_add(1, Ordering::Relaxed));
            sent.push_back(Instant::now());
        }
        let outcome = pipeline.exchange().await;
        let (answers, counts) = (
            outcome.as_ref().copied().unwrap_or(0),
            shared.measuring.load(Ordering::Relaxed),
        );
        for begun in sent.drain(..answers).filter(|_| counts) {
            let us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
            tally.latencies_us.push(us);
        }
        if let Err(words) = outcome {
            // The answers to those behind it are lost with the connection.
            tally.errors.insert(words, sent.len() as u64);
            break;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_all_turns() {
        let turn = |latencies: &[u32]| Tally {
            latencies_us: latencies.to_vec(),
            elapsed: Duration::from_secs(1),
            ..Tally::default()
        };
        let all = Tally::merged(&[turn(&[5, 1, 3]), turn(&[2, 4])]);
        assert_eq!(
            (
                all.quantile_us(0.0),
                all.quantile_us(0.5),
                all.quantile_us(1.0)
            ),
            (1, 3, 5)
        );
        assert_eq!((all.done(), all.rate()), (5, 2.5));
        assert_eq!(Tally::default().quantile_us(0.5), 0, "nothing was done");
    }
}
