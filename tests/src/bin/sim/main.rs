//! Runs the deterministic simulation from the command line.
//!
//! `cargo run --release -p oarlock-tests --bin sim -- --seeds 0..1000`

mod fleet;
mod options;
mod planted;
mod print;
mod queue;
mod seeds;

use std::process::ExitCode;

use clap::Parser;
use oarlock_tests::sim::{self, SimConfig, TraceLines};
use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.record {
        sim::quiet_panics();
        print!("{}", sim::record());
        return ExitCode::SUCCESS;
    }
    let well = match (options.single(), options.planted) {
        (_, planted) if options.queue => {
            sim::quiet_panics();
            if planted.is_some() {
                queue::hunt_all(&options)
            } else {
                queue::run(&options)
            }
        }
        (Some(config), _) if options.trace => trace(&config),
        _ if options.forever => {
            sim::quiet_panics();
            fleet::run(&options)
        }
        (_, Some(None)) => {
            sim::quiet_panics();
            planted::hunt_all(&options)
        }
        _ => {
            sim::quiet_panics();
            seeds::run(&options)
        }
    };
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints every event of one run.
fn trace(config: &SimConfig) -> bool {
    match sim::run_once(config, TraceLines::Print) {
        Ok(report) => {
            println!(
                "all held, {:?} after {} events, hash {:016x}",
                report.virtual_time, report.events, report.hash
            );
            true
        }
        Err(failure) => {
            println!("{failure}");
            false
        }
    }
}
