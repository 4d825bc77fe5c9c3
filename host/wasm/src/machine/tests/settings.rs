//! Replicated settings: the same outcomes on nodes with other limits of their own, and changes at an index.

use super::*;
use crate::guest::semantics::GuestSemantics;
use crate::records::settings::{SettingsChange, SettingsTable};
use crate::records::snapshot_error::MachineSnapshotError;
use crate::settings::SettingsFault;
use crate::testing::scripted_in_memory;

fn configure(node: &mut Node, settings: &ReplicatedSettings) {
    let at = node.next();
    node.machine.configure(at, 1, &settings.encode()).unwrap();
}

/// A node at level 1 with these limits of its own. The settings are those of [`limits`].
fn at_level_1(module: GuestModule, own: MachineLimits) -> Node {
    let mut node = Node::with_limits(module, own);
    configure(&mut node, &ReplicatedSettings::proposed(&limits()));
    node
}

fn change(values: &[(&str, u64)]) -> Bytes {
    Envelope::settings(&SettingsChange {
        release: "0.1.0".to_owned(),
        by: "test".to_owned(),
        values: values
            .iter()
            .map(|&(name, value)| (name.to_owned(), value))
            .collect(),
    })
}

fn set(node: &mut Node, name: &str, value: u64) {
    let outcomes = node.entry(&[change(&[(name, value)])]);
    assert_eq!(codes(&outcomes), ["changed"], "{outcomes:?}");
}

/// Limits that differ from [`limits`] in every way a flag allows.
fn other_flags() -> MachineLimits {
    MachineLimits {
        fuel_per_command: 1_000,
        memory_bytes: 4 << 20,
        command_bytes: 10,
        keys: 1,
        key_ttl_ms: 1,
        ..limits()
    }
}

/// Commands whose outcomes differ between [`limits`] and [`other_flags`].
fn provoke(node: &mut Node) {
    node.batch(&[b"a".to_vec(), b"r0123456789".to_vec()]);
    for key in ["k1", "k2", "k1", "k2"] {
        node.send_with_key(key, b"a");
    }
    node.send(b"t");
    node.send(b"v");
    node.send(op(b'b', 5));
}

#[test]
fn nodes_with_other_flags_have_the_same_state_from_level_1_on() {
    let mut one = at_level_1(scripted(), limits());
    let mut other = at_level_1(scripted(), other_flags());
    for node in [&mut one, &mut other] {
        node.send(op(b'g', 80));
        provoke(node);
    }
    assert_same(&mut one, &mut other);
    // At level 0 they have not: the commands above do provoke differences.
    let mut one = Node::with_limits(scripted(), limits());
    let mut other = Node::with_limits(scripted(), other_flags());
    provoke(&mut one);
    provoke(&mut other);
    assert_ne!(one.machine.state_hash(), other.machine.state_hash());
}

#[test]
fn a_node_that_restarts_with_other_flags_has_the_same_state() {
    for module in [scripted(), scripted_in_memory()] {
        let mut one = at_level_1(module.clone(), limits());
        provoke(&mut one);
        let snapshot = one.snapshot();
        let mut other = Node::with_limits(module, other_flags());
        other.machine.restore(&mut snapshot.as_slice()).unwrap();
        assert_same(&mut one, &mut other);
        provoke(&mut one);
        provoke(&mut other);
        assert_same(&mut one, &mut other);
    }
}

#[test]
fn a_change_applies_from_its_index_on_and_earlier_outcomes_stay() {
    let mut node = at_level_1(scripted(), limits());
    let long = || plain(b"r0123456789");
    let outcomes = node.entry(&[long(), change(&[("command_bytes", 5)]), long(), plain(b"a")]);
    assert_eq!(
        codes(&outcomes),
        ["rejected", "changed", "trap", "accepted"]
    );
    assert_eq!(codes(&node.entry(&[long()])), ["trap"]);
    assert_eq!(node.machine.status().command_bytes(), 5);
    let shown = node.machine.status().settings().unwrap();
    assert_eq!(shown.values()["command_bytes"], 5);
}

/// The guest has recovered from a refused growth, and a rollback repeats that call after the limit was raised.
#[test]
fn a_rollback_repeats_calls_under_the_limits_that_they_had() {
    for module in [scripted(), scripted_in_memory()] {
        let mut node = at_level_1(module, limits());
        let refused = node.send(op(b'g', 400));
        set(&mut node, "memory_bytes", 128 << 20);
        let granted = node.send(op(b'g', 400));
        assert_ne!(refused, granted);
        assert_eq!(codes(&[node.send(b"t")]), ["trap"]);
        assert_eq!(codes(&[node.send(b"a")]), ["accepted"]);
        let mut other = node.restored();
        assert_same(&mut node, &mut other);
    }
}

