use oarlock_guest::testing::{Harness, MessageSchema, assert_live_and_restored_agree};

use super::*;

type Node = Harness<Counter>;

#[test]
fn adding_replies_with_the_sum() {
    let mut node = Node::new();
    assert_eq!(node.send(r#"{"add":{"by":5}}"#).text(), r#"{"value":5}"#);
    assert_eq!(node.send(r#"{"add":{"by":-7}}"#).text(), r#"{"value":-2}"#);
    assert_eq!(node.send_query(r#"{"get":{}}"#).text(), r#"{"value":-2}"#);
}

#[test]
fn a_new_counter_is_zero() {
    assert_eq!(
        Node::new().send_query(r#"{"get":{}}"#).text(),
        r#"{"value":0}"#
    );
}

#[test]
fn a_sum_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut node = Node::new();
    node.apply(Command::Add { by: i64::MAX }).unwrap();
    let refusal = node.apply(Command::Add { by: 1 }).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.named_field()),
        ("overflow", Some("by"))
    );
    assert_eq!(node.query(Query::Get {}), Ok(Value { value: i64::MAX }));
}

#[test]
fn a_malformed_command_is_refused_with_the_field() {
    let mut node = Node::new();
    for (command, expected) in [
        (r#"{"add":{}}"#, r#""field":"by""#),
        (r#"{"add":{"by":"5"}}"#, r#""field":"by""#),
        (r#"{"add":{"by":5,"twice":true}}"#, r#""field":"twice""#),
        (r#"{"multiply":{"by":5}}"#, r#""field":"multiply""#),
        ("add 5", r#""code":"bad_command""#),
    ] {
        let outcome = node.send(command);
        assert!(
            !outcome.accepted && outcome.text().contains(expected),
            "{command}: {outcome:?}"
        );
    }
    let outcome = node.send_query(r#"{"peek":{}}"#);
    assert!(
        !outcome.accepted && outcome.text().contains(r#""field":"peek""#),
        "{outcome:?}"
    );
}

#[test]
fn a_restored_counter_behaves_as_the_live_one() {
    assert_live_and_restored_agree::<Counter>([
        r#"{"add":{"by":5}}"#,
        r#"{"add":{"by":9223372036854775807}}"#,
        r#"{"add":{"by":-6}}"#,
        "not a command",
    ]);
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    assert_eq!(
        oarlock_guest::testing::layout::<Counter>(),
        "serde1:abf49ab2-a49cf1f34aa3aff3",
        "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<Counter>::derived()
        .refusals(["overflow"])
        .assert_is_current("src/schema.json");
}
