//! The simulation of the task queue over many seeds.
//!
//! `OARLOCK_QUEUE_SEEDS=10000` runs more of them than the gate has time for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use oarlock_tests::queue_sim::{self, QueueViolation};

/// Seeds without `OARLOCK_QUEUE_SEEDS`.
const SEEDS: u64 = 500;

#[test]
fn many_seeds_break_no_property_of_the_queue() {
    let seeds = std::env::var("OARLOCK_QUEUE_SEEDS")
        .map_or(SEEDS, |text| text.parse().expect("a number of seeds"));
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let violations: Vec<QueueViolation> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| first_violation(&next, seeds)))
            .collect();
        let found = workers.into_iter().map(thread::ScopedJoinHandle::join);
        found
            .filter_map(|found| found.expect("a run does not panic"))
            .collect()
    });
    let text: Vec<String> = violations.iter().map(QueueViolation::to_string).collect();
    assert!(text.is_empty(), "{}", text.join("\n"));
}

/// Runs the seeds that no other thread runs, until one breaks a property.
fn first_violation(next: &AtomicU64, seeds: u64) -> Option<QueueViolation> {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            return None;
        }
        if let Err(violation) = queue_sim::run(seed, None) {
            return Some(violation);
        }
    }
}