#[test]
fn a_state_larger_than_a_lowered_memory_limit_survives_rollbacks_and_restarts() {
    let mut node = at_level_1(faulty(), limits());
    assert_eq!(codes(&[node.send(r#"{"keep":{"mib":8}}"#)]), ["accepted"]);
    set(&mut node, "memory_bytes", 2 << 20);
    assert_eq!(codes(&[node.send(r#"{"trap":{}}"#)]), ["trap"]);
    assert_eq!(node.send(add(1)), value(1));
    assert_eq!(
        codes(&[node.send(r#"{"keep":{"mib":8}}"#)]),
        ["out_of_memory"]
    );
    let mut other = node.restored();
    assert_eq!(node.send(add(1)), other.send(add(1)));
    assert_same(&mut node, &mut other);
}

#[test]
fn keys_over_a_lowered_limit_are_dropped_at_the_entry_that_lowers_it() {
    let mut node = at_level_1(scripted(), limits());
    for key in ["k1", "k2", "k3"] {
        node.send_with_key(key, b"a");
    }
    set(&mut node, "keys", 1);
    assert_eq!(node.counts().keys, 1);
    // A node that restores a snapshot here drops the same keys.
    let mut other = node.restored();
    assert_same(&mut node, &mut other);
    for key in ["k3", "k1"] {
        assert_eq!(
            node.send_with_key(key, b"a"),
            other.send_with_key(key, b"a")
        );
    }
    assert_same(&mut node, &mut other);
    set(&mut node, "key_ttl_ms", 0);
    assert_eq!(node.counts().keys, 0);
}

#[test]
fn a_change_is_refused_at_level_0_and_changes_nothing() {
    let mut node = Node::new(scripted());
    let outcomes = node.entry(&[change(&[("keys", 5)]), plain(b"a")]);
    assert_eq!(codes(&outcomes), ["refused", "accepted"]);
    assert_eq!(node.machine.status().settings(), None);
    assert_eq!(node.snapshot()[7], 2, "the format of level 0");
}

#[test]
fn a_snapshot_has_the_format_of_level_0_until_there_are_settings() {
    let mut node = Node::new(scripted());
    node.send(b"a");
    assert_eq!(node.snapshot()[7], 2);
    let before = node.machine.state_hash();
    configure(&mut node, &ReplicatedSettings::proposed(&limits()));
    assert_eq!(node.snapshot()[7], 3);
    assert_ne!(
        node.machine.state_hash(),
        before,
        "the hash covers the settings"
    );
    set(&mut node, "keys", 7);
    let mut other = node.restored();
    assert_same(&mut node, &mut other);
    assert_eq!(
        other.machine.status().settings().unwrap().values()["keys"],
        7
    );
}

#[test]
fn a_machine_stops_at_settings_of_a_later_release_and_names_it() {
    let mut table =
        SettingsTable::decode(&ReplicatedSettings::proposed(&limits()).encode()).unwrap();
    table.semantics = GuestSemantics::LATEST.version() + 1;
    table.release = "7.8.9".to_owned();
    let mut node = Node::new(scripted());
    let at = node.next();
    let stopped = node.machine.configure(at, 1, &table.encode()).unwrap_err();
    assert!(stopped.to_string().contains("release 7.8.9"), "{stopped}");
    // A change of a setting that only a later release has.
    let mut node = at_level_1(scripted(), limits());
    let at = node.next();
    let stopped = node.machine.apply_entry(at, &[change(&[("new_in_7", 1)])]);
    let Err(MachineFailure::Settings(SettingsFault::Unknown { name, .. })) = stopped else {
        panic!("{stopped:?}");
    };
    assert_eq!(name, "new_in_7");
}

#[test]
fn a_machine_stops_at_a_record_of_level_1_that_it_does_not_know() {
    let mut node = at_level_1(scripted(), limits());
    let at = node.next();
    let stopped = node
        .machine
        .apply_entry(at, &[Bytes::from_static(&[3, 200, 1])]);
    assert!(matches!(
        stopped,
        Err(MachineFailure::Envelope(EnvelopeError::RecordKind {
            found: 200
        }))
    ));
}

#[test]
fn a_snapshot_with_settings_of_a_later_release_is_refused() {
    let mut node = at_level_1(scripted(), limits());
    let snapshot = node.snapshot();
    let version = snapshot.clone();
    let mut later = version;
    later[7] = 4;
    let mut other = Node::new(scripted());
    let refused = other.machine.restore(&mut later.as_slice()).unwrap_err();
    assert!(refused.to_string().contains("formats 1 to 3"), "{refused}");
    let failure: MachineError =
        MachineFailure::Snapshot(MachineSnapshotError::HostState { found: 9 }).into();
    assert!(failure.to_string().contains("update the node"));
}

#[test]
fn the_limits_of_queries_are_the_nodes_own() {
    let own = MachineLimits {
        fuel_per_query: 7_000_000,
        ..limits()
    };
    let node = at_level_1(scripted(), own);
    assert_eq!(node.machine.status().limits().fuel_per_query, 7_000_000);
}

/// A new node loads its module for the latest level, and then turns out to be in a cluster at level 0.
#[test]
fn at_level_0_the_guest_runs_by_the_rules_of_level_0_however_it_was_loaded() {
    let bounded = MachineLimits {
        semantics: GuestSemantics::LATEST,
        ..limits()
    };
    let module = scripted().under(&bounded).unwrap();
    let mut node = Node::with_limits(module.clone(), limits());
    node.send(b"a");
    assert_eq!(node.machine.module().rules(), scripted().rules());
    // The stack overflow stops a node at level 0, and is an outcome at level 1.
    let at = node.next();
    node.machine.apply_entry(at, &[plain(b"s")]).unwrap_err();
    let mut node = at_level_1(module.clone(), limits());
    assert_eq!(codes(&[node.send(b"s")]), ["trap"]);
    assert_eq!(node.machine.module().rules(), module.rules());
    // Also after a snapshot of level 0.
    let mut zero = Node::new(scripted());
    zero.send(b"a");
    let snapshot = zero.snapshot();
    let mut restored = Node::with_limits(module, limits());
    restored.machine.restore(&mut snapshot.as_slice()).unwrap();
    assert_eq!(restored.machine.module().rules(), scripted().rules());
    assert_same(&mut zero, &mut restored);
}
