//! The deterministic simulation: that it finds nothing in the code as it is, that it would find what is planted, and
//! that a seed replays.

use std::sync::Once;

use oarlock_tests::sim::{self, Coverage, Planted, SimConfig};

fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(sim::quiet_panics);
}

#[test]
fn two_hundred_seeds_break_no_invariant() {
    quiet();
    let configs: Vec<_> = (0..200).map(SimConfig::of_seed).collect();
    let (mut failures, mut coverage) = (Vec::new(), Coverage::default());
    sim::run_many(&configs, |result| {
        match result {
            Ok(report) => coverage += report.coverage,
            Err(failure) => failures.push(failure.to_string()),
        }
        true
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    for (what, count) in coverage.counts() {
        assert!(
            count >= 20,
            "{count} {what} in 200 runs: they prove little of it"
        );
    }
}

#[test]
fn a_seed_replays_to_the_same_byte() {
    quiet();
    for seed in [1, 2, 3, 40] {
        let config = SimConfig::of_seed(seed);
        let (first, second) = (sim::run(&config), sim::run(&config));
        assert_eq!(
            first.map_err(|failure| failure.to_string()),
            second.map_err(|failure| failure.to_string())
        );
    }
}

#[test]
fn two_seeds_differ() {
    quiet();
    let hash = |seed| {
        sim::run(&SimConfig::of_seed(seed))
            .map(|report| report.hash)
            .map_err(|failure| failure.to_string())
    };
    assert_ne!(hash(1), hash(7));
}

/// The first seed whose run tells that the fault is there, and how it tells.
fn caught(planted: Planted) -> Option<(u64, String)> {
    const SEEDS: u64 = 1000;
    let configs: Vec<_> = (0..SEEDS)
        .map(|seed| SimConfig {
            planted: Some(planted),
            ..SimConfig::of_seed(seed)
        })
        .collect();
    let mut caught = None;
    sim::run_many(&configs, |result| {
        caught = result
            .err()
            .map(|failure| (failure.config.seed, failure.violation.to_string()));
        caught.is_none()
    });
    caught
}

#[test]
fn every_planted_fault_is_caught() {
    quiet();
    let mut missed = Vec::new();
    for planted in Planted::ALL {
        match caught(planted) {
            Some((seed, violation)) => println!("{planted:?}: seed {seed}: {violation}"),
            None => missed.push(planted),
        }
    }
    assert!(
        missed.is_empty(),
        "not caught within 1,000 seeds: {missed:?}"
    );
}
