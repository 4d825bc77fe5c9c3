use super::*;

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
        accepted: None,
        is_due: false,
    }
}

fn voters() -> [NodeId; 3] {
    ["node1", "node2", "node3"].map(NodeId::from)
}

fn evaluated(audit: &Audit) -> (Auditor, Findings) {
    let auditor = Auditor::default();
    auditor.evaluate(audit, &voters(), "node1");
    let findings = auditor.findings();
    (auditor, findings)
}

#[test]
fn nodes_that_agree_serve_requests() {
    let all = audit(Some("s"), &[("node1", "s"), ("node2", "s"), ("node3", "s")]);
    let (auditor, findings) = evaluated(&all);
    assert!(!auditor.is_quarantined());
    assert_eq!((findings.agreeing, findings.differing.len()), (3, 0));
}

#[test]
fn a_node_that_differs_from_the_majority_is_listed_and_quarantines_itself() {
    let others = [("node1", "t"), ("node2", "s"), ("node3", "s")];
    let (auditor, findings) = evaluated(&audit(Some("t"), &others));
    assert!(auditor.is_quarantined());
    assert_eq!(findings.differing, ["node1"]);
    // Also before its own hash is in the log. The other nodes keep serving.
    let (auditor, _) = evaluated(&audit(Some("t"), &others[1..]));
    assert!(auditor.is_quarantined());
    let (auditor, findings) = evaluated(&audit(
        Some("s"),
        &[("node1", "s"), ("node2", "s"), ("node3", "t")],
    ));
    assert!(!auditor.is_quarantined());
    assert_eq!(findings.differing, ["node3"]);
    // A learner that differs is listed too.
    let learner = [("node1", "s"), ("node2", "s"), ("learner", "t")];
    assert_eq!(
        evaluated(&audit(Some("s"), &learner)).1.differing,
        ["learner"]
    );
}

#[test]
fn without_a_majority_no_node_is_quarantined() {
    let (auditor, findings) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "t")]));
    assert!(!auditor.is_quarantined() && findings.undecided);
    // Learners don't count towards a majority.
    let learners = [("a", "t"), ("b", "t"), ("c", "t"), ("node1", "s")];
    let (auditor, findings) = evaluated(&audit(Some("s"), &learners));
    assert!(!auditor.is_quarantined() && findings.undecided);
    let (auditor, findings) = evaluated(&audit(Some("s"), &[("node1", "s")]));
    assert!(!auditor.is_quarantined() && !findings.undecided);
}

#[test]
fn a_node_without_a_hash_for_the_audit_sends_none_and_is_not_quarantined() {
    let without_hash = audit(None, &[("node2", "s"), ("node3", "s")]);
    assert_eq!(response(&without_hash, "node1"), None);
    assert!(!evaluated(&without_hash).0.is_quarantined());
}

#[test]
fn a_hash_is_proposed_once() {
    let record = response(&audit(Some("s"), &[]), "node1");
    assert_eq!(
        record,
        Some(AuditRecord::Report {
            requested_at: Index(7),
            hash: hash("s"),
            node: "node1".to_owned()
        })
    );
    assert_eq!(
        response(&audit(Some("s"), &[("node1", "s")]), "node1"),
        None
    );
}

#[test]
fn writes_stop_when_no_majority_is_possible_any_more() {
    // The third voter can still make a majority.
    let (auditor, findings) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "t")]));
    assert!(findings.undecided && !auditor.are_writes_stopped());
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let (auditor, findings) = evaluated(&audit(Some("s"), &all));
    assert!(findings.undecided && auditor.are_writes_stopped());
    assert!(!auditor.is_quarantined());
}

#[test]
fn writes_stop_when_a_voter_does_not_report_in_time() {
    let (auditor, _) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "t")]));
    auditor.stop_writes();
    assert!(auditor.are_writes_stopped());
    // Without a difference there is nothing to stop.
    let (auditor, _) = evaluated(&audit(Some("s"), &[("node1", "s"), ("node2", "s")]));
    auditor.stop_writes();
    assert!(!auditor.are_writes_stopped());
}

