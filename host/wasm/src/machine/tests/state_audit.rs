//! Audits of the complete state: the digest of a node's snapshot.

use super::*;
use crate::machine::state_digest::NOT_COMPARABLE;
use crate::records::audit::AuditRecord;
use crate::testing::scripted_but;

/// Requests an audit, and returns the digest once it is computed.
fn digest(node: &mut Node) -> Sha256 {
    node.entry(&[Envelope::state_audit(&AuditRecord::Request)]);
    loop {
        if let Some(digest) = node.machine.status().state_audit().own {
            return digest;
        }
        node.changes.recv().unwrap();
    }
}

fn two(limits: [MachineLimits; 2]) -> [Node; 2] {
    limits.map(|limits| Node::with_limits(faulty(), limits))
}

#[test]
fn nodes_with_the_same_state_have_the_same_digest() {
    let mut nodes = two([limits(); 2]);
    for node in &mut nodes {
        node.send_with_key("k", add(5));
        node.batch(&[add(1), r#"{"trap":{}}"#.to_owned()]);
    }
    let mut restored = nodes[0].restored();
    let digests: Vec<Sha256> = nodes.iter_mut().map(digest).collect();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digest(&mut restored), digests[0]);
    assert_ne!(digests[0], NOT_COMPARABLE);
}

#[test]
fn a_difference_without_an_effect_shows_in_the_digest_and_not_in_the_hash() {
    let few = MachineLimits {
        keys: 1,
        ..limits()
    };
    // As if a node had lost a key.
    let mut nodes = two([limits(), few]);
    for node in &mut nodes {
        node.send_with_key("k", add(5));
        node.send_with_key("l", add(5));
    }
    let [one, other] = &mut nodes;
    assert_eq!(one.machine.state_hash(), other.machine.state_hash());
    assert_ne!(digest(one), digest(other));
}

#[test]
fn the_digest_is_that_of_the_requests_entry() {
    let mut nodes = two([limits(); 2]);
    let request = Envelope::state_audit(&AuditRecord::Request);
    nodes[0].entry(std::slice::from_ref(&request));
    nodes[1].entry(&[request]);
    nodes[1].send(add(1));
    let found: Vec<Sha256> = nodes
        .iter_mut()
        .map(|node| {
            loop {
                if let Some(digest) = node.machine.status().state_audit().own {
                    return digest;
                }
                node.changes.recv().unwrap();
            }
        })
        .collect();
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_guest_that_writes_a_state_in_different_ways_is_not_comparable() {
    // A restored state has another length of zeros.
    let mut node = Node::new(scripted_but(&[(
        "(memory.copy (i32.const 0) (i32.load (i32.const 48)) (i32.const 16))))",
        "(memory.copy (i32.const 0) (i32.load (i32.const 48)) (i32.const 16))
         (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))))",
    )]));
    node.send(b"a");
    assert_eq!(digest(&mut node), NOT_COMPARABLE);
}

#[test]
fn reports_are_kept_and_a_restore_makes_another_audit_due() {
    let mut node = Node::new(faulty());
    node.send(add(1));
    assert!(node.machine.status().state_audit().is_due);
    node.entry(&[Envelope::state_audit(&AuditRecord::Request)]);
    let audit = node.machine.status().state_audit();
    assert!(!audit.is_due);
    let report = AuditRecord::Report {
        requested_at: audit.requested_at.unwrap(),
        hash: Sha256::of(b"s"),
        node: "a".to_owned(),
    };
    node.entry(&[Envelope::state_audit(&report)]);
    assert_eq!(node.machine.status().state_audit().reports.len(), 1);
    assert!(node.machine.status().audit().reports.is_empty());
    let restored = node.restored();
    assert!(restored.machine.status().state_audit().is_due);
}
