//! Explores the model of three cores further than the test does.
//!
//! `cargo run --release -p oarlock-tests --bin model -- --states 20000000 --crashes 1 --slow-disks`

use std::process::ExitCode;

use clap::Parser;
use oarlock_tests::model::{self, Bounds};

/// Tries every order of events that three nodes can meet, within bounds.
#[derive(Debug, Parser)]
struct Options {
    /// Ends after about so many generated states.
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    states: usize,
    /// Latest term.
    #[arg(long, value_name = "N", default_value_t = 2)]
    terms: u64,
    /// Entries in a log past which no client proposes.
    #[arg(long, value_name = "N", default_value_t = 3)]
    entries: u64,
    /// Crashes, of all nodes together.
    #[arg(long, value_name = "N", default_value_t = 0)]
    crashes: u8,
    /// Heartbeats, of all leaders together.
    #[arg(long, value_name = "N", default_value_t = 0)]
    heartbeats: u8,
    /// A leader without contact to a majority may step down.
    #[arg(long)]
    steps_down: bool,
    /// Anything else can happen while a disk writes.
    #[arg(long)]
    slow_disks: bool,
    /// A message can arrive more than once.
    #[arg(long)]
    duplicates: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let bounds = Bounds {
        terms: options.terms,
        entries: options.entries,
        crashes: options.crashes,
        heartbeats: options.heartbeats,
        steps_down: options.steps_down,
        slow_disks: options.slow_disks,
        duplicates: options.duplicates,
        planted: None,
    };
    let report = model::explore(bounds, options.states);
    let end = if report.exhausted {
        "nothing is left within the bounds"
    } else {
        "more is left"
    };
    println!(
        "{} states, {} events, depth {}; {end}",
        report.states, report.events, report.depth
    );
    println!("seen: {}", report.seen.join(", "));
    for (name, way) in &report.broken {
        println!("{name} does not hold after:\n  {}", way.join("\n  "));
    }
    if report.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
