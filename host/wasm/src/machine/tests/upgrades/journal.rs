//! Upgrades in which the old module can't write its snapshot, so the new one is built from the journal.

use super::*;

/// Like `scripted`, but its snapshot never grows.
fn slim() -> GuestModule {
    scripted_but(&[(
        "(i64.store (i32.const 8) (i64.extend_i32_u (i32.load (local.get $rest))))",
        "nop",
    )])
}

fn tight() -> MachineLimits {
    MachineLimits {
        snapshot_bytes: 1_000,
        ..limits()
    }
}

/// A machine whose guest can't write its state, after five additions.
fn stuck() -> Node {
    let mut node = Node::with_limits(scripted(), tight());
    node.batch(&[b"a", b"a", b"a"]);
    node.send(op(b'p', 10_000));
    node.batch(&[b"a", b"a"]);
    assert!(node.machine.snapshot(&mut Vec::new()).is_err());
    node
}

#[test]
fn the_new_module_is_built_from_the_last_checkpoint_and_the_journal() {
    let mut node = stuck();
    let activate = node.prepare_switch(&slim());
    let UpgradeRecord::Activate { route, .. } = activate else {
        panic!("{activate:?}");
    };
    assert_eq!(route, MigrationRoute::Journal);
    node.send_with_key("k", b"a");
    node.batch(&[b"a".to_vec(), b"t".to_vec()]);
    let error = node.machine.snapshot(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("without the old"), "{error}");
    assert_eq!(node.propose(&activate), UpgradeOutcome::Activated);
    assert_eq!(node.send(b"a"), number(8));
    assert_eq!(node.send_with_key("k", b"a"), number(6));
    // The new module can write its state.
    let mut other = Node::with_limits(scripted(), tight());
    other.send(b"a");
    let mut wrong = Node::with_limits(slim(), tight());
    let bytes = node.snapshot();
    wrong.machine.restore(&mut bytes.as_slice()).unwrap();
    assert_same(&mut node, &mut wrong);
}

#[test]
fn nodes_with_checkpoints_at_different_entries_get_the_same_state() {
    let mut one = Node::with_limits(scripted(), tight());
    let mut other = Node::with_limits(scripted(), tight());
    for node in [&mut one, &mut other] {
        node.batch(&[b"a", b"a", b"a"]);
    }
    other.snapshot();
    for node in [&mut one, &mut other] {
        node.batch(&[op(b'p', 10_000), b"a".to_vec()]);
        let upgrade = node.stage(begin(&slim()), slim().bytes());
        let activate = node.report(upgrade, "node1");
        node.send(b"a");
        assert_eq!(node.propose(&activate), UpgradeOutcome::Activated);
        assert_eq!(node.send(b"a"), number(6));
    }
    assert_same(&mut one, &mut other);
}

#[test]
fn a_module_with_other_outcomes_is_refused() {
    let mut node = stuck();
    let module = by_tens();
    node.stage(begin(&module), module.bytes());
    let result = node.check_result();
    let CheckResult::Refused { message } = &result else {
        panic!("{result:?}");
    };
    assert!(
        message.contains("differ from the old module's"),
        "{message}"
    );
}

#[test]
fn a_node_whose_new_state_differs_from_the_others_stops() {
    let mut node = stuck();
    let UpgradeRecord::Activate { upgrade, route, .. } = node.prepare_switch(&slim()) else {
        unreachable!("it is an activate record");
    };
    let activate = UpgradeRecord::Activate {
        upgrade,
        route,
        state: Sha256::of(b"that of the others"),
    };
    let at = node.next();
    let stopped = node.machine.apply(at, &[Envelope::upgrade(&activate)]);
    let error = stopped.unwrap_err().to_string();
    assert!(error.contains("on the others"), "{error}");
}

#[test]
fn more_commands_than_are_kept_abort_the_upgrade() {
    let mut node = stuck();
    let activate = node.prepare_switch(&slim());
    let large = vec![b'l'; 1 << 19];
    let mut sent = 0;
    while node.machine.status().upgrades().pending.is_some() {
        node.batch(&[&large[..], &large[..]]);
        sent += 2 * large.len() as u64;
        assert!(sent < 2 * MAX_KEPT_BYTES, "the upgrade does not end");
    }
    assert_eq!(node.end(), refused(AbortCause::JournalTooLarge));
    let UpgradeRecord::Activate { upgrade, .. } = activate else {
        unreachable!("it is an activate record");
    };
    let gone = UpgradeRefusal::NotInProgress { upgrade };
    assert_eq!(node.propose(&activate), UpgradeOutcome::Refused(gone));
}
