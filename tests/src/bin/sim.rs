//! Runs the deterministic simulation from the command line.
//!
//! `cargo run -p oarlock-tests --bin sim -- --seeds 0..1000`

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;

use clap::Parser;
use oarlock_tests::sim::{self, Coverage, Planted, SimConfig, Words};

/// Simulates clusters under faults, and checks what must hold.
#[derive(Debug, Parser)]
struct Options {
    /// Seeds from A to below B.
    #[arg(long, value_name = "A..B", value_parser = seeds, default_value = "0..200")]
    seeds: Range<u64>,
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// How many nodes, instead of what the seed says.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=15))]
    nodes: Option<u8>,
    /// Ends after so many failures.
    #[arg(long, value_name = "N", default_value_t = 20)]
    most: u64,
    /// Plants a fault, by its name, as in `VoteNotSynced`.
    #[arg(long, value_parser = planted)]
    planted: Option<Planted>,
    /// Prints every event of the one seed.
    #[arg(long, requires = "seed")]
    trace: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("write it as A..B, as in 0..1000")?;
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .map_err(|error| format!("{text:?} is no number: {error}"))
    };
    Ok(number(from)?..number(to)?)
}

fn planted(name: &str) -> Result<Planted, String> {
    let all = Planted::ALL;
    let found = all
        .into_iter()
        .find(|planted| format!("{planted:?}") == name);
    found.ok_or_else(|| format!("{name:?} is none of {all:?}"))
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seeds = options
        .seed
        .map_or(options.seeds, |seed| seed..seed.saturating_add(1));
    let configs: Vec<SimConfig> = seeds
        .map(|seed| {
            let of_seed = SimConfig::of_seed(seed);
            SimConfig {
                nodes: options.nodes.map_or(of_seed.nodes, usize::from),
                planted: options.planted,
                ..of_seed
            }
        })
        .collect();
    if let (true, [config]) = (options.trace, &configs[..]) {
        return match sim::run_once(config, Words::Print) {
            Ok(report) => {
                println!("{report:?}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    sim::quiet_panics();
    run(&configs, options.most)
}

/// Ends early after so many failures.
fn run(configs: &[SimConfig], most: u64) -> ExitCode {
    let terminal = std::io::stdout().is_terminal();
    let (mut runs, mut events, mut failures, mut coverage) = (0_u64, 0, 0_u64, Coverage::default());
    sim::run_many(configs, |result| {
        runs += 1;
        match result {
            Ok(report) => {
                events += report.events;
                coverage += report.coverage;
            }
            Err(failure) => {
                failures += 1;
                println!("{failure}\n");
            }
        }
        if terminal || runs.is_multiple_of(100) || runs == configs.len() as u64 {
            let end = if terminal { "\r" } else { "\n" };
            print!(
                "{runs} of {} runs, {events} events, {failures} failures{end}",
                configs.len()
            );
            // A closed pipe is no reason to stop.
            let _ = std::io::stdout().flush();
        }
        failures < most
    });
    let counts = coverage
        .counts()
        .map(|(name, count)| format!("{count} {name}"));
    println!("\n{}", counts.join(", "));
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
