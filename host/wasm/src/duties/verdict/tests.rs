use super::*;
use crate::records::audit::AuditRecord;

fn hash(text: &str) -> Sha256 {
    Sha256::of(text.as_bytes())
}

fn audit(own: Option<&str>, responses: &[(&str, &str)]) -> Audit {
    Audit {
        requested_at: Some(Index(7)),
        own: own.map(hash),
        reports: responses
            .iter()
            .map(|(node, text)| ((*node).to_owned(), hash(text)))
            .collect(),
        ..Audit::default()
    }
}

fn voters() -> [NodeId; 3] {
    ["node1", "node2", "node3"].map(NodeId::from)
}

fn evaluated(audit: &Audit) -> (AuditVerdict, Findings) {
    let mut verdict = AuditVerdict::default();
    verdict.evaluate(audit, &voters(), "node1");
    let findings = verdict.findings().clone();
    (verdict, findings)
}

#[test]
fn nodes_that_agree_serve_requests() {
    let all = audit(Some("s"), &[("node1", "s"), ("node2", "s"), ("node3", "s")]);
    let (verdict, findings) = evaluated(&all);
    assert!(!verdict.is_quarantined());
    assert_eq!((findings.agreeing, findings.differing.len()), (3, 0));
}

#[test]
fn a_node_that_differs_from_the_majority_is_listed_and_quarantines_itself() {
    let others = [("node1", "t"), ("node2", "s"), ("node3", "s")];
    let (verdict, findings) = evaluated(&audit(Some("t"), &others));
    assert!(verdict.is_quarantined());
    assert_eq!(findings.differing, ["node1"]);
    // Also before its own hash is in the log. The other nodes keep serving.
    let (verdict, _) = evaluated(&audit(Some("t"), &others[1..]));
    assert!(verdict.is_quarantined());
    let (verdict, findings) = evaluated(&audit(
        Some("s"),
        &[("node1", "s"), ("node2", "s"), ("node3", "t")],
    ));
    assert!(!verdict.is_quarantined());
    assert_eq!(findings.differing, ["node3"]);
    // A learner that differs is listed too.
    let learner = [("node1", "s"), ("node2", "s"), ("learner", "t")];
    assert_eq!(
        evaluated(&audit(Some("s"), &learner)).1.differing,
        ["learner"]
    );
}

#[test]
fn a_node_that_differs_is_listed_until_another_audit_has_a_majority() {
    let all = [("node1", "s"), ("node2", "s"), ("node3", "t")];
    let (mut verdict, _) = evaluated(&audit(Some("s"), &all));
    let mut next = audit(Some("s"), &[]);
    next.requested_at = Some(Index(9));
    verdict.evaluate(&next, &voters(), "node1");
    assert_eq!(verdict.findings().differing, ["node3"]);
    for (node, own) in [("node1", "s"), ("node3", "t"), ("node2", "s")] {
        assert_eq!(verdict.findings().differing, ["node3"]);
        next.reports.insert(node.to_owned(), hash(own));
        verdict.evaluate(&next, &voters(), "node1");
    }
    next.reports.insert("node3".to_owned(), hash("s"));
    verdict.evaluate(&next, &voters(), "node1");
    assert_eq!(verdict.findings().differing, [""; 0]);
}

#[test]
fn without_a_majority_no_node_is_quarantined() {
    let (verdict, findings) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "t")]));
    assert!(!verdict.is_quarantined() && findings.undecided);
    // Learners don't count towards a majority.
    let learners = [("a", "t"), ("b", "t"), ("c", "t"), ("node1", "s")];
    let (verdict, findings) = evaluated(&audit(Some("s"), &learners));
    assert!(!verdict.is_quarantined() && findings.undecided);
    let (verdict, findings) = evaluated(&audit(Some("s"), &[("node1", "s")]));
    assert!(!verdict.is_quarantined() && !findings.undecided);
}

#[test]
fn a_node_without_a_hash_for_the_audit_sends_none_and_is_not_quarantined() {
    let without_hash = audit(None, &[("node2", "s"), ("node3", "s")]);
    assert_eq!(without_hash.missing_report("node1"), None);
    assert!(!evaluated(&without_hash).0.is_quarantined());
}

#[test]
fn a_hash_is_proposed_once() {
    let record = audit(Some("s"), &[]).missing_report("node1");
    assert_eq!(
        record,
        Some(AuditRecord::Report {
            requested_at: Index(7),
            hash: hash("s"),
            node: "node1".to_owned()
        })
    );
    assert_eq!(
        audit(Some("s"), &[("node1", "s")]).missing_report("node1"),
        None
    );
}

