//! The rules of execution: recursion is a failed command from cluster level 1 on, and the switch to that.

use super::*;
use crate::guest::rules::Rules;
use crate::guest::semantics::GuestSemantics;
use crate::records::settings::SettingsChange;
use crate::testing::{scripted_but, scripted_in_memory};

const STACK: u64 = 16 << 20;
const BOUNDED: Rules = Rules::BoundedStack { bytes: STACK };

/// Where `snapshot` writes the state, and `restore` has read it.
const WRITES: &str = "(call $write (local.get $sink) (i32.const 0) (i32.const 16))";
const HAS_READ: &str = "(call $drop_source (local.get $source))";

fn raise(node: &mut Node) {
    let at = node.next();
    let settings = ReplicatedSettings::proposed(&limits());
    node.machine.configure(at, 1, &settings.encode()).unwrap();
}

fn set_stack(node: &mut Node, bytes: u64) -> Vec<CommandOutcome> {
    node.entry(&[Envelope::settings(&SettingsChange {
        release: "0.1.0".to_owned(),
        by: "test".to_owned(),
        values: [("stack_bytes".to_owned(), bytes)].into(),
    })])
}

fn too_deep(limit: u64) -> CommandOutcome {
    CommandOutcome::Failed(GuestFailure::TooDeep { limit })
}

fn number(node: &mut Node) -> u64 {
    let response = node.query(b"q").unwrap();
    u64::from_le_bytes(response.as_ref().try_into().unwrap())
}

/// Two machines with the same history, the second one as if its node had restarted.
fn twice(module: &GuestModule, history: impl Fn(&mut Node)) -> Node {
    let mut node = Node::new(module.clone());
    history(&mut node);
    let mut restarted = Node::new(module.clone());
    history(&mut restarted);
    assert_same(&mut node, &mut restarted);
    node
}

/// Runs `code` instead when the value is 2.
fn at_2(place: &str, code: &str) -> GuestModule {
    let changed =
        format!("(if (i64.eq (i64.load (i32.const 0)) (i64.const 2)) (then {code})) {place}");
    scripted_but(&[(place, &changed)])
}

#[test]
fn recursion_without_an_end_is_a_failed_command_and_changes_nothing() {
    for module in [scripted(), scripted_in_memory()] {
        let mut node = twice(&module, |node| {
            raise(node);
            node.send(b"a");
            let outcomes = node.batch(&[b"a", b"s", b"a"]);
            assert_eq!(outcomes[1], too_deep(STACK));
            assert_eq!(codes(&outcomes), ["accepted", "trap", "accepted"]);
        });
        assert_eq!(number(&mut node), 3);
        let failure = GuestFailure::TooDeep { limit: STACK };
        assert_eq!(node.query(b"s"), Err(GuestQueryError::Failed(failure)));
        assert_eq!(number(&mut node), 3);
    }
}

#[test]
fn a_raise_switches_a_running_guest_at_its_entry() {
    for module in [scripted(), scripted_in_memory()] {
        let mut node = twice(&module, |node| {
            assert_eq!(node.machine.module().rules(), Rules::Native);
            node.batch(&[b"a", b"a"]);
            raise(node);
            assert_eq!(node.machine.module().rules(), BOUNDED);
            assert_eq!(node.send(b"s"), too_deep(STACK));
            node.send(b"a");
        });
        assert_eq!(number(&mut node), 3);
        // A snapshot brings the rules with it.
        let snapshot = node.snapshot();
        let mut other = Node::new(module);
        other.machine.restore(&mut snapshot.as_slice()).unwrap();
        assert_eq!(other.machine.module().rules(), BOUNDED);
        assert_same(&mut node, &mut other);
        assert_eq!(other.send(b"s"), too_deep(STACK));
    }
}

#[test]
fn another_stack_limit_applies_from_its_index_on() {
    let mut node = twice(&scripted(), |node| {
        raise(node);
        node.send(b"a");
        assert_eq!(codes(&set_stack(node, 65_536)), ["changed"]);
        assert_eq!(node.send(b"s"), too_deep(65_536));
    });
    assert_eq!(number(&mut node), 1);
}

/// The failure is the same on every node, so none stops, and the hash covers which rules apply.
#[test]
fn a_guest_that_cannot_be_switched_keeps_the_rules_before() {
    let faults = [
        at_2(WRITES, "unreachable"),
        at_2(HAS_READ, "unreachable"),
        // Under the new rules alone.
        at_2(HAS_READ, "(drop (call $overflow (i32.const 0)))"),
    ];
    for module in faults {
        let mut node = twice(&module, |node| {
            node.batch(&[b"a", b"a"]);
            raise(node);
            assert_eq!(node.machine.module().rules(), Rules::Native);
            node.send(b"a");
        });
        let settings = node.machine.status().settings().unwrap();
        assert_eq!(settings.semantics(), GuestSemantics::Native);
        assert_eq!(number(&mut node), 3);
        // The others switch, so they have another hash.
        let mut able = Node::new(scripted());
        able.batch(&[b"a", b"a"]);
        let before = able.counts().state_hash;
        raise(&mut able);
        assert_ne!(able.counts().state_hash, before);
        assert_ne!(able.machine.module().rules(), Rules::Native);
    }
}

#[test]
fn recursion_in_a_snapshot_fails_the_snapshot_and_not_the_node() {
    let module = at_2(WRITES, "(drop (call $overflow (i32.const 0)))");
    let mut node = Node::new(module);
    raise(&mut node);
    node.batch(&[b"a", b"a"]);
    let error = node.machine.snapshot(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("recursed too deep"), "{error}");
    node.send(b"a");
    assert_eq!(number(&mut node), 3);
    node.machine.snapshot(&mut Vec::new()).unwrap();
}

#[test]
fn recursion_in_restore_refuses_the_snapshot_and_keeps_the_state() {
    let module = at_2(HAS_READ, "(drop (call $overflow (i32.const 0)))");
    let mut writer = Node::new(module.clone());
    raise(&mut writer);
    writer.batch(&[b"a", b"a"]);
    let snapshot = writer.snapshot();
    let mut node = Node::new(module);
    raise(&mut node);
    node.send(b"a");
    let refused = node.machine.restore(&mut snapshot.as_slice());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("recursed too deep"), "{error}");
    assert_eq!(number(&mut node), 1);
    assert_eq!(node.send(b"s"), too_deep(STACK));
}
