//! Decisions of an operator about an entry at which every node stops.

use super::*;
use crate::testing::{scripted_but, scripted_in_memory};

/// The commands of the entry at which a machine at level 0 stops.
fn fatal() -> Vec<Bytes> {
    vec![plain(b"a"), keyed("key", b"s"), plain(b"a")]
}

/// A machine with three entries, which stops at the fourth, and the failure.
fn stopped(module: GuestModule) -> (Node, MachineFailure) {
    let mut node = Node::new(module);
    begin(&mut node);
    let at = node.next();
    let stop = node.machine.apply(at, &fatal()).unwrap_err();
    let MachineError::Failed(failure) = stop else {
        panic!("{stop:?} is not a stop")
    };
    (node, *failure.downcast().unwrap())
}

fn begin(node: &mut Node) {
    for _ in 0..3 {
        node.send(b"a");
    }
}

fn skip(index: u64) -> EntryDecision {
    EntryDecision {
        index: Index(index),
        commands: EntryDecision::digest_of(&fatal()),
        successor: None,
    }
}

/// A node that applies the log again with these decisions.
fn decided(module: GuestModule, decisions: Vec<EntryDecision>) -> Node {
    let mut node = Node::new(module);
    node.machine = node.machine.with_decisions(decisions);
    node
}

fn number(node: &mut Node) -> u64 {
    let response = node.query(b"q").unwrap();
    u64::from_le_bytes(response.as_ref().try_into().unwrap())
}

#[test]
fn the_message_of_the_stop_names_the_ways_past_the_entry() {
    let (_, failure) = stopped(scripted());
    let message = failure.to_string();
    assert!(
        message.contains("oarlock recover --skip-entry 4"),
        "{message}"
    );
    assert!(message.contains("--at-entry 4 --successor"), "{message}");
}

#[test]
fn a_skipped_entry_fails_and_changes_nothing() {
    for module in [scripted(), scripted_in_memory()] {
        let mut nodes = [(); 2].map(|()| decided(module.clone(), vec![skip(4)]));
        for node in &mut nodes {
            begin(node);
            let outcomes = node.entry(&fatal());
            let skipped = CommandOutcome::Failed(GuestFailure::Skipped);
            assert_eq!(outcomes, vec![skipped; 3]);
            assert_eq!(number(node), 3);
            // The key was not used up.
            assert_eq!(codes(&[node.send_with_key("key", b"a")]), ["accepted"]);
        }
        let [one, other] = &mut nodes;
        assert_same(one, other);
    }
}

#[test]
fn a_snapshot_carries_the_decision() {
    let mut node = decided(scripted(), vec![skip(4)]);
    begin(&mut node);
    node.entry(&fatal());
    node.send(b"a");
    // To a node without the decision, and to one with it.
    for decisions in [Vec::new(), vec![skip(4)]] {
        let snapshot = node.snapshot();
        let mut other = decided(scripted(), decisions);
        other.machine.restore(&mut snapshot.as_slice()).unwrap();
        assert_same(&mut node, &mut other);
        assert_eq!(other.snapshot(), snapshot);
    }
}

#[test]
fn a_node_whose_decision_differs_from_a_snapshot_stops_and_names_the_entry() {
    let mut executed = Node::new(scripted());
    begin(&mut executed);
    executed.send(b"a");
    let snapshot = executed.snapshot();
    let other = EntryDecision {
        commands: EntryDecision::digest_of(&[plain(b"a")]),
        ..skip(4)
    };
    for decision in [skip(4), other] {
        let mut node = decided(scripted(), vec![decision]);
        let error = node.machine.restore(&mut snapshot.as_slice());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("decision about entry 4"), "{error}");
        assert_eq!(node.counts().applied.index, Index(0));
    }
    // A decision about a later entry does not differ.
    let mut node = decided(scripted(), vec![skip(5)]);
    node.machine.restore(&mut snapshot.as_slice()).unwrap();
}

#[test]
fn a_decision_about_another_entry_stops_the_node() {
    let mut node = decided(scripted(), vec![skip(3)]);
    node.send(b"a");
    node.send(b"a");
    let at = node.next();
    let error = node.machine.apply(at, &[plain(b"a")]).unwrap_err();
    assert!(error.to_string().contains("made for commands"), "{error}");
}

#[test]
fn a_node_that_executed_the_entry_has_another_hash() {
    // The same commands, without the overflow: as on a node whose stack is larger.
    let ends = scripted_but(&[(
        "(i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1))))",
        "(i32.const 1)",
    )]);
    let mut executed = Node::new(ends.clone());
    let mut skipped = decided(ends, vec![skip(4)]);
    for node in [&mut executed, &mut skipped] {
        begin(node);
        node.entry(&fatal());
    }
    assert_ne!(executed.machine.state_hash(), skipped.machine.state_hash());
}

#[test]
fn a_successor_takes_over_the_state_and_executes_the_entry() {
    let repaired = scripted_but(&[(
        "(i32.add (i32.const 1) (call $overflow (i32.add (local.get $depth) (i32.const 1))))",
        "(i32.const 1)",
    )]);
    let decision = EntryDecision {
        successor: Some(repaired.clone()),
        ..skip(4)
    };
    let mut nodes = [(); 2].map(|()| decided(scripted(), vec![decision.clone()]));
    for node in &mut nodes {
        begin(node);
        let outcomes = node.entry(&fatal());
        assert!(!codes(&outcomes).contains(&"trap"), "{outcomes:?}");
        assert_eq!(node.machine.module().sha256(), repaired.sha256());
        assert_eq!(number(node), 5);
    }
    let [one, other] = &mut nodes;
    assert_same(one, other);
    // A node with the module before restores the snapshot: its history contains that module.
    let snapshot = one.snapshot();
    let mut restored = decided(scripted(), vec![decision]);
    restored.machine.restore(&mut snapshot.as_slice()).unwrap();
    assert_same(one, &mut restored);
    assert_eq!(restored.machine.module().sha256(), repaired.sha256());
}

#[test]
fn a_successor_that_cannot_take_over_the_state_stops_the_node() {
    let (mut node, _) = stopped(scripted());
    assert_eq!(node.counts().applied.index, Index(3));
    let decision = EntryDecision {
        successor: Some(kv()),
        ..skip(4)
    };
    node = decided(scripted(), vec![decision]);
    begin(&mut node);
    let at = node.next();
    let error = node.machine.apply(at, &fatal()).unwrap_err().to_string();
    assert!(
        error.contains("can't take over the state at entry 4"),
        "{error}"
    );
}
