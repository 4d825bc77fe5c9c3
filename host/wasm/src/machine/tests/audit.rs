//! Nodes say which hash they have, and nothing that is replicated depends on it.

use super::*;
use crate::audit::AuditRecord;

fn ask() -> Bytes {
    Envelope::audit(&AuditRecord::Request)
}

fn say(requested_at: Index, hash: Sha256, node: &str) -> Bytes {
    Envelope::audit(&AuditRecord::Report {
        requested_at,
        hash,
        node: node.to_owned(),
    })
}

#[test]
fn a_node_knows_the_hash_that_it_had_after_the_question() {
    let mut node = Node::new(counter());
    node.send(add(1));
    assert_eq!(node.entry(&[ask(), plain(add(1).as_bytes())]).len(), 2);
    let (asked, hash) = (node.counts().applied.index, node.machine.state_hash());
    node.send(add(1));
    let audit = node.machine.status().audit();
    assert_eq!((audit.requested_at, audit.own), (Some(asked), Some(hash)));
}

#[test]
fn whatever_is_said_the_nodes_stay_equal() {
    let mut one = Node::new(counter());
    let mut other = Node::new(counter());
    one.send(add(1));
    other.send(add(1));
    one.snapshot();
    let mut late = one.restored();
    for node in [&mut one, &mut other, &mut late] {
        let asked = node.next().index;
        node.entry(&[ask()]);
        node.entry(&[
            say(asked, Sha256::default(), "node1"),
            say(Index(1), Sha256::default(), "node2"),
        ]);
        assert_eq!(node.send(add(1)), value(2));
    }
    assert_same(&mut one, &mut other);
    assert_same(&mut one, &mut late);
    assert_eq!(one.machine.status().audit().reports.len(), 1);
}

#[test]
fn only_work_is_a_reason_to_ask_again() {
    let mut node = Node::new(counter());
    let is_due = |node: &Node| node.machine.status().audit().is_due;
    assert!(!is_due(&node));
    node.entry(&[Envelope::runs(counter().sha256())]);
    assert!(!is_due(&node), "a cluster that begins is quiet");
    node.send(add(1));
    assert!(is_due(&node));
    node.entry(&[ask()]);
    let (asked, hash) = (node.counts().applied.index, node.machine.state_hash());
    node.entry(&[say(asked, hash, "node1"), say(asked, hash, "node2")]);
    node.entry(&[]);
    assert!(!is_due(&node), "a quiet cluster stays quiet");
    node.entry(&[Envelope::wake()]);
    assert!(is_due(&node));
}

#[test]
fn a_node_that_was_restored_after_the_question_has_nothing_to_say() {
    let mut node = Node::new(counter());
    node.entry(&[ask()]);
    let restored = node.restored();
    let audit = restored.machine.status().audit();
    assert_eq!(audit.own, None);
    assert!(audit.is_due, "its state may be its own alone");
}
