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
