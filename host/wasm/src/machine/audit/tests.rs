use bytes::Bytes;

use super::*;
use crate::records::audit::MAX_NAME_BYTES;
use crate::records::envelope::{Envelope, EnvelopeError};

fn report(requested_at: u64, node: &str) -> AuditRecord {
    AuditRecord::Report {
        requested_at: Index(requested_at),
        hash: Sha256([7; 32]),
        node: node.to_owned(),
    }
}

#[test]
fn an_acceptance_is_read_back_and_names_its_request() {
    let acceptance = StateAcceptance {
        requested_at: Index(7),
        hash: Sha256([9; 32]),
        by: "ann".to_owned(),
    };
    let bytes = Envelope::accept(&acceptance);
    assert_eq!(bytes[..2], [3, 2]);
    let read = Envelope::decode(&bytes);
    assert_eq!(read, Ok(Envelope::Accept(acceptance.clone())));
    assert_eq!(
        Envelope::decode(&bytes.slice(..20)),
        Err(EnvelopeError::Settings)
    );
    let mut audit = Audit::default();
    audit.take(Index(7), AuditRecord::Request);
    audit.accept(&acceptance);
    assert_eq!(audit.accepted, Some(Sha256([9; 32])));
    audit.take(Index(9), AuditRecord::Request);
    assert_eq!(audit.accepted, None);
}

fn report_of(requested_at: u64, node: &str, hash: u8) -> AuditRecord {
    AuditRecord::Report {
        requested_at: Index(requested_at),
        hash: Sha256([hash; 32]),
        node: node.to_owned(),
    }
}

fn acceptance(requested_at: u64, hash: u8) -> StateAcceptance {
    StateAcceptance {
        requested_at: Index(requested_at),
        hash: Sha256([hash; 32]),
        by: "ann".to_owned(),
    }
}

/// An audit at entry 7 in which three nodes have three states.
fn without_majority() -> Audit {
    let mut audit = Audit::default();
    audit.take(Index(7), AuditRecord::Request);
    for (node, hash) in [("node1", 1), ("node2", 2), ("node3", 3)] {
        audit.take(Index(8), report_of(7, node, hash));
    }
    audit
}

#[test]
fn an_acceptance_that_the_next_audit_has_overtaken_counts_for_the_state_of_the_same_node() {
    let mut audit = without_majority();
    audit.take(Index(11), AuditRecord::Request);
    audit.take(Index(12), report_of(11, "node1", 4));
    audit.accept(&acceptance(7, 2));
    assert_eq!(audit.accepted, None);
    assert_eq!(audit.accepted_earlier(), None, "node2 has not reported yet");
    // Commands have changed the states since.
    audit.take(Index(13), report_of(11, "node2", 5));
    assert_eq!(audit.accepted_earlier(), Some(Sha256([5; 32])));
    // It holds until the reports agree.
    audit.take(Index(14), AuditRecord::Request);
    audit.take(Index(15), report_of(14, "node2", 6));
    assert_eq!(audit.accepted_earlier(), Some(Sha256([6; 32])));
    audit.take(Index(16), report_of(14, "node1", 6));
    audit.take(Index(17), AuditRecord::Request);
    audit.take(Index(18), report_of(17, "node2", 6));
    assert_eq!(audit.accepted_earlier(), None);
}

#[test]
fn an_acceptance_holds_when_the_next_audit_follows_it_at_once() {
    let mut audit = without_majority();
    audit.accept(&acceptance(7, 2));
    audit.take(Index(10), AuditRecord::Request);
    audit.take(Index(11), report_of(10, "node1", 1));
    assert_eq!(audit.accepted_earlier(), None);
    audit.take(Index(12), report_of(10, "node2", 2));
    assert_eq!(audit.accepted_earlier(), Some(Sha256([2; 32])));
}

#[test]
fn nodes_with_the_accepted_state_that_differ_later_are_not_accepted() {
    let mut audit = without_majority();
    audit.take(Index(9), report_of(7, "node4", 2));
    audit.accept(&acceptance(7, 2));
    audit.take(Index(10), AuditRecord::Request);
    audit.take(Index(11), report_of(10, "node2", 2));
    audit.take(Index(12), report_of(10, "node4", 4));
    assert_eq!(audit.accepted_earlier(), None);
}

#[test]
fn an_acceptance_for_an_unknown_audit_or_hash_has_no_effect() {
    for acceptance in [acceptance(6, 2), acceptance(7, 9)] {
        let mut audit = without_majority();
        audit.take(Index(10), AuditRecord::Request);
        for (node, hash) in [("node1", 1), ("node2", 2), ("node3", 3)] {
            audit.take(Index(11), report_of(10, node, hash));
        }
        audit.accept(&acceptance);
        assert_eq!((audit.accepted, audit.accepted_earlier()), (None, None));
    }
}

#[test]
fn the_number_of_earlier_audits_has_a_limit() {
    let mut audit = Audit::default();
    for number in 0..3 * MAX_EARLIER as u64 {
        audit.take(Index(10 * number + 1), AuditRecord::Request);
        // Every other audit has no report.
        if number % 2 == 0 {
            audit.take(
                Index(10 * number + 2),
                report_of(10 * number + 1, "node1", 1),
            );
        }
    }
    assert_eq!(audit.earlier.len(), MAX_EARLIER);
    let oldest = audit.earlier.front().map(|(index, _)| index.0);
    assert_eq!(oldest, Some(10 * MAX_EARLIER as u64 + 1));
}

#[test]
fn a_record_is_read_back_and_malformed_ones_are_refused() {
    for record in [AuditRecord::Request, report(7, "node1"), report(7, "")] {
        let bytes = Envelope::audit(&record);
        assert_eq!(bytes[0], 2, "the version of the envelope");
        assert_eq!(Envelope::decode(&bytes), Ok(Envelope::Audit(record)));
    }
    let cut = Envelope::audit(&report(7, "")).slice(..20);
    let long = Envelope::audit(&report(7, &"n".repeat(MAX_NAME_BYTES + 1)));
    let trailing = Bytes::from_static(b"\x02\x05x");
    for wrong in [cut, long, trailing] {
        assert_eq!(Envelope::decode(&wrong), Err(EnvelopeError::Upgrade));
    }
}

#[test]
fn reports_count_only_for_the_latest_request() {
    let mut audit = Audit::default();
    audit.take(Index(5), report(4, "node1"));
    assert!(audit.reports.is_empty(), "there was no request");
    audit.take(Index(6), AuditRecord::Request);
    audit.settle(Index(6), Sha256([1; 32]));
    audit.settle(Index(7), Sha256([2; 32]));
    assert_eq!(audit.own, Some(Sha256([1; 32])));
    audit.take(Index(7), report(6, "node1"));
    audit.take(Index(8), report(4, "node2"));
    assert_eq!(audit.reports.len(), 1);
    audit.take(Index(9), AuditRecord::Request);
    assert!(audit.reports.is_empty() && audit.own.is_none());
}

#[test]
fn the_number_of_reports_has_a_limit() {
    let mut audit = Audit::default();
    audit.take(Index(6), AuditRecord::Request);
    for number in 0..2 * MAX_REPORTS {
        audit.take(Index(7), report(6, &format!("node{number}")));
    }
    assert_eq!(audit.reports.len(), MAX_REPORTS);
}
