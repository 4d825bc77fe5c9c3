//! What the leader and the others say, for each state of things.

use std::collections::BTreeMap;

use super::*;

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

fn refused(words: &str) -> CheckResult {
    CheckResult::Refused {
        message: words.to_owned(),
    }
}

fn pending(reports: &[(&str, CheckResult)]) -> UpgradeStatus {
    let reports: BTreeMap<String, CheckResult> = reports
        .iter()
        .map(|(node, verdict)| ((*node).to_owned(), verdict.clone()))
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

/// How it is closed.
fn closed(pending: &UpgradeStatus, now_ms: u64) -> (UpgradeEnd, String) {
    match decided(pending, now_ms) {
        Some(UpgradeRecord::Close { end, upgrade }) => {
            assert_eq!(upgrade, pending.upgrade);
            let words = end.to_string();
            (end, words)
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
fn it_is_activated_once_every_voter_is_ready_and_not_before() {
    let mut some = pending(&[("node1", ready("s")), ("node3", ready("s"))]);
    assert_eq!(decided(&some, 0), None);
    // One that does not vote is not waited for, nor does it stand in for one that does.
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
fn a_dry_run_ends_where_another_would_be_activated() {
    let verdicts = ["node1", "node2", "node3"].map(|node| (node, ready("s")));
    let mut all = pending(&verdicts);
    all.dry_run = true;
    assert_eq!(closed(&all, 0).0, UpgradeEnd::DryRunPassed);
}

#[test]
fn one_voter_that_refuses_is_enough_and_is_named() {
    let one = pending(&[("node2", refused("it imports a clock"))]);
    let (end, words) = closed(&one, 0);
    assert_eq!(cause(&end), Some(AbortCause::NodeRefused));
    assert!(words.contains("node2: it imports a clock"), "{words}");
}

#[test]
fn who_is_not_heard_of_in_time_is_named() {
    let one = pending(&[("node2", ready("s"))]);
    assert_eq!(decided(&one, DEADLINE_MS - 1), None);
    let (end, words) = closed(&one, DEADLINE_MS);
    assert_eq!(cause(&end), Some(AbortCause::TimedOut));
    assert!(words.contains("node1, node3"), "{words}");
    let cut_short = UpgradeStatus {
        received: 3,
        staged_at: None,
        ..pending(&[])
    };
    assert_eq!(decided(&cut_short, 0), None);
    let (_, words) = closed(&cut_short, DEADLINE_MS);
    assert!(words.contains("3 of 10 bytes"), "{words}");
}

#[test]
fn voters_that_come_to_different_states_end_it() {
    let differ = |one: CheckResult, other: CheckResult| {
        let two = pending(&[("node1", one), ("node3", other)]);
        decided(&two, 0).map(|_| cause(&closed(&two, 0).0))
    };
    let differs = Some(Some(AbortCause::StatesDiffer));
    assert_eq!(differ(ready("s"), ready("t")), differs);
    // A copy of another entry's state is another one.
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
fn words_are_cut_to_what_the_log_takes() {
    let long = pending(&[("node1", refused(&"ü".repeat(4_000)))]);
    let Some(word) = decided(&long, 0) else {
        panic!("it is refused");
    };
    let decoded = Envelope::decode(&Envelope::upgrade(&word));
    assert_eq!(decoded, Ok(Envelope::Upgrade(word)));
}
