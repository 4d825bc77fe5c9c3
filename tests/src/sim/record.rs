//! The results of some runs, which are equal on every machine. So a failure on one machine can be debugged on another.

use std::fmt::Write as _;

use super::{Planted, SimConfig, hunt, run};

/// Among them runs with the database beneath and with the wasm guest above.
const SEEDS: [u64; 6] = [1, 2, 3, 7, 28, 40];
/// Faults whose first failure is recorded.
const PLANTED: [Planted; 2] = [Planted::OneNodeSkips, Planted::VoteNotSynced];

/// Runs them, and returns a line for each: the run, the number of events, and their hash.
#[must_use]
pub fn record() -> String {
    let mut lines = String::new();
    for seed in SEEDS {
        let (events, hash) = match run(&SimConfig::of_seed(seed)) {
            Ok(report) => (report.events, report.hash),
            Err(failure) => (failure.length, failure.hash),
        };
        line(&mut lines, &format!("seed {seed}"), events, hash);
    }
    for planted in PLANTED {
        if let Some(failure) = hunt(planted, 0..1000).caught {
            let what = format!("seed {} with {planted:?} fails", failure.config.seed);
            line(&mut lines, &what, failure.length, failure.hash);
        }
    }
    lines
}

fn line(lines: &mut String, what: &str, events: u64, hash: u64) {
    // Writing to a string can't fail.
    let _ = writeln!(lines, "{what}: {events} events, hash {hash:016x}");
}
