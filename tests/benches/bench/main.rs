//! The project's benchmarks.
//!
//! `cargo run --release -p oarlock-tests --bin bench`
//!
//! The speed of a machine drifts, so a figure alone means little. What is compared is measured in turn within one run,
//! A B A B, and the ratio counts. `host/docs/performance.md` describes how the figures there were taken.
//!
//! | module | what it measures |
//! |---|---|
//! | [`disk`] | the log store against a plain append + fdatasync of the same bytes |
//! | [`core_alone`] | the consensus core without disk and network |
//! | [`apply`] | guests as WebAssembly against the same code native |
//! | [`guests`] | guests in one process: commands, failures, snapshots, queries, upgrades |
//! | [`queue`] | the task queue against other queues |
//! | [`compare`] | three nodes against three of etcd, or of another binary, under the same load |
//! | [`trials`] | failover, transfer under load, restart, an idle cluster |
//! | [`modules`] | upgrades under load; `oarlock check` |
//! | [`load`], [`sessions`] | one turn of a load, and its sessions over HTTP/1.1 and HTTP/2 |
//! | [`etcd`], [`oarlock`] | a cluster of each |
//! | [`usage`] | processor time and disk writes of a process |
//! | [`report`], [`draw`] | table, JSON and picture |

mod apply;
mod compare;
mod core_alone;
mod disk;
mod draw;
mod etcd;
mod guests;
mod load;
mod modules;
mod oarlock;
mod queue;
mod report;
mod sessions;
mod trials;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use report::Report;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The log store against a plain file.
    Disk,
    /// The core without disk and network.
    Core,
    /// Guests as WebAssembly, against the same code native.
    Apply,
    /// A command of a guest, by keys and batch.
    Commands,
    /// Failures of a guest, and how long their undo takes.
    Failures,
    /// How long a snapshot stops apply; queries on replicas.
    Snapshots,
    /// How long an upgrade stops apply.
    Switch,
    /// Writes, against etcd.
    Writes,
    /// Writes with many requests in flight on each connection, against etcd.
    Pipelined,
    /// Linearizable reads, against etcd.
    Reads,
    /// The task queue, against beanstalkd, NATS and RabbitMQ.
    Queues,
    /// From a put to a waiting worker.
    Handover,
    /// Many delayed tasks while clocks jump and a leader dies.
    Delayed,
    /// Many tasks that wait.
    Backlog,
    /// How long no write is acknowledged after a leader was killed.
    Failover,
    /// Leadership is transferred under load.
    Transfer,
    /// A node starts with a long log.
    Restart,
    /// Upgrades under load.
    Upgrade,
    /// `oarlock check`.
    Check,
    /// A cluster without requests.
    Idle,
}

/// Measures Oarlock, the bare disk and etcd in one run.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What to measure. Default: everything.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Measured time of each turn, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Turns of each side.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections of the writes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256, 1000])]
    connections: Vec<usize>,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Send to all nodes in turn rather than to the leader alone.
    #[arg(long)]
    spread: bool,
    /// How many failures of a guest are undone.
    #[arg(long, default_value_t = 100_000)]
    failures: u64,
    /// How many tasks wait.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// On how many nodes these tasks wait.
    #[arg(long, default_value_t = 1)]
    backlog_nodes: usize,
    /// How many tasks are delayed.
    #[arg(long, default_value_t = 1_000_000)]
    delayed: u64,
    /// How many times a leader is killed.
    #[arg(long, default_value_t = 20)]
    trials: usize,
    /// How long an idle cluster is measured, in seconds.
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// Entries of the log that a node starts with.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Directory of the data, on the disk to measure.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Use this binary of oarlock instead of building this tree's.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Compare with three nodes of this binary of oarlock instead of etcd: the effect of a change.
    #[arg(long, value_name = "BINARY", conflicts_with = "alone")]
    against: Option<PathBuf>,
    /// Without etcd, also where it is installed.
    #[arg(long)]
    alone: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Draw the picture of an earlier run's JSON to standard output, and measure nothing.
    #[arg(long, value_name = "FILE.json")]
    draw: Option<PathBuf>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn turn(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(file) = &options.draw {
        return match draw::picture_of(file) {
            Ok(svg) => {
                print!("{svg}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{}: {why}", file.display());
                ExitCode::FAILURE
            }
        };
    }
    if let Some(dir) = &options.dir {
        // The directories of the clusters follow it.
        tempfile::env::override_temp_dir(dir).expect("it is set once");
    }
    // Few threads, because the nodes need the others; the clients of both sides run on them.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.div_ceil(4).min(4))
        .enable_all()
        .build()
        .expect("threads for the clients");
    let mut report = Report::new(&options);
    runtime.block_on(measure(&options, &mut report));
    if options.json {
        println!("{}", report.as_json());
    } else {
        println!("{}", report.as_text());
    }
    ExitCode::SUCCESS
}

async fn measure(options: &Options, report: &mut Report) {
    if options.wants(Part::Disk) {
        disk::measure(options, report);
    }
    if options.wants(Part::Core) {
        core_alone::measure(options, report);
    }
    if options.wants(Part::Apply) {
        apply::measure(options, report);
    }
    if options.wants(Part::Commands) {
        guests::commands::measure(options, report);
    }
    if options.wants(Part::Failures) {
        guests::failures::measure(options, report);
    }
    if options.wants(Part::Snapshots) {
        guests::snapshots::measure(options, report);
    }
    if options.wants(Part::Switch) {
        guests::switch::measure(report);
    }
    compare::measure(options, report).await;
    queue::measure(options, report).await;
    if options.wants(Part::Transfer) {
        trials::transfer(options, report).await;
    }
    if options.wants(Part::Failover) {
        trials::failover(options, report).await;
    }
    if options.wants(Part::Restart) {
        trials::restart(options, report).await;
    }
    if options.wants(Part::Upgrade) {
        modules::upgrade(options, report).await;
    }
    if options.wants(Part::Check) {
        modules::check(options, report);
    }
    if options.wants(Part::Idle) {
        trials::idle(options, report).await;
    }
}
