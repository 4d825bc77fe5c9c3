//! The model check, as far as a test can go. `cargo run --release -p oarlock-tests --bin model` goes further.

use oarlock_tests::model::{self, Bounds, Planted, Report};

/// Explores, and fails with the way to a state in which a property does not hold.
fn explore(bounds: Bounds, most: usize) -> Report {
    let report = model::explore(bounds, most);
    println!(
        "{} states, {} events, depth {}, exhausted: {}; seen: {:?}",
        report.states, report.events, report.depth, report.exhausted, report.seen
    );
    for (name, way) in &report.broken {
        panic!("{name} does not hold after:\n  {}", way.join("\n  "));
    }
    report
}

fn saw(report: &Report, what: &str) -> bool {
    report.seen.iter().any(|seen| seen == what)
}

#[test]
fn in_one_term_nothing_breaks_whatever_the_disks_and_the_network_do() {
    let bounds = Bounds {
        terms: 1,
        entries: 1,
        slow_disks: true,
        ..Bounds::small()
    };
    let report = explore(bounds, usize::MAX);
    assert!(report.exhausted, "{report:?}");
    assert!(saw(&report, "all entries committed"), "{report:?}");
}

#[test]
fn in_two_terms_no_order_of_events_breaks_the_leaders_own_entries() {
    let bounds = Bounds {
        entries: 1,
        ..Bounds::small()
    };
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
fn three_nodes_in_two_terms_with_three_entries_break_nothing() {
    let report = explore(Bounds::small(), 400_000);
    assert!(report.states >= 50_000, "{report:?}");
    assert!(saw(&report, "a leader of each term"), "{report:?}");
    assert!(saw(&report, "logs that differ"), "{report:?}");
}

#[test]
fn crashes_slow_disks_and_messages_that_come_twice_break_nothing() {
    let bounds = Bounds {
        crashes: 1,
        heartbeats: 1,
        steps_down: true,
        slow_disks: true,
        duplicates: true,
        ..Bounds::small()
    };
    let report = explore(bounds, 300_000);
    assert!(report.states >= 30_000, "{report:?}");
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
