#![expect(
    clippy::disallowed_types,
    reason = "the test needs an order that does not depend on the state"
)]

use std::cell::Cell;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::*;
use crate::{Apply, MigrateError, OldState, Read, Refusal, StateMachine, state_machine};

thread_local! {
    /// Number of migrations. A state must not depend on it.
    static MIGRATED: Cell<u32> = const { Cell::new(0) };
}

/// The commands of all machines here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Put { key: String },
    Wake { at_ms: u64 },
    Refuse {},
}

/// A machine with the given state, effect of a new key, and migration.
macro_rules! machine {
    ($name:ident, $version:literal, { $($(#[$meta:meta])* $field:ident: $type:ty),* }, $put:expr, $migrate:expr) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $name { $($(#[$meta])* $field: $type),* }

        #[state_machine(name = "keys", version = $version)]
        impl StateMachine for $name {
            type Command = Command;
            type Reply = Vec<String>;
            type Query = ();
            type Response = ();
            type Refusal = Refusal;

            fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Vec<String>, Refusal> {
                match command {
                    Command::Put { key } => {
                        cx.emit("put", key.clone());
                        Ok(($put)(self, key))
                    }
                    Command::Wake { at_ms } => {
                        cx.wake_at(at_ms);
                        Ok(Vec::new())
                    }
                    Command::Refuse {} => Err(Refusal::new("refused", "refused on request")),
                }
            }

            fn query(&self, _cx: &Read<'_>, (): ()) -> Result<(), Refusal> {
                Ok(())
            }

            fn on_wake(&mut self, cx: &mut Apply<'_>) {
                cx.emit("woken", "");
                let _ = ($put)(self, "woken".to_owned());
            }

            fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
                ($migrate)(old)
            }
        }
    };
}

fn no_migration<T>(old: OldState<'_>) -> Result<T, MigrateError> {
    Err(MigrateError::NotImplemented {
        version: old.version(),
    })
}

machine!(Keys, 1, { keys: Vec<String> }, |keys: &mut Keys, key| {
    keys.keys.push(key);
    keys.keys.clone()
}, no_migration);

machine!(Counted, 2, { keys: Vec<String>, count: u32 }, |counted: &mut Counted, key| {
    counted.keys.push(key);
    counted.count += 1;
    vec![counted.count.to_string()]
}, |old: OldState<'_>| {
    let Keys { keys } = old.decode()?;
    let count = keys.len() as u32;
    Ok(Counted { keys, count })
});

machine!(Forgetful, 1, { #[serde(skip)] keys: Vec<String> }, |keys: &mut Forgetful, key| {
    keys.keys.push(key);
    keys.keys.clone()
}, no_migration);

machine!(Unordered, 1, { keys: HashMap<String, u8> }, |keys: &mut Unordered, key| {
    keys.keys.insert(key, 0);
    Vec::<String>::new()
}, no_migration);

machine!(Chancy, 2, { count: u32 }, |_: &mut Chancy, key| vec![key], |_: OldState<'_>| {
    MIGRATED.set(MIGRATED.get() + 1);
    Ok(Chancy { count: MIGRATED.get() })
});

