//! Runs seeds, and prints coverage and failures.

use std::time::Duration;

use indicatif::ProgressBar;
use oarlock_tests::sim::{self, Coverage, Failure, SimConfig};
use serde_json::{Map, Value, json};

use crate::options::Options;
use crate::print::{bar, millis, number, time};

/// Off a terminal, progress is a line for each so many runs.
const LINE_EACH: u64 = 1000;

/// What all runs together came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    events: u64,
    virtual_time: Duration,
    coverage: Coverage,
    failures: Vec<Failure>,
}

/// Whether no run failed.
pub(crate) fn run(options: &Options) -> bool {
    let configs: Vec<SimConfig> = options.seeds().map(|seed| options.config(seed)).collect();
    let total = configs.len() as u64;
    let bar = bar(
        total,
        "{bar:40} {human_pos} of {human_len} runs, {eta} left  {msg}",
    );
    let mut sum = Sum::default();
    sim::run_many_on(options.jobs(), &configs, |result| {
        sum.runs += 1;
        match result {
            Ok(report) => {
                sum.events += report.events;
                sum.virtual_time += report.virtual_time;
                sum.coverage += report.coverage;
            }
            Err(failure) => {
                let shortest = shortest(failure, options);
                if !options.json {
                    bar.suspend(|| println!("{shortest}\n"));
                }
                sum.failures.push(*shortest);
            }
        }
        show(&bar, &sum, total);
        (sum.failures.len() as u64) < options.most
    });
    bar.finish_and_clear();
    if options.json {
        println!("{}", sum.to_json(options));
    } else {
        sum.print(options);
    }
    sum.failures.is_empty()
}

pub(crate) fn shortest(failure: Box<Failure>, options: &Options) -> Box<Failure> {
    let (length, faults) = (failure.length, failure.faults);
    let shorter = sim::shrink(failure, options.shrink);
    if shorter.length < length && !options.json {
        eprintln!(
            "the shortest trace found has {} events and {} faults, of {} and {}",
            number(shorter.length),
            number(shorter.faults),
            number(length),
            number(faults),
        );
    }
    sim::told(shorter)
}

fn show(bar: &ProgressBar, sum: &Sum, total: u64) {
    let failures = sum.failures.len();
    if !bar.is_hidden() {
        bar.set_message(format!("{failures} failures"));
        bar.set_position(sum.runs);
    } else if sum.runs.is_multiple_of(LINE_EACH) {
        let (runs, total, events) = (number(sum.runs), number(total), number(sum.events));
        eprintln!("{runs} of {total} runs, {events} events, {failures} failures");
    }
}

impl Sum {
    fn print(&self, options: &Options) {
        let seeds = options.seeds();
        println!(
            "seeds {}..{}: {} runs, {} events, {} of virtual time, {} failures",
            seeds.start,
            seeds.end,
            number(self.runs),
            number(self.events),
            time(self.virtual_time),
            self.failures.len()
        );
        let counts = self.coverage.counts();
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, count)| (*name, number(*count)))
            .collect();
        let names = counts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let digits = counts
            .iter()
            .map(|(_, count)| count.len())
            .max()
            .unwrap_or(0);
        println!();
        for (name, count) in counts {
            println!("  {name:names$}  {count:>digits$}");
        }
    }

    fn to_json(&self, options: &Options) -> Value {
        let seeds = options.seeds();
        let coverage: Map<_, _> = self
            .coverage
            .counts()
            .into_iter()
            .map(|(name, count)| (name.replace(' ', "_"), count.into()))
            .collect();
        json!({
            "seeds": [seeds.start, seeds.end],
            "runs": self.runs,
            "events": self.events,
            "virtual_time_ms": millis(self.virtual_time),
            "coverage": coverage,
            "failures": self.failures.iter().map(failure_json).collect::<Vec<_>>(),
        })
    }
}

pub(crate) fn failure_json(failure: &Failure) -> Value {
    json!({
        "seed": failure.config.seed,
        "nodes": failure.config.nodes,
        "planted": failure.config.planted.map(|planted| format!("{planted:?}")),
        "invariant": failure.violation.invariant,
        "detail": failure.violation.detail,
        "at_ms": millis(failure.at),
        "events": failure.length,
        "faults": failure.faults,
        "hash": format!("{:016x}", failure.hash),
        "command": failure.command(),
        "trace": failure.events,
    })
}