#[test]
fn writes_stop_when_no_majority_is_possible_any_more() {
    // The third voter can still make a majority.
    let (verdict, findings) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "t")]));
    assert!(findings.undecided && !verdict.are_writes_stopped());
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let (verdict, findings) = evaluated(&audit(Some("s"), &all));
    assert!(findings.undecided && verdict.are_writes_stopped());
    assert!(!verdict.is_quarantined());
}

#[test]
fn writes_stop_when_a_voter_does_not_report_in_time() {
    let (mut verdict, _) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "t")]));
    verdict.stop_writes();
    assert!(verdict.are_writes_stopped());
    // Without a difference there is nothing to stop.
    let (mut verdict, _) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "s")]));
    verdict.stop_writes();
    assert!(!verdict.are_writes_stopped());
}

#[test]
fn writes_stay_stopped_until_an_audit_finds_a_majority() {
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let (mut verdict, _) = evaluated(&audit(Some("s"), &all));
    let mut next = audit(Some("v"), &[]);
    next.requested_at = Some(Index(9));
    for report in [("node1", "v"), ("node2", "w")] {
        next.reports.insert(report.0.to_owned(), hash(report.1));
        verdict.evaluate(&next, &voters(), "node1");
        assert!(verdict.are_writes_stopped(), "the audit has not ended");
    }
    next.reports.insert("node3".to_owned(), hash("v"));
    verdict.evaluate(&next, &voters(), "node1");
    assert!(!verdict.are_writes_stopped());
}

#[test]
fn a_node_that_stopped_writes_accepts_none_after_a_restart_before_an_audit_ends() {
    let mut verdict = AuditVerdict::starting(false, Some(Index(7)));
    let mut open = audit(None, &[]);
    open.requested_at = None;
    verdict.evaluate(&open, &voters(), "node1");
    assert!(verdict.are_writes_stopped(), "there was no audit");
    // The node replays its log, in which an earlier audit found a majority.
    let mut earlier = audit(Some("r"), &[("node1", "r"), ("node2", "r"), ("node3", "r")]);
    earlier.requested_at = Some(Index(5));
    verdict.evaluate(&earlier, &voters(), "node1");
    assert!(verdict.are_writes_stopped(), "the audit is an earlier one");
    for reports in [&[("node1", "s")][..], &[("node1", "s"), ("node2", "t")]] {
        verdict.evaluate(&audit(Some("s"), reports), &voters(), "node1");
        assert!(verdict.are_writes_stopped(), "the audit is open");
    }
    let agreed = [("node1", "s"), ("node2", "t"), ("node3", "s")];
    verdict.evaluate(&audit(Some("s"), &agreed), &voters(), "node1");
    assert!(!verdict.are_writes_stopped());
}

#[test]
fn an_accepted_state_counts_as_that_of_the_majority() {
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let mut accepted = audit(Some("s"), &all);
    accepted.accepted = Some(hash("t"));
    let (verdict, findings) = evaluated(&accepted);
    assert!(verdict.is_quarantined() && !verdict.are_writes_stopped());
    assert_eq!(findings.differing, ["node1", "node3"]);
    let intact = verdict.intact_voter(&accepted, &voters(), "node1", 0);
    assert_eq!(intact, Some(NodeId::from("node2")));
}

#[test]
fn a_state_that_was_accepted_for_an_earlier_audit_counts_where_no_majority_agrees() {
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let mut accepted = audit(Some("s"), &all);
    accepted.accepted_nodes = ["node2".to_owned()].into();
    let (verdict, findings) = evaluated(&accepted);
    assert!(verdict.is_quarantined() && !verdict.are_writes_stopped());
    assert_eq!(findings.differing, ["node1", "node3"]);
    // A majority that agrees needs no operator.
    let agreed = [("node1", "s"), ("node2", "t"), ("node3", "s")];
    let mut accepted = audit(Some("s"), &agreed);
    accepted.accepted_nodes = ["node2".to_owned()].into();
    let (verdict, findings) = evaluated(&accepted);
    assert!(!verdict.is_quarantined());
    assert_eq!(findings.differing, ["node2"]);
}

#[test]
fn leadership_is_transferred_to_a_voter_with_the_state_of_the_majority_only() {
    let others = [("node1", "t"), ("node2", "s"), ("node3", "s"), ("x", "s")];
    let intact = |audit: &Audit, me| AuditVerdict::default().intact_voter(audit, &voters(), me, 0);
    assert_eq!(
        intact(&audit(Some("t"), &others), "node1"),
        Some(NodeId::from("node2"))
    );
    assert_eq!(
        intact(&audit(Some("s"), &others), "node2"),
        Some(NodeId::from("node3"))
    );
    assert_eq!(intact(&audit(Some("t"), &others[..2]), "node1"), None);
}

