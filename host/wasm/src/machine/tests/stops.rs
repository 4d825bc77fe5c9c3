//! Conditions in which the machine stops.

use super::*;

/// The failure that stopped the machine.
fn stop(result: Result<Vec<CommandOutcome>, MachineError>) -> MachineFailure {
    match result {
        Err(MachineError::Failed(failure)) => *failure.downcast().unwrap(),
        other => panic!("{other:?} is not a stop"),
    }
}

#[test]
fn a_stack_overflow_stops_the_machine() {
    let mut node = Node::new(scripted());
    node.send(b"a");
    let at = node.next();
    let failure = stop(node.machine.apply(at, &[plain(b"s")]));
    assert!(
        matches!(failure, MachineFailure::StackOverflow { index } if index == at.index),
        "{failure}"
    );
}

#[test]
fn an_entry_twice_or_out_of_order_stops_the_machine() {
    let mut node = Node::new(counter());
    node.send(add(1));
    node.send(add(1));
    for index in [0, 1, 2] {
        let at = Moment {
            index: Index(index),
            time_ms: 0,
        };
        let failure = stop(node.machine.apply(at, &[]));
        assert!(matches!(failure, MachineFailure::OutOfOrder { .. }));
    }
    assert_eq!(node.send(add(1)), value(3), "nothing was changed");
}

#[test]
fn indexes_may_have_gaps() {
    let mut node = Node::new(counter());
    let at = Moment {
        index: Index(100),
        time_ms: 7,
    };
    node.machine.apply(at, &[]).unwrap();
    assert_eq!(node.counts().applied, at);
}

#[test]
fn a_command_of_a_later_version_stops_the_machine() {
    let mut node = Node::new(counter());
    let at = node.next();
    let failure = stop(node.machine.apply(at, &[Bytes::from_static(b"\x04\x00")]));
    assert!(matches!(
        failure,
        MachineFailure::Envelope(EnvelopeError::Version { found: 4 })
    ));
}

#[test]
fn a_machine_does_not_start_with_invalid_limits() {
    let limits = MachineLimits {
        memory_bytes: 1 << 33,
        ..limits()
    };
    let failure = WasmMachine::new(counter(), limits, None).err().unwrap();
    assert!(matches!(
        failure,
        MachineFailure::Limits(LimitsError::TooLarge {
            name: "memory_bytes",
            ..
        })
    ));
}

#[test]
fn a_machine_does_not_start_if_the_guest_needs_more_memory_than_its_limit() {
    let limits = MachineLimits {
        memory_bytes: 1 << 16,
        ..limits()
    };
    assert!(matches!(
        WasmMachine::new(counter(), limits, None),
        Err(MachineFailure::Rebuild { .. })
    ));
}

#[test]
fn a_failed_snapshot_is_an_error_and_the_machine_continues() {
    let limits = MachineLimits {
        snapshot_bytes: 1_000,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    node.batch(&[b"a".to_vec(), op(b'p', 10_000)]);
    let mut bytes = Vec::new();
    let error = node.machine.snapshot(&mut bytes).unwrap_err();
    assert!(error.to_string().contains("1000 is the limit"), "{error}");
    assert!(bytes.is_empty(), "nothing was written");
    assert_eq!(node.send(b"a"), accepted([2, 0, 0, 0, 0, 0, 0, 0]));
    node.send(op(b'p', 0));
    node.machine.snapshot(&mut bytes).unwrap();
}

#[test]
fn a_log_of_another_module_stops_the_machine() {
    let mut node = Node::new(counter());
    let at = node.next();
    let entry = [Envelope::runs(kv().sha256()), plain(add(1).as_bytes())];
    let failure = stop(node.machine.apply(at, &entry));
    assert!(
        matches!(failure, MachineFailure::OtherModule { settled, own }
            if settled == kv().sha256() && own == counter().sha256()),
        "{failure}"
    );
}

#[test]
fn the_first_record_settles_the_module_and_a_later_one_stops_only_its_own_node() {
    let settled = Envelope::runs(counter().sha256());
    let foreign = Envelope::runs(kv().sha256());
    let mut node = Node::new(counter());
    node.entry(std::slice::from_ref(&settled));
    node.entry(std::slice::from_ref(&foreign));
    assert_eq!(node.send(add(1)), value(1));

    // A snapshot settles the module as well.
    let mut restored = node.restored();
    restored.entry(std::slice::from_ref(&foreign));
    node.entry(std::slice::from_ref(&foreign));
    assert_eq!(restored.counts().state_hash, node.counts().state_hash);

    let mut other = Node::new(kv());
    let at = other.next();
    let failure = stop(other.machine.apply(at, &[settled, foreign]));
    assert!(matches!(failure, MachineFailure::OtherModule { .. }));
}

/// A node without a module of its own choice runs the module of its cluster.
#[test]
fn a_machine_that_follows_the_log_takes_the_module_of_a_snapshot() {
    let mut node = Node::new(counter());
    node.entry(&[Envelope::runs(counter().sha256())]);
    node.send(add(5));
    let snapshot = node.snapshot();
    let mut stops = Node::new(kv());
    stops.machine.restore(&mut snapshot.as_slice()).unwrap_err();
    let mut follows = Node::new(kv());
    follows.machine = follows.machine.following_the_log();
    follows.machine.restore(&mut snapshot.as_slice()).unwrap();
    assert_same(&mut node, &mut follows);
    // A record of its first module, for example from before the restore, does not stop it.
    follows.entry(&[Envelope::runs(kv().sha256())]);
    assert_eq!(follows.send(add(1)), value(6));
    // A log without a snapshot does: it has executed commands with the wrong module.
    let mut wrong = Node::new(kv());
    wrong.machine = wrong.machine.following_the_log();
    let at = wrong.next();
    let entry = [Envelope::runs(counter().sha256())];
    let failure = stop(wrong.machine.apply(at, &entry));
    assert!(matches!(failure, MachineFailure::OtherModule { .. }));
}