#[test]
fn writes_stay_stopped_until_an_audit_finds_a_majority() {
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let (auditor, _) = evaluated(&audit(Some("s"), &all));
    let mut next = audit(Some("v"), &[]);
    next.requested_at = Some(Index(9));
    for report in [("node1", "v"), ("node2", "w")] {
        next.reports.insert(report.0.to_owned(), hash(report.1));
        auditor.evaluate(&next, &voters(), "node1");
        assert!(auditor.are_writes_stopped(), "the audit has not ended");
    }
    next.reports.insert("node3".to_owned(), hash("v"));
    auditor.evaluate(&next, &voters(), "node1");
    assert!(!auditor.are_writes_stopped());
}

#[test]
fn a_node_that_stopped_writes_accepts_none_after_a_restart_before_an_audit_ends() {
    let auditor = Auditor::starting(false, Some(Index(7)));
    let mut open = audit(None, &[]);
    open.requested_at = None;
    auditor.evaluate(&open, &voters(), "node1");
    assert!(auditor.are_writes_stopped(), "there was no audit");
    // The node replays its log, in which an earlier audit found a majority.
    let mut earlier = audit(Some("r"), &[("node1", "r"), ("node2", "r"), ("node3", "r")]);
    earlier.requested_at = Some(Index(5));
    auditor.evaluate(&earlier, &voters(), "node1");
    assert!(auditor.are_writes_stopped(), "the audit is an earlier one");
    for reports in [&[("node1", "s")][..], &[("node1", "s"), ("node2", "t")]] {
        auditor.evaluate(&audit(Some("s"), reports), &voters(), "node1");
        assert!(auditor.are_writes_stopped(), "the audit is open");
    }
    let agreed = [("node1", "s"), ("node2", "t"), ("node3", "s")];
    auditor.evaluate(&audit(Some("s"), &agreed), &voters(), "node1");
    assert!(!auditor.are_writes_stopped());
}

#[tokio::test]
async fn wake_ups_wait_until_commands_are_accepted() {
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let (auditor, _) = evaluated(&audit(Some("s"), &all));
    let waiting = tokio::spawn({
        let auditor = auditor.clone();
        async move { auditor.writes_accepted().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let agreed = [("node1", "s"), ("node2", "s")];
    auditor.evaluate(&audit(Some("s"), &agreed), &voters(), "node1");
    waiting.await.unwrap();
}

#[test]
fn an_accepted_state_counts_as_that_of_the_majority() {
    let all = [("node1", "s"), ("node2", "t"), ("node3", "u")];
    let mut accepted = audit(Some("s"), &all);
    accepted.accepted = Some(hash("t"));
    let (auditor, findings) = evaluated(&accepted);
    assert!(auditor.is_quarantined() && !auditor.are_writes_stopped());
    assert_eq!(findings.differing, ["node1", "node3"]);
    let intact = intact_voter(&accepted, &voters(), "node1");
    assert_eq!(intact, Some(NodeId::from("node2")));
}

#[test]
fn leadership_is_transferred_to_a_voter_with_the_state_of_the_majority_only() {
    let others = [("node1", "t"), ("node2", "s"), ("node3", "s"), ("x", "s")];
    let intact = |audit: &Audit, me| intact_voter(audit, &voters(), me);
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
fn a_node_that_agrees_with_the_majority_again_leaves_quarantine() {
    let auditor = Auditor::starting(true, None);
    let all = [("node1", "s"), ("node2", "s"), ("node3", "t")];
    auditor.evaluate(&audit(Some("s"), &all), &voters(), "node1");
    assert!(!auditor.is_quarantined());
    assert_eq!(auditor.quarantine().reinstalls, 0);
}

#[test]
fn only_an_operator_accepts_the_state_of_a_node_alone() {
    let auditor = Auditor::starting(true, None);
    let alone = [NodeId::from("node1")];
    let mut own = audit(Some("s"), &[("node1", "s")]);
    auditor.evaluate(&own, &alone, "node1");
    assert!(auditor.is_quarantined(), "it always agrees with itself");
    own.accepted = Some(hash("s"));
    auditor.evaluate(&own, &alone, "node1");
    assert!(!auditor.is_quarantined());
}