fn put(key: &str) -> String {
    format!(r#"{{"put":{{"key":"{key}"}}}}"#)
}

#[test]
fn replicas_of_one_machine_do_not_diverge() {
    let mut cluster = TestCluster::<Keys>::new();
    assert_eq!(cluster.send(put("a")).text(), r#"["a"]"#);
    let both = cluster
        .advance_ms(5)
        .send_batch(&[put("b"), r#"{"refuse":{}}"#.to_owned()]);
    assert!(both[0].accepted && !both[1].accepted);
    assert!(!cluster.send("no command").accepted);
    cluster.send(r#"{"wake":{"at_ms":1}}"#);
    cluster.wake();
    let topics: Vec<_> = cluster
        .take_events()
        .into_iter()
        .map(|event| event.topic)
        .collect();
    assert_eq!(topics, ["put", "put", "woken"]);
    assert_eq!(cluster.live().state().keys, ["a", "b", "woken"]);
    assert_eq!(cluster.live().wake_at(), None, "a wake-up clears it");
}

#[test]
fn the_hash_depends_on_commands_and_times() {
    let hash = |keys: &[&str], by_ms| {
        let mut cluster = TestCluster::<Keys>::new();
        for key in keys {
            cluster.advance_ms(by_ms).send(put(key));
        }
        cluster.hash()
    };
    assert_eq!(hash(&["a", "b"], 1), hash(&["a", "b"], 1));
    let others = [
        hash(&["b", "a"], 1),
        hash(&["a"], 1),
        hash(&["a", "b"], 2),
        hash(&[], 1),
    ];
    assert!(others.iter().all(|other| *other != hash(&["a", "b"], 1)));
}

#[test]
#[should_panic(expected = "live and restored reply differently at entry 2")]
fn state_that_is_not_in_the_snapshot_is_detected() {
    let mut cluster = TestCluster::<Forgetful>::new();
    cluster.send(put("a"));
    cluster.send(put("b"));
}

// Either replica may have the other order first: the restored one, or its next restore.
#[test]
#[should_panic(expected = "snapshot")]
fn an_order_that_does_not_depend_on_the_state_is_detected() {
    let mut cluster = TestCluster::<Unordered>::new();
    for key in 0..20 {
        cluster.send(put(&key.to_string()));
    }
}

#[test]
fn the_next_version_continues_with_the_state_of_the_previous_one() {
    let mut cluster = TestCluster::<Keys>::new();
    cluster.send(put("a"));
    cluster.send(r#"{"wake":{"at_ms":7}}"#);
    let hash = cluster.hash();
    let mut cluster = cluster.upgrade::<Counted>().expect("it has a migrate");
    assert_eq!((cluster.hash(), cluster.live().index()), (hash, 2));
    assert_eq!(
        cluster.live().wake_at(),
        Some(7),
        "the host keeps the wake time"
    );
    assert_eq!(cluster.send(put("b")).text(), r#"["2"]"#);
    assert_eq!(cluster.nodes.len(), 3);
    assert_eq!(cluster.take_events().len(), 2, "no event is lost");
    // An upgrade to the same version works too.
    let mut cluster = cluster.upgrade::<Counted>().expect("the same version");
    assert_eq!(cluster.send(put("c")).text(), r#"["3"]"#);
}

#[test]
fn a_version_that_cannot_read_the_state_is_an_error() {
    let mut cluster = TestCluster::<Counted>::new();
    cluster.send(put("a"));
    let back = cluster.upgrade::<Keys>().err().expect("a newer state");
    assert!(matches!(back, RestoreError::NewerVersion { .. }), "{back}");
}

#[test]
#[should_panic(expected = "different snapshots after entry 1: the upgrade")]
fn a_migration_that_depends_on_more_than_the_state_is_detected() {
    let mut cluster = TestCluster::<Keys>::new();
    cluster.send(put("a"));
    let _ = cluster.upgrade::<Chancy>();
}

/// A guest with a basket of fruit.
macro_rules! basket {
    ($name:ident, $guest:literal, $first:ident, $second:ident) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $name {
            $first: u64,
            $second: u64,
        }

        #[state_machine(name = $guest, version = 1)]
        impl StateMachine for $name {
            type Command = u64;
            type Reply = (u64, u64);
            type Query = ();
            type Response = ();
            type Refusal = Refusal;

            fn apply(&mut self, _cx: &mut Apply<'_>, apples: u64) -> Result<(u64, u64), Refusal> {
                self.apples += apples;
                Ok((self.apples, self.pears))
            }

            fn query(&self, _cx: &Read<'_>, (): ()) -> Result<(), Refusal> {
                Ok(())
            }
        }
    };
}
basket!(Apples, "apples", apples, pears);
basket!(Fruits, "fruits", apples, pears);
basket!(Pears, "pears", pears, apples);
basket!(Forgotten, "apples", pears, apples);

fn apples() -> TestCluster<Apples> {
    let mut cluster = TestCluster::<Apples>::new();
    assert_eq!(cluster.send("2").text(), "[2,0]");
    cluster
}

#[test]
fn another_guest_is_refused_and_both_are_named() {
    let refused = apples().upgrade::<Pears>().err().expect("another guest");
    let text = refused.to_string();
    assert!(matches!(refused, RestoreError::OtherGuest(_)), "{text}");
    for part in [
        "apples version 1 (layout ",
        "pears version 1 (layout ",
        "--replace-machine",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // Even one whose state has the same layout.
    assert!(apples().upgrade::<Fruits>().is_err());
}

#[test]
fn a_guest_is_replaced_on_purpose_if_it_reads_the_state() {
    let mut fruits = apples()
        .replace_machine::<Fruits>()
        .expect("the same layout");
    assert_eq!(fruits.send("1").text(), "[3,0]");
    let refused = apples().replace_machine::<Pears>().err();
    let text = refused.expect("another layout").to_string();
    assert!(text.contains("has no `migrate`"), "{text}");
}

#[test]
fn a_changed_layout_under_the_same_version_is_refused() {
    let refused = apples()
        .upgrade::<Forgotten>()
        .err()
        .expect("swapped fields");
    let text = refused.to_string();
    assert!(matches!(refused, RestoreError::OtherLayout(_)), "{text}");
    assert!(
        text.contains("raise the version and write `migrate`"),
        "{text}"
    );
}

#[test]
#[should_panic(
    expected = "#[state_machine(name = \"choosy\", version = 3, layout = \"choosy-3\")]"
)]
fn a_state_whose_layout_cannot_be_derived_fails_each_test() {
    #[derive(Default, Serialize, Deserialize)]
    struct Choosy {
        rest: Option<serde_json::Value>,
    }
    #[state_machine(name = "choosy", version = 3)]
    impl StateMachine for Choosy {
        type Command = ();
        type Reply = ();
        type Query = ();
        type Response = ();
        type Refusal = Refusal;

        fn apply(&mut self, _cx: &mut Apply<'_>, (): ()) -> Result<(), Refusal> {
            self.rest = None;
            Ok(())
        }

        fn query(&self, _cx: &Read<'_>, (): ()) -> Result<(), Refusal> {
            Ok(())
        }
    }
    let _ = Harness::<Choosy>::new();
}
