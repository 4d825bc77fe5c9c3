//! Measures Oarlock beside what it is compared with: the bare disk, and etcd where it is installed.
//!
//! `cargo run --release -p oarlock-tests --bin versus`
//!
//! Machines drift, so a figure alone says little. What is compared is measured in turn within one run, A B A B, and
//! what counts is the ratio. `host/docs/performance.md` tells how the figures there were taken.
//!
//! | module | what it measures |
//! |---|---|
//! | [`disk`] | the log store against a plain append + fdatasync of the same bytes |
//! | [`core_alone`] | the consensus core without disk and network |
//! | [`apply`] | guests as WebAssembly against the same code native |
//! | [`duel`] | three nodes against three of etcd, the same load |
//! | [`trials`] | failover, transfer under load, restart, idleness |
//! | [`plug`] | modules that take over under load; the check of a file |
//! | [`load`], [`http1`], [`http2`] | closed loops of requests, and the two protocols that they speak |
//! | [`etcd`], [`oarlock`] | a cluster of each |
//! | [`usage`] | what a process has used of processor and disk |
//! | [`report`], [`draw`] | table, JSON and picture |

mod apply;
mod core_alone;
mod disk;
mod draw;
mod duel;
mod etcd;
mod http1;
mod http2;
mod load;
mod oarlock;
mod plug;
mod report;
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
    /// Writes, against etcd.
    Writes,
    /// Writes with many requests under way on each connection, against etcd.
    Pipelined,
    /// Linearizable reads, against etcd.
    Reads,
    /// A leader is killed: how long no write is acknowledged.
    Failover,
    /// Leadership is handed over under load.
    Transfer,
    /// A node starts with a long log.
    Restart,
    /// Modules take over under load.
    Upgrade,
    /// A module is checked.
    Check,
    /// Nothing is asked of a cluster.
    Idle,
}

/// Measures Oarlock beside the bare disk and etcd, in one run.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// What to measure; all of it if nothing is said.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Measured time of each turn, in seconds.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Turns of each side.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections of the closed loops of writes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256, 1000])]
    connections: Vec<usize>,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Send to all nodes in turn rather than to the leader alone.
    #[arg(long)]
    spread: bool,
    /// How often a leader is killed.
    #[arg(long, default_value_t = 20)]
    trials: usize,
    /// How long an idle cluster is watched, in seconds.
    #[arg(long, default_value_t = 60)]
    idle_seconds: u64,
    /// Entries of the log that a node starts with.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Where the data goes: a directory on the disk that is to be measured.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Runs this binary of oarlock rather than building that of this tree.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Against three nodes of this binary of oarlock rather than etcd: what a change has brought.
    #[arg(long, value_name = "BINARY", conflicts_with = "alone")]
    against: Option<PathBuf>,
    /// Without etcd, even if it is installed.
    #[arg(long)]
    alone: bool,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Draws the picture of an earlier run's JSON to standard output, and measures nothing.
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
        tempfile::env::override_temp_dir(dir).expect("nobody has set it before");
    }
    // Few threads, so that the nodes keep the others; both sides' clients run on them.
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
    duel::measure(options, report).await;
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
        plug::upgrade(options, report).await;
    }
    if options.wants(Part::Check) {
        plug::check(options, report);
    }
    if options.wants(Part::Idle) {
        trials::idle(options, report).await;
    }
}
