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
fn an_acceptance_is_read_back_and_counts_for_its_request_only() {
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
    for (requested_at, accepted) in [(7, Some(Sha256([9; 32]))), (8, None)] {
        let mut audit = Audit::default();
        audit.take(Index(requested_at), AuditRecord::Request);
        audit.accept(&acceptance);
        assert_eq!(audit.accepted, accepted);
        audit.take(Index(9), AuditRecord::Request);
        assert_eq!(audit.accepted, None);
    }
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
