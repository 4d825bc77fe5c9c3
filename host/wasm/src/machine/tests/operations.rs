//! What operators do is in the log, and survives snapshots.

use super::*;
use crate::machine::operations::{MAX_KEPT, PastOperation};
use crate::records::operation::OperationRecord;

fn begin(by: &str, what: &str) -> Bytes {
    Envelope::operation(&OperationRecord::Begin {
        by: by.to_owned(),
        what: what.to_owned(),
        details: "details".to_owned(),
    })
}

fn end(begun: u64, code: &str) -> Bytes {
    Envelope::operation(&OperationRecord::End {
        begun: Index(begun),
        code: code.to_owned(),
    })
}

fn shown(node: &Node) -> Vec<(u64, String, Option<String>)> {
    let past = node.machine.status().operations();
    let row = |past: PastOperation| {
        let code = past.end.map(|end| end.code);
        (
            past.begun.index.0,
            format!("{} {}", past.by, past.what),
            code,
        )
    };
    past.into_iter().map(row).collect()
}

#[test]
fn operations_are_shown_after_a_snapshot_too() {
    let mut node = Node::new(scripted());
    assert!(shown(&node).is_empty());
    node.entry(&[begin("ann", "snapshot")]);
    node.send("a");
    let outcomes = node.entry(&[end(1, ""), begin("bob", "addMember"), plain(b"a")]);
    assert_eq!(codes(&outcomes), ["accepted", "accepted", "accepted"]);
    let expected = [
        (1, "ann snapshot".to_owned(), Some(String::new())),
        (3, "bob addMember".to_owned(), None),
    ];
    assert_eq!(shown(&node), expected);
    let mut other = node.restored();
    assert_eq!(shown(&other), expected);
    for node in [&mut node, &mut other] {
        node.entry(&[end(3, "timeout")]);
    }
    assert_eq!(shown(&node)[1].2.as_deref(), Some("timeout"));
    assert_same(&mut node, &mut other);
}

#[test]
fn the_last_operations_are_kept() {
    let mut node = Node::new(scripted());
    for _ in 0..MAX_KEPT + 2 {
        node.entry(&[begin("ann", "snapshot")]);
    }
    let mut other = node.restored();
    for node in [&node, &other] {
        assert_eq!(shown(node).len(), MAX_KEPT);
        assert_eq!(shown(node)[0].0, 3);
        assert_eq!(
            node.machine.status().operations_begun(),
            MAX_KEPT as u64 + 2
        );
    }
    assert_same(&mut node, &mut other);
}

#[test]
fn a_snapshot_without_operations_has_the_bytes_of_before() {
    let mut node = Node::new(scripted());
    node.send("a");
    // Version 2: no host state.
    assert_eq!(node.snapshot()[7], 2);
}
