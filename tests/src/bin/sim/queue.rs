//! Runs seeds of the simulation of the task queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use oarlock_tests::queue_sim::{self, PlantedQueueFault, QueueCoverage, QueueViolation};
use serde_json::{Map, Value, json};

use crate::options::Options;
use crate::print::number;

/// A line on standard error for each so many runs.
const LINE_EACH: u64 = 1000;

/// Whether no run broke a property.
pub(crate) fn run(options: &Options) -> bool {
    let seeds = options.seeds();
    let next = AtomicU64::new(seeds.start);
    let (mut runs, mut coverage) = (0_u64, QueueCoverage::default());
    let mut violations: Vec<QueueViolation> = Vec::new();
    thread::scope(|scope| {
        let (results, received) = mpsc::channel();
        for _ in 0..options.jobs() {
            let (results, next, end) = (results.clone(), &next, seeds.end);
            scope.spawn(move || run_seeds(next, end, &results));
        }
        drop(results);
        for result in received {
            runs += 1;
            match result {
                Ok(run) => coverage += run,
                Err(violation) => {
                    eprintln!("{violation}");
                    violations.push(violation);
                    if violations.len() as u64 >= options.most {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            }
            if runs.is_multiple_of(LINE_EACH) {
                eprintln!("{} runs, {} violations", number(runs), violations.len());
            }
        }
    });
    if options.json {
        println!("{}", to_json(runs, &coverage, &violations));
    } else {
        println!(
            "seeds {}..{} of the queue: {} runs, {} violations\n",
            seeds.start,
            seeds.end,
            number(runs),
            violations.len()
        );
        for (name, count) in coverage.counts() {
            println!("  {name:42} {:>12}", number(count));
        }
    }
    violations.is_empty()
}

fn run_seeds(
    next: &AtomicU64,
    end: u64,
    results: &mpsc::Sender<Result<QueueCoverage, QueueViolation>>,
) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || results.send(queue_sim::run(seed, None)).is_err() {
            return;
        }
    }
}

/// Plants each fault in turn. Whether a seed caught each of them.
pub(crate) fn hunt_all(options: &Options) -> bool {
    let mut hunts = Vec::new();
    for planted in PlantedQueueFault::ALL {
        let caught = queue_sim::hunt(planted, options.seeds());
        if !options.json {
            let told = caught.as_ref().map(QueueViolation::to_string);
            println!("{planted:?}: {}", told.as_deref().unwrap_or("MISSED"));
        }
        hunts.push((planted, caught));
    }
    let caught = hunts.iter().filter(|(_, caught)| caught.is_some()).count();
    if options.json {
        let rows = hunts.iter().map(|(planted, caught)| {
            json!({"fault": format!("{planted:?}"), "caught": caught.as_ref().map(violation_json)})
        });
        println!("{}", Value::from(rows.collect::<Vec<_>>()));
    } else {
        println!("\n{caught} of {} planted faults are caught", hunts.len());
    }
    caught == hunts.len()
}

fn to_json(runs: u64, coverage: &QueueCoverage, violations: &[QueueViolation]) -> Value {
    let counts = coverage.counts();
    let coverage: Map<_, _> = counts
        .iter()
        .map(|(name, count)| (name.replace(' ', "_"), (*count).into()))
        .collect();
    json!({
        "runs": runs,
        "coverage": coverage,
        "violations": violations.iter().map(violation_json).collect::<Vec<_>>(),
    })
}

fn violation_json(violation: &QueueViolation) -> Value {
    json!({"seed": violation.seed, "entry": violation.entry, "what": violation.what})
}
