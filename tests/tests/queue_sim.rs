//! The simulation of the task queue: some seeds, and every planted fault. `long/queue_simulation.rs` runs more.

use oarlock_tests::queue_sim::{self, PlantedQueueFault, QueueCoverage};

#[test]
fn thirty_seeds_break_no_property_of_the_queue() {
    let mut coverage = QueueCoverage::default();
    for seed in 0..30 {
        match queue_sim::run(seed, None) {
            Ok(run) => coverage += run,
            Err(violation) => panic!("{violation}"),
        }
    }
    for (what, count) in coverage.counts() {
        assert!(
            count >= 5,
            "{count} {what} in 30 runs: they prove little of it"
        );
    }
}

#[test]
fn every_planted_fault_of_the_queue_is_caught() {
    let missed: Vec<PlantedQueueFault> = PlantedQueueFault::ALL
        .into_iter()
        .filter(|&planted| queue_sim::hunt(planted, 0..60).is_none())
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn equal_seeds_give_equal_runs() {
    assert_eq!(queue_sim::run(7, None), queue_sim::run(7, None));
}
