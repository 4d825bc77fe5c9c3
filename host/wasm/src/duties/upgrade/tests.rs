//! The decisions of the leader for different reports.

use std::collections::BTreeMap;

use super::*;
use crate::records::envelope::Envelope;

const DEADLINE_MS: u64 = 1_000;

fn ready_at(tried_at: u64, route: MigrationRoute, state: &str) -> CheckResult {
    CheckResult::Ready {
        tried_at: Index(tried_at),
        route,
        state: Sha256::of(state.as_bytes()),
    }
}

fn ready(state: &str) -> CheckResult {
    ready_at(8, MigrationRoute::Snapshot, state)
}

fn refused(reason: &str) -> CheckResult {
    CheckResult::Refused {
        message: reason.to_owned(),
    }
}

fn pending(reports: &[(&str, CheckResult)]) -> UpgradeStatus {
    let reports: BTreeMap<String, CheckResult> = reports
        .iter()
        .map(|(node, result)| ((*node).to_owned(), result.clone()))
        .collect();
    UpgradeStatus {
        upgrade: Index(7),
        by: "ann".to_owned(),
        sha256: Sha256::of(b"new"),
        bytes: 10,
        received: 10,
        deadline_ms: DEADLINE_MS,
        dry_run: false,
        staged_at: Some(Index(8)),
        reports,
    }
}

fn decided(pending: &UpgradeStatus, now_ms: u64) -> Option<UpgradeRecord> {
    let voters = ["node1", "node2", "node3"].map(NodeId::from);
    decide(pending, &voters, now_ms)
}

/// The end with which the leader closes an upgrade, and its text.
fn closed(pending: &UpgradeStatus, now_ms: u64) -> (UpgradeEnd, String) {
    match decided(pending, now_ms) {
        Some(UpgradeRecord::Close { end, upgrade }) => {
            assert_eq!(upgrade, pending.upgrade);
            let text = end.to_string();
            (end, text)
        }
        other => panic!("{other:?}"),
    }
}

fn cause(end: &UpgradeEnd) -> Option<AbortCause> {
    match end {
        UpgradeEnd::Aborted { cause, .. } => Some(*cause),
        UpgradeEnd::Activated | UpgradeEnd::DryRunPassed => None,
    }
}

#[test]
fn the_leader_activates_once_all_voters_are_ready() {
    let mut some = pending(&[("node1", ready("s")), ("node3", ready("s"))]);
    assert_eq!(decided(&some, 0), None);
    // The report of a learner has no effect.
    some.reports.insert("learner".to_owned(), refused("no"));
    assert_eq!(decided(&some, 0), None);
    some.reports.insert("node2".to_owned(), ready("s"));
    let activate = UpgradeRecord::Activate {
        upgrade: Index(7),
        route: MigrationRoute::Snapshot,
        state: Sha256::of(b"s"),
    };
    assert_eq!(decided(&some, 0), Some(activate));
}

#[test]
fn a_dry_run_ends_once_all_voters_are_ready() {
    let results = ["node1", "node2", "node3"].map(|node| (node, ready("s")));
    let mut all = pending(&results);
    all.dry_run = true;
    assert_eq!(closed(&all, 0).0, UpgradeEnd::DryRunPassed);
}

#[test]
fn one_voter_that_refuses_ends_the_upgrade_and_is_named() {
    let one = pending(&[("node2", refused("it imports a clock"))]);
    let (end, text) = closed(&one, 0);
    assert_eq!(cause(&end), Some(AbortCause::NodeRefused));
    assert!(text.contains("node2: it imports a clock"), "{text}");
}

#[test]
fn voters_without_a_report_are_named_at_the_deadline() {
    let one = pending(&[("node2", ready("s"))]);
    assert_eq!(decided(&one, DEADLINE_MS - 1), None);
    let (end, text) = closed(&one, DEADLINE_MS);
    assert_eq!(cause(&end), Some(AbortCause::TimedOut));
    assert!(text.contains("node1, node3"), "{text}");
    let incomplete = UpgradeStatus {
        received: 3,
        staged_at: None,
        ..pending(&[])
    };
    assert_eq!(decided(&incomplete, 0), None);
    let (_, text) = closed(&incomplete, DEADLINE_MS);
    assert!(text.contains("3 of 10 bytes"), "{text}");
}

#[test]
fn different_states_on_two_voters_end_the_upgrade() {
    let differ = |one: CheckResult, other: CheckResult| {
        let two = pending(&[("node1", one), ("node3", other)]);
        decided(&two, 0).map(|_| cause(&closed(&two, 0).0))
    };
    let differs = Some(Some(AbortCause::StatesDiffer));
    assert_eq!(differ(ready("s"), ready("t")), differs);
    // States after different entries are not compared.
    assert_eq!(
        differ(ready("s"), ready_at(9, MigrationRoute::Snapshot, "t")),
        None
    );
    assert_eq!(
        differ(ready("s"), ready_at(8, MigrationRoute::Journal, "s")),
        differs
    );
    let journal = |at, state| ready_at(at, MigrationRoute::Journal, state);
    assert_eq!(differ(journal(8, "s"), journal(9, "t")), differs);
    assert_eq!(differ(journal(8, "s"), journal(8, "s")), None);
}

#[test]
fn a_long_reason_is_cut_to_the_limit_of_the_log() {
    let long = pending(&[("node1", refused(&"ü".repeat(4_000)))]);
    let Some(record) = decided(&long, 0) else {
        panic!("no decision");
    };
    let decoded = Envelope::decode(&Envelope::upgrade(&record));
    assert_eq!(decoded, Ok(Envelope::Upgrade(record)));
}
