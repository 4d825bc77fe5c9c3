use super::*;

fn hash(text: &str) -> Sha256 {
    Sha256::of(text.as_bytes())
}

fn audit(own: Option<&str>, heard: &[(&str, &str)]) -> Audit {
    Audit {
        requested_at: Some(Index(7)),
        own: own.map(hash),
        reports: heard
            .iter()
            .map(|(node, text)| ((*node).to_owned(), hash(text)))
            .collect(),
        is_due: false,
    }
}

fn voters() -> [NodeId; 3] {
    ["node1", "node2", "node3"].map(NodeId::from)
}

fn judged(audit: &Audit) -> (Auditor, Findings) {
    let auditor = Auditor::default();
    auditor.judge(audit, &voters(), "node1");
    let findings = auditor.findings();
    (auditor, findings)
}

#[test]
fn nodes_that_agree_are_left_alone() {
    let all = audit(Some("s"), &[("node1", "s"), ("node2", "s"), ("node3", "s")]);
    let (auditor, findings) = judged(&all);
    assert!(!auditor.is_quarantined());
    assert_eq!((findings.agreeing, findings.differing.len()), (3, 0));
}

#[test]
fn one_that_differs_from_the_majority_is_named_and_knows_it_itself() {
    let others = [("node1", "t"), ("node2", "s"), ("node3", "s")];
    let (auditor, findings) = judged(&audit(Some("t"), &others));
    assert!(auditor.is_quarantined());
    assert_eq!(findings.differing, ["node1"]);
    // It knows before it has been heard, and the others go on.
    let (auditor, _) = judged(&audit(Some("t"), &others[1..]));
    assert!(auditor.is_quarantined());
    let (auditor, findings) = judged(&audit(
        Some("s"),
        &[("node1", "s"), ("node2", "s"), ("node3", "t")],
    ));
    assert!(!auditor.is_quarantined());
    assert_eq!(findings.differing, ["node3"]);
    // A learner that differs is named as well.
    let learner = [("node1", "s"), ("node2", "s"), ("learner", "t")];
    assert_eq!(judged(&audit(Some("s"), &learner)).1.differing, ["learner"]);
}

#[test]
fn without_a_majority_nobody_is_judged() {
    let (auditor, findings) = judged(&audit(Some("s"), &[("node1", "s"), ("node2", "t")]));
    assert!(!auditor.is_quarantined() && findings.undecided);
    // Learners make no majority.
    let learners = [("a", "t"), ("b", "t"), ("c", "t"), ("node1", "s")];
    let (auditor, findings) = judged(&audit(Some("s"), &learners));
    assert!(!auditor.is_quarantined() && findings.undecided);
    let (auditor, findings) = judged(&audit(Some("s"), &[("node1", "s")]));
    assert!(!auditor.is_quarantined() && !findings.undecided);
}

#[test]
fn a_node_that_was_not_there_has_nothing_to_say_and_is_not_judged() {
    let absent = audit(None, &[("node2", "s"), ("node3", "s")]);
    assert_eq!(answer(&absent, "node1"), None);
    assert!(!judged(&absent).0.is_quarantined());
}

#[test]
fn an_answer_is_given_once() {
    let say = answer(&audit(Some("s"), &[]), "node1");
    assert_eq!(
        say,
        Some(AuditRecord::Report {
            requested_at: Index(7),
            hash: hash("s"),
            node: "node1".to_owned()
        })
    );
    assert_eq!(answer(&audit(Some("s"), &[("node1", "s")]), "node1"), None);
}