#[test]
fn each_attempt_to_transfer_leadership_is_to_another_intact_voter() {
    let voters = ["node1", "node2", "node3", "node4"].map(NodeId::from);
    let reports = [
        ("node1", "t"),
        ("node2", "s"),
        ("node3", "s"),
        ("node4", "s"),
    ];
    let all = audit(Some("t"), &reports);
    let verdict = AuditVerdict::default();
    let to = [0, 1, 2, 3].map(|attempt| verdict.intact_voter(&all, &voters, "node1", attempt));
    assert_eq!(
        to,
        ["node2", "node3", "node4", "node2"].map(|id| Some(NodeId::from(id)))
    );
}

#[test]
fn a_node_that_agrees_with_the_majority_again_leaves_quarantine() {
    let others = [("node1", "t"), ("node2", "s"), ("node3", "s")];
    let (mut verdict, _) = evaluated(&audit(Some("t"), &others));
    let all = [("node1", "s"), ("node2", "s"), ("node3", "t")];
    verdict.evaluate(&audit(Some("s"), &all), &voters(), "node1");
    assert!(!verdict.is_quarantined());
    assert_eq!(verdict.quarantine().reinstalls, 0);
}

#[test]
fn a_node_that_starts_in_quarantine_neither_leaves_nor_enters_it_by_audits_that_it_replays() {
    let mut verdict = AuditVerdict::starting(true, None);
    let started = verdict.quarantine();
    // One from before it diverged, the one that has shown it, and one with a state that was right once more.
    let before = audit(Some("s"), &[("node1", "s"), ("node2", "s"), ("node3", "s")]);
    let mut shown = audit(Some("t"), &[("node1", "t"), ("node2", "s"), ("node3", "s")]);
    shown.requested_at = Some(Index(9));
    let mut agrees = before.clone();
    agrees.requested_at = Some(Index(10));
    let replayed = [before, shown, agrees];
    for audit in &replayed {
        verdict.evaluate(audit, &voters(), "node1");
        assert_eq!(verdict.quarantine(), started);
    }
    // With the state of the leader it serves, and the same audits say nothing about that state.
    verdict.leave_quarantine(Index(12));
    let serving = verdict.quarantine();
    for audit in &replayed {
        verdict.evaluate(audit, &voters(), "node1");
        assert_eq!(verdict.quarantine(), serving);
    }
    assert!(!verdict.is_quarantined());
}

/// The audit had ended before the node noticed that its state was replaced.
#[test]
fn a_new_state_that_an_audit_has_shown_to_differ_ends_no_quarantine() {
    let reports = [("node1", "t"), ("node2", "s"), ("node3", "s")];
    let mut verdict = evaluated(&audit(Some("t"), &reports)).0;
    let mut later = audit(Some("t"), &reports);
    later.requested_at = Some(Index(14));
    verdict.evaluate(&later, &voters(), "node1");
    verdict.leave_quarantine(Index(12));
    assert!(verdict.is_quarantined());
    assert_eq!(verdict.quarantine().reinstalls, 1);
    verdict.leave_quarantine(Index(14));
    assert!(!verdict.is_quarantined());
}

#[test]
fn only_an_operator_accepts_the_state_of_a_node_alone() {
    let mut verdict = AuditVerdict::starting(true, None);
    let alone = [NodeId::from("node1")];
    let mut own = audit(Some("s"), &[("node1", "s")]);
    verdict.evaluate(&own, &alone, "node1");
    assert!(verdict.is_quarantined(), "it always agrees with itself");
    own.accepted = Some(hash("s"));
    verdict.evaluate(&own, &alone, "node1");
    assert!(!verdict.is_quarantined());
}

#[test]
fn a_reply_is_sent_only_by_a_node_that_has_served_and_while_a_majority_agrees() {
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let (verdict, _) = evaluated(&audit(Some("s"), &all));
    let before = Quarantine::default();
    assert!(verdict.has_served_since(before) && !verdict.acknowledges_since(before));
    let (verdict, _) = evaluated(&audit(Some("t"), &[("node2", "s"), ("node3", "s")]));
    assert!(!verdict.acknowledges_since(before), "it is in quarantine");
    let (mut verdict, _) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "s")]));
    assert!(verdict.acknowledges_since(before));
    verdict.leave_quarantine(Index(8));
    assert!(
        !verdict.acknowledges_since(before),
        "its state was replaced"
    );
    assert!(verdict.acknowledges_since(verdict.quarantine()));
}
