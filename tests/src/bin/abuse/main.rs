//! Measures what hostile clients do to the others: the time of commands and queries, and the memory of the node.
//!
//! `cargo run --release -p oarlock-tests --bin abuse`. The limit of open files must allow twice the number of clients:
//! `ulimit -n 25000`. The speed of a machine drifts, so what counts is the ratio within one run.

mod clients;
mod hostile;
mod memory;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use clients::Latencies;
use oarlock_tests::process::Cluster;

/// What hostile clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Abuse {
    /// They send queries with large responses and don't read them.
    SlowReaders,
    /// They request events and don't read them, while events are published.
    SlowListeners,
    /// They connect and send nothing.
    Idle,
    /// They send endless queries and disconnect.
    AbandonedQueries,
    /// They upload modules that the compiler does not finish.
    Modules,
}

/// Measures what hostile clients do to the others.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What to measure. Default: everything.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Abuse>,
    /// Hostile connections.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Endless queries.
    #[arg(long, default_value_t = 4096)]
    queries: usize,
    /// Modules that are uploaded at the same time.
    #[arg(long, default_value_t = 20)]
    modules: usize,
    /// Measured time of each turn, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Nodes of the cluster. All clients use the first one.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Use this binary of oarlock instead of building this tree's.
    #[arg(long)]
    binary: Option<PathBuf>,
}

impl Options {
    fn turn(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads for the clients");
    let wanted: Vec<Abuse> = Abuse::value_variants()
        .iter()
        .copied()
        .filter(|abuse| options.only.is_empty() || options.only.contains(abuse))
        .collect();
    for abuse in wanted {
        runtime.block_on(measure(&options, abuse));
    }
    ExitCode::SUCCESS
}

async fn measure(options: &Options, abuse: Abuse) {
    let mut cluster =
        Cluster::prepare(options.nodes, hostile::guest(abuse), &hostile::flags(abuse));
    for node in &mut cluster.nodes {
        if let Some(binary) = &options.binary {
            node.use_binary(binary);
        }
        node.start();
    }
    cluster.leader().await;
    let node = &cluster.nodes[0];
    let (http, pid) = (node.http(), node.pid().expect("it runs"));
    hostile::prepare(&http, abuse).await;
    let load = clients::Load::open(&http, hostile::guest(abuse)).await;
    let (load, before) = load.run(options.turn()).await;
    let memory = memory::resident_mib(pid);
    let attack = hostile::Attack::begin(options, &http, abuse).await;
    // What hostile clients request costs as much as what others request. What they cost by not reading comes after it.
    let (load, begun) = load.run(options.turn()).await;
    hostile::settled(&http).await;
    let (load, during) = load.run(options.turn()).await;
    let peak = memory::peak_mib(pid);
    let what = attack.end().await;
    let (_, after) = load.run(options.turn()).await;
    let name = abuse
        .to_possible_value()
        .map_or_else(String::new, |name| name.get_name().to_owned());
    println!("{name}: {what}");
    for (when, latencies) in [
        ("before", &before),
        ("while they begin", &begun),
        ("then", &during),
        ("after", &after),
    ] {
        println!("  {when}: {latencies}");
    }
    println!(
        "  p99 {:.2} times as long while they begin, {:.2} times then; resident memory {memory} MiB before, {peak} MiB at most, {} MiB after",
        ratio(&begun, &before),
        ratio(&during, &before),
        memory::resident_mib(pid)
    );
    for line in hostile::metrics(&http).await {
        println!("  {line}");
    }
}

fn ratio(during: &Latencies, before: &Latencies) -> f64 {
    during.quantile(0.99).as_secs_f64() / before.quantile(0.99).as_secs_f64().max(1e-9)
}
