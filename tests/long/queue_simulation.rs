//! The simulation of the task queue over 10,000 seeds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use oarlock_tests::queue_sim::{self, QueueViolation};

const SEEDS: u64 = 10_000;

#[test]
fn ten_thousand_seeds_break_no_property_of_the_queue() {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let violations: Vec<QueueViolation> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| first_violation(&next)))
            .collect();
        let found = workers.into_iter().map(|worker| worker.join());
        found
            .filter_map(|found| found.expect("a run does not panic"))
            .collect()
    });
    let text: Vec<String> = violations.iter().map(QueueViolation::to_string).collect();
    assert!(text.is_empty(), "{}", text.join("\n"));
}

/// Runs the seeds that no other thread runs, until one breaks a property.
fn first_violation(next: &AtomicU64) -> Option<QueueViolation> {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= SEEDS {
            return None;
        }
        if let Err(violation) = queue_sim::run(seed, None) {
            return Some(violation);
        }
    }
}
