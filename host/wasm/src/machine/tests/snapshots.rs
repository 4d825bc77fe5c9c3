//! Snapshots of the complete state.

use super::*;

fn restore(node: &mut Node, mut bytes: &[u8]) -> Result<(), MachineError> {
    node.machine.restore(&mut bytes)
}

#[test]
fn a_snapshot_contains_the_complete_state() {
    let mut node = Node::new(faulty());
    node.batch(&[add(5), r#"{"keep":{"mib":2}}"#.to_owned()]);
    node.send_with_key("k", add(1));
    node.send(r#"{"wake_at":{"time_ms":90000}}"#);
    node.send(r#"{"emit":{"topic":"t","payload":"p"}}"#);
    node.send(r#"{"trap":{}}"#);
    let mut other = node.restored();
    assert_same(&mut node, &mut other);
    let counts = other.counts();
    assert_eq!(counts.applied.index, Index(5));
    assert_eq!((counts.keys, counts.events, counts.failures), (1, 1, 1));
    assert_eq!(counts.wake_at_ms, 90_000);
    assert_eq!(other.value(), "6");
}

#[test]
fn writing_a_snapshot_changes_nothing() {
    let mut node = Node::new(faulty());
    node.send(add(5));
    let first = node.snapshot();
    assert_eq!(node.snapshot(), first);
    assert_eq!(code(&node.send(r#"{"half":{}}"#)), "trap");
    assert_eq!(node.value(), "5");
    assert_eq!(node.send(add(1)), value(6));
}

#[test]
fn a_restore_replaces_the_state() {
    let mut node = Node::new(faulty());
    node.send(add(5));
    let snapshot = node.snapshot();
    let mut other = Node::new(faulty());
    for _ in 0..10 {
        other.send_with_key("k", add(100));
    }
    restore(&mut other, &snapshot).unwrap();
    assert_same(&mut node, &mut other);
    assert_eq!(other.send_with_key("k", add(1)), value(6));
    // A later rollback restores the new state, not the one before.
    assert_eq!(code(&other.send(r#"{"half":{}}"#)), "trap");
    assert_eq!(other.value(), "6");
}

#[test]
fn a_corrupt_snapshot_is_refused_and_changes_nothing() {
    let mut node = Node::new(faulty());
    node.send_with_key("k", add(5));
    let snapshot = node.snapshot();
    let mut other = Node::new(faulty());
    other.send(add(1));
    let before = other.snapshot();
    let step = (snapshot.len() / 200).max(1);
    for position in (0..snapshot.len()).step_by(step) {
        let mut corrupt = snapshot.clone();
        corrupt[position] ^= 0x10;
        assert!(restore(&mut other, &corrupt).is_err(), "byte {position}");
        assert!(restore(&mut other, &snapshot[..position]).is_err());
    }
    assert!(other.snapshot() == before);
    assert_eq!(other.value(), "1");
}

#[test]
fn another_modules_snapshot_is_refused_by_name() {
    let snapshot = Node::new(counter()).snapshot();
    let mut node = Node::new(faulty());
    let error = restore(&mut node, &snapshot).unwrap_err();
    let MachineError::Failed(failure) = error else {
        panic!("{error:?}");
    };
    let failure = failure.downcast_ref::<MachineFailure>().unwrap();
    assert!(matches!(
        failure,
        MachineFailure::Snapshot(MachineSnapshotError::OtherModule { found, expected })
            if *found == counter().sha256() && *expected == faulty().sha256()
    ));
}

#[test]
fn a_snapshot_that_the_guest_refuses_changes_nothing() {
    let mut node = Node::new(scripted());
    node.send(b"a");
    let mut bytes = Vec::new();
    let mut chunks = crate::records::chunks::ChunkWriter::new(u64::MAX);
    chunks.write(&[1; 20]).unwrap();
    let module = scripted();
    let replicated = ReplicatedState::first(module.sha256());
    let module = ModuleBytes::from(&module);
    snapshot::write(&mut bytes, &module, 3, &replicated, &chunks.finish()).unwrap();
    let error = restore(&mut node, &bytes).unwrap_err();
    assert!(error.to_string().contains("of another length"), "{error}");
    assert_eq!(node.send(b"a"), accepted([2, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_state_of_many_chunks_is_restored() {
    let mut node = Node::new(kv());
    for number in 0..12 {
        let value = "v".repeat(200_000);
        node.send(format!(
            "{{\"put\":{{\"key\":\"key-{number}\",\"value\":\"{value}\"}}}}"
        ));
    }
    let mut other = node.restored();
    assert_same(&mut node, &mut other);
    let get = r#"{"get":{"key":"key-11"}}"#;
    assert_eq!(node.query(get), other.query(get));
}

/// Restoring a state needs memory for the state and for its bytes at the same time.
#[test]
fn a_state_that_fills_most_of_the_memory_survives_a_restore_and_a_rollback() {
    let limits = MachineLimits {
        fuel_per_command: 10 * limits().fuel_per_command,
        ..limits()
    };
    let mut node = Node::with_limits(faulty(), limits);
    assert_eq!(code(&node.send(r#"{"keep":{"mib":9}}"#)), "accepted");
    let mut other = node.restored();
    for node in [&mut node, &mut other] {
        assert_eq!(code(&node.send(r#"{"half":{}}"#)), "trap");
        assert_eq!(node.send(add(1)), value(1));
    }
    assert_same(&mut node, &mut other);
    // Afterwards the limit applies again.
    for node in [&mut node, &mut other] {
        assert_eq!(code(&node.send(r#"{"keep":{"mib":60}}"#)), "out_of_memory");
    }
}
