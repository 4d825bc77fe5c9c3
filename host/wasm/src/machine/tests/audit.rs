//! Audit of state hashes: no replicated state depends on it.

use super::*;
use crate::records::audit::AuditRecord;

fn request() -> Bytes {
    Envelope::audit(&AuditRecord::Request)
}

fn report(requested_at: Index, hash: Sha256, node: &str) -> Bytes {
    Envelope::audit(&AuditRecord::Report {
        requested_at,
        hash,
        node: node.to_owned(),
    })
}

#[test]
fn a_node_keeps_its_hash_after_the_request() {
    let mut node = Node::new(counter());
    node.send(add(1));
    assert_eq!(node.entry(&[request(), plain(add(1).as_bytes())]).len(), 2);
    let (requested_at, hash) = (node.counts().applied.index, node.machine.state_hash());
    node.send(add(1));
    let audit = node.machine.status().audit();
    assert_eq!(
        (audit.requested_at, audit.own),
        (Some(requested_at), Some(hash))
    );
}

#[test]
fn audit_records_do_not_make_states_differ() {
    let mut one = Node::new(counter());
    let mut other = Node::new(counter());
    one.send(add(1));
    other.send(add(1));
    one.snapshot();
    let mut late = one.restored();
    for node in [&mut one, &mut other, &mut late] {
        let requested_at = node.next().index;
        node.entry(&[request()]);
        node.entry(&[
            report(requested_at, Sha256::default(), "node1"),
            report(Index(1), Sha256::default(), "node2"),
        ]);
        assert_eq!(node.send(add(1)), value(2));
    }
    assert_same(&mut one, &mut other);
    assert_same(&mut one, &mut late);
    assert_eq!(one.machine.status().audit().reports.len(), 1);
}

#[test]
fn only_commands_make_another_audit_due() {
    let mut node = Node::new(counter());
    let is_due = |node: &Node| node.machine.status().audit().is_due;
    assert!(!is_due(&node));
    node.entry(&[Envelope::runs(counter().sha256())]);
    assert!(!is_due(&node), "a new cluster is idle");
    node.send(add(1));
    assert!(is_due(&node));
    node.entry(&[request()]);
    let (requested_at, hash) = (node.counts().applied.index, node.machine.state_hash());
    node.entry(&[
        report(requested_at, hash, "node1"),
        report(requested_at, hash, "node2"),
    ]);
    node.entry(&[]);
    assert!(!is_due(&node), "an idle cluster stays idle");
    node.entry(&[Envelope::wake()]);
    assert!(is_due(&node));
}

#[test]
fn a_node_that_was_restored_after_the_request_has_no_hash_for_it() {
    let mut node = Node::new(counter());
    node.entry(&[request()]);
    let restored = node.restored();
    let audit = restored.machine.status().audit();
    assert_eq!(audit.own, None);
    assert!(
        audit.is_due,
        "the restored state may differ from the others"
    );
}
