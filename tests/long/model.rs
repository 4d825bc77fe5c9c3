//! The model check, as deep as a test can go. `cargo run --release -p oarlock-tests --bin model` goes deeper.

use oarlock_tests::model::{self, Bounds, Planted, Report};

/// Explores, and fails with the way to a state in which a property does not hold.
fn explore(bounds: Bounds, most: usize) -> Report {
    let report = model::explore(bounds, most);
    println!(
        "{} states, {} events, depth {}, exhausted: {}; seen: {:?}",
        report.states, report.events, report.depth, report.exhausted, report.seen
    );
    if let Some((name, way)) = report.broken.first() {
        panic!("{name} does not hold after:\n  {}", way.join("\n  "));
    }
    report
}

fn saw(report: &Report, what: &str) -> bool {
    report.seen.iter().any(|seen| seen == what)
}

/// Explores all that the bounds allow, and has seen what matters.
fn exhaust(bounds: Bounds) {
    let report = explore(bounds, usize::MAX);
    assert!(report.exhausted, "{report:?}");
    for what in [
        "a leader of each term",
        "all entries committed",
        "logs that differ",
    ] {
        assert!(saw(&report, what), "{what}: {report:?}");
    }
}

#[test]
fn two_leaders_one_after_the_other_break_nothing_however_slow_the_disks() {
    exhaust(Bounds {
        entries: 1,
        slow_disks: true,
        ..Bounds::small()
    });
}

#[test]
fn two_leaders_one_after_the_other_break_nothing_though_messages_come_twice() {
    exhaust(Bounds {
        entries: 1,
        duplicates: true,
        ..Bounds::small()
    });
}

#[test]
fn three_nodes_in_two_terms_with_three_entries_break_nothing() {
    let report = explore(Bounds::small(), 150_000);
    assert!(report.states >= 30_000, "{report:?}");
    assert!(saw(&report, "a leader of each term"), "{report:?}");
    assert!(saw(&report, "logs that differ"), "{report:?}");
}

#[test]
fn a_crash_at_any_time_breaks_nothing() {
    let bounds = Bounds {
        entries: 1,
        crashes: 1,
        ..Bounds::small()
    };
    let report = explore(bounds, 150_000);
    assert!(report.states >= 30_000, "{report:?}");
    assert!(saw(&report, "a leader of each term"), "{report:?}");
}

#[test]
fn a_leader_that_loses_its_majority_steps_down_and_breaks_nothing() {
    let bounds = Bounds {
        entries: 1,
        steps_down: true,
        ..Bounds::small()
    };
    let report = explore(bounds, 150_000);
    assert!(report.states >= 30_000, "{report:?}");
    assert!(saw(&report, "a leader of each term"), "{report:?}");
}

#[test]
fn a_planted_fault_is_found() {
    for (planted, wanted) in [
        (Planted::VoteForgotten, "election safety"),
        (Planted::DenialBecomesGrant, "election safety"),
        (Planted::AcknowledgesTooMuch, "committed never lost"),
    ] {
        let bounds = Bounds {
            crashes: u8::from(planted == Planted::VoteForgotten),
            planted: Some(planted),
            ..Bounds::small()
        };
        let report = model::explore(bounds, 400_000);
        let found = report.broken.iter().any(|(name, _)| name == wanted);
        assert!(found, "{planted:?}: {report:?}");
    }
}
