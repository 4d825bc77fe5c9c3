//! The deterministic simulation over a few seeds. `long/simulation.rs` runs hundreds, and finds planted faults.

use std::sync::Once;

use oarlock_tests::sim::{self, Coverage, SimConfig};

fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(sim::quiet_panics);
}

#[test]
fn twenty_seeds_break_no_invariant() {
    quiet();
    // Not those of the long test.
    let configs: Vec<_> = (1000..1020).map(SimConfig::of_seed).collect();
    let mut failures = Vec::new();
    sim::run_many(&configs, |result| {
        failures.extend(result.err().map(|failure| failure.to_string()));
        true
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn a_seed_replays_to_the_same_byte() {
    quiet();
    let mut coverage = Coverage::default();
    for seed in [1, 3, 7, 15, 16, 28, 40, 47, 65] {
        let config = SimConfig::of_seed(seed);
        let (first, second) = (sim::run(&config), sim::run(&config));
        if let Ok(report) = &first {
            coverage += report.coverage;
        }
        assert_eq!(
            first.map_err(|failure| failure.to_string()),
            second.map_err(|failure| failure.to_string())
        );
    }
    let exercised = [
        ("runs of the database", coverage.databases),
        ("runs of the guest", coverage.guests),
        ("starts with other flags", coverage.flag_changes),
        ("changes of settings", coverage.settings),
        ("upgrades", coverage.upgrades),
        ("audits", coverage.audits),
        ("corrupt guests", coverage.corruptions),
        ("quarantines", coverage.quarantines),
        ("nodes back from quarantine", coverage.rejoined),
        ("calls of foreign nodes", coverage.foreign_nodes),
    ];
    for (what, count) in exercised {
        assert!(count > 0, "these runs have no {what}");
    }
}

/// Recorded on one machine, compared on all others. Where the code that is simulated has changed on purpose:
/// `cargo run --release -p oarlock-tests --bin sim -- --record > tests/tests/sim.record`.
#[test]
fn runs_come_to_the_same_byte_on_every_machine() {
    quiet();
    assert_eq!(sim::record(), include_str!("sim.record"));
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
