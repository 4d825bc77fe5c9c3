//! Audits of the complete state.

use super::*;
use crate::machine::state_digest::NOT_COMPARABLE;

const NONE: &str = "";

fn digest(text: &str) -> Sha256 {
    if text == NONE {
        NOT_COMPARABLE
    } else {
        Sha256::of(text.as_bytes())
    }
}

fn evaluated(own: &str, reports: &[(&str, &str)]) -> (AuditVerdict, StateFindings) {
    let reports = reports.iter();
    let audit = Audit {
        requested_at: Some(Index(7)),
        own: Some(digest(own)),
        reports: reports
            .map(|(node, text)| ((*node).to_owned(), digest(text)))
            .collect(),
        ..Audit::default()
    };
    let mut verdict = AuditVerdict::default();
    let voters = ["node1", "node2", "node3"].map(NodeId::from);
    verdict.evaluate_states(&audit, &voters, "node1");
    let findings = verdict.state_findings().clone();
    (verdict, findings)
}

#[test]
fn a_node_whose_state_differs_from_the_majority_quarantines_itself() {
    let (verdict, findings) = evaluated("t", &[("node1", "t"), ("node2", "s"), ("node3", "s")]);
    assert!(verdict.is_quarantined());
    assert_eq!(findings.differing, ["node1"]);
    let (verdict, findings) = evaluated("s", &[("node1", "s"), ("node2", "s"), ("node3", "t")]);
    assert!(!verdict.is_quarantined());
    assert_eq!(
        (findings.agreeing, findings.differing),
        (2, vec!["node3".to_owned()])
    );
}

/// Two nodes with the same wrong state, whose hashes are right, would give the leadership to each other, and their state too.
#[test]
fn a_voter_whose_complete_state_differs_gets_no_leadership() {
    let reports = [("node1", "t"), ("node2", "t"), ("node3", "s")];
    let voters = ["node1", "node2", "node3", "node4", "node5"].map(NodeId::from);
    let states = Audit {
        requested_at: Some(Index(7)),
        own: Some(digest("t")),
        reports: reports
            .iter()
            .chain(&[("node4", "s"), ("node5", "s")])
            .map(|(node, text)| ((*node).to_owned(), digest(text)))
            .collect(),
        ..Audit::default()
    };
    let hashes = Audit {
        requested_at: Some(Index(6)),
        own: Some(digest("h")),
        reports: voters
            .iter()
            .map(|voter| (voter.as_str().to_owned(), digest("h")))
            .collect(),
        ..Audit::default()
    };
    let mut verdict = AuditVerdict::default();
    let before = verdict.intact_voter(&hashes, &voters, "node1", 0);
    assert_eq!(before, Some(NodeId::from("node2")));
    verdict.evaluate(&hashes, &voters, "node1");
    verdict.evaluate_states(&states, &voters, "node1");
    let to = [0, 1, 2, 3].map(|attempt| verdict.intact_voter(&hashes, &voters, "node1", attempt));
    assert_eq!(
        to,
        ["node3", "node4", "node5", "node3"].map(|id| Some(NodeId::from(id)))
    );
}

#[test]
fn equal_hashes_do_not_end_a_quarantine_by_an_audit_of_the_state() {
    let (mut verdict, _) = evaluated("t", &[("node1", "t"), ("node2", "s"), ("node3", "s")]);
    let hash = digest("h");
    let hashes = ["node1", "node2", "node3"].map(|node| (node.to_owned(), hash));
    let mut audit = Audit {
        requested_at: Some(Index(9)),
        own: Some(hash),
        reports: hashes.into(),
        ..Audit::default()
    };
    let voters = ["node1", "node2", "node3"].map(NodeId::from);
    verdict.evaluate(&audit, &voters, "node1");
    assert!(verdict.is_quarantined());
    // An operator's decision does.
    audit.accepted = Some(hash);
    verdict.evaluate(&audit, &voters, "node1");
    assert!(!verdict.is_quarantined());
}

#[test]
fn equal_hashes_do_not_end_a_quarantine_in_which_the_state_was_found_to_differ() {
    let mut verdict = AuditVerdict::default();
    let voters = ["node1", "node2", "node3"].map(NodeId::from);
    let reports = |own: &str| {
        [("node1", own), ("node2", "s"), ("node3", "s")]
            .map(|(node, text)| (node.to_owned(), digest(text)))
    };
    let audit = |index, own| Audit {
        requested_at: Some(Index(index)),
        own: Some(digest(own)),
        reports: reports(own).into(),
        ..Audit::default()
    };
    verdict.evaluate(&audit(7, "t"), &voters, "node1");
    verdict.evaluate_states(&audit(8, "t"), &voters, "node1");
    verdict.evaluate(&audit(9, "s"), &voters, "node1");
    assert!(verdict.is_quarantined());
}

#[test]
fn without_a_majority_no_node_is_quarantined() {
    let (verdict, findings) = evaluated("t", &[("node1", "t"), ("node2", "s")]);
    assert!(!verdict.is_quarantined());
    assert_eq!(findings.differing, [""; 0]);
}

#[test]
fn a_guest_that_writes_a_state_in_different_ways_is_not_compared() {
    let (verdict, findings) = evaluated("t", &[("node1", "t"), ("node2", "s"), ("node3", NONE)]);
    assert!(!verdict.is_quarantined());
    assert_eq!(findings.not_comparable, ["node3"]);
    let (verdict, _) = evaluated(NONE, &[("node1", NONE), ("node2", "s"), ("node3", "s")]);
    assert!(!verdict.is_quarantined());
}

/// Three nodes with a refused state wrote it in the same way. They would convict the one whose state an operator has accepted, and
/// then no node served any more.
#[test]
fn nodes_whose_outcomes_were_refused_convict_no_other() {
    let nodes = ["node1", "node2", "node3", "node4", "node5"];
    let voters = nodes.map(NodeId::from);
    let audit = |index, own: &str, texts: [&str; 5]| Audit {
        requested_at: Some(Index(index)),
        own: Some(digest(own)),
        reports: nodes
            .iter()
            .zip(texts)
            .map(|(node, text)| ((*node).to_owned(), digest(text)))
            .collect(),
        ..Audit::default()
    };
    let mut hashes = audit(6, "h", ["h", "x", "x", "x", "y"]);
    hashes.accepted = Some(digest("h"));
    let mut verdict = AuditVerdict::default();
    verdict.evaluate(&hashes, &voters, "node1");
    let states = audit(7, "s", ["s", "t", "t", "t", "u"]);
    verdict.evaluate_states(&states, &voters, "node1");
    assert!(!verdict.is_quarantined());
    assert_eq!(verdict.state_findings().differing, [""; 0]);
    // Without the acceptance they are the majority.
    let mut verdict = AuditVerdict::default();
    verdict.evaluate_states(&states, &voters, "node1");
    assert!(verdict.is_quarantined());
}
