use super::*;
use crate::envelope::{Envelope, EnvelopeError};

fn say(requested_at: u64, node: &str) -> AuditRecord {
    AuditRecord::Report {
        requested_at: Index(requested_at),
        hash: Sha256([7; 32]),
        node: node.to_owned(),
    }
}

#[test]
fn what_is_written_is_read_and_nothing_else_is() {
    for word in [AuditRecord::Request, say(7, "node1"), say(7, "")] {
        let bytes = Envelope::audit(&word);
        assert_eq!(bytes[0], 2, "the version of the envelope");
        assert_eq!(Envelope::decode(&bytes), Ok(Envelope::Audit(word)));
    }
    let cut = Envelope::audit(&say(7, "")).slice(..20);
    let long = Envelope::audit(&say(7, &"n".repeat(MAX_NAME_BYTES + 1)));
    let trailing = Bytes::from_static(b"\x02\x05x");
    for wrong in [cut, long, trailing] {
        assert_eq!(Envelope::decode(&wrong), Err(EnvelopeError::Upgrade));
    }
}

#[test]
fn answers_belong_to_the_latest_question() {
    let mut audit = Audit::default();
    audit.take(Index(5), say(4, "node1"));
    assert!(audit.reports.is_empty(), "nobody had asked");
    audit.take(Index(6), AuditRecord::Request);
    audit.settle(Index(6), Sha256([1; 32]));
    audit.settle(Index(7), Sha256([2; 32]));
    assert_eq!(audit.own, Some(Sha256([1; 32])));
    audit.take(Index(7), say(6, "node1"));
    audit.take(Index(8), say(4, "node2"));
    assert_eq!(audit.reports.len(), 1);
    audit.take(Index(9), AuditRecord::Request);
    assert!(audit.reports.is_empty() && audit.own.is_none());
}

#[test]
fn answers_have_a_limit() {
    let mut audit = Audit::default();
    audit.take(Index(6), AuditRecord::Request);
    for number in 0..2 * MAX_ANSWERS {
        audit.take(Index(7), say(6, &format!("node{number}")));
    }
    assert_eq!(audit.reports.len(), MAX_ANSWERS);
}
