use oarlock_guest::testing::{Harness, MessageSchema, assert_live_and_restored_agree};

use super::*;

type Node = Harness<Store>;

#[track_caller]
fn assert_exchange(node: &mut Node, command: &str, reply: &str) {
    let outcome = node.send(command);
    assert!(outcome.accepted, "{command}: {outcome:?}");
    assert_eq!(outcome.text(), reply, "{command}");
}

#[track_caller]
fn assert_refused(node: &mut Node, command: &str, expected: &str) {
    let outcome = node.send(command);
    assert!(
        !outcome.accepted && outcome.text().contains(expected),
        "{command}: {outcome:?}"
    );
}

#[test]
fn put_and_delete_reply_with_the_previous_value() {
    let mut node = Node::new();
    assert_exchange(
        &mut node,
        r#"{"put":{"key":"k","value":"v"}}"#,
        r#"{"previous":null}"#,
    );
    assert_exchange(
        &mut node,
        r#"{"put":{"key":"k","value":"w"}}"#,
        r#"{"previous":"v"}"#,
    );
    assert_exchange(
        &mut node,
        r#"{"delete":{"key":"k"}}"#,
        r#"{"previous":"w"}"#,
    );
    assert_exchange(
        &mut node,
        r#"{"delete":{"key":"k"}}"#,
        r#"{"previous":null}"#,
    );
}

#[test]
fn get_returns_the_value_or_null() {
    let mut node = Node::new();
    assert_eq!(
        node.send_query(r#"{"get":{"key":"k"}}"#).text(),
        r#"{"value":null}"#
    );
    node.send(r#"{"put":{"key":"k","value":"\"quoted\" ü"}}"#);
    assert_eq!(
        node.send_query(r#"{"get":{"key":"k"}}"#).text(),
        r#"{"value":"\"quoted\" ü"}"#
    );
}

#[test]
fn cas_swaps_only_the_expected_value_and_returns_the_current_one() {
    let mut node = Node::new();
    assert_exchange(
        &mut node,
        r#"{"cas":{"key":"k","expect":"x","value":"v"}}"#,
        r#"{"swapped":false,"current":null}"#,
    );
    assert_exchange(
        &mut node,
        r#"{"cas":{"key":"k","expect":null,"value":"v"}}"#,
        r#"{"swapped":true,"current":"v"}"#,
    );
    assert_exchange(
        &mut node,
        r#"{"cas":{"key":"k","expect":null,"value":"w"}}"#,
        r#"{"swapped":false,"current":"v"}"#,
    );
    assert_exchange(
        &mut node,
        r#"{"cas":{"key":"k","expect":"v","value":"w"}}"#,
        r#"{"swapped":true,"current":"w"}"#,
    );
}

#[test]
fn a_malformed_command_is_refused_with_the_field() {
    let mut node = Node::new();
    assert_refused(&mut node, r#"{"put":{"key":"k"}}"#, r#""field":"value""#);
    assert_refused(
        &mut node,
        r#"{"put":{"key":1,"value":"v"}}"#,
        r#""field":"key""#,
    );
    assert_refused(
        &mut node,
        r#"{"cas":{"key":"k","value":"v"}}"#,
        r#""field":"expect""#,
    );
    assert_refused(
        &mut node,
        r#"{"cas":{"key":"k","expect":5,"value":"v"}}"#,
        r#""field":"expect""#,
    );
    assert_refused(
        &mut node,
        r#"{"put":{"key":"k","value":"v","ttl":1}}"#,
        r#""field":"ttl""#,
    );
    assert_refused(&mut node, r#"{"drop":{}}"#, r#""field":"drop""#);
    assert!(!node.send_query(r#"{"get":{}}"#).accepted);
}

#[test]
fn a_key_has_a_limit() {
    let mut node = Node::new();
    let at_limit = "k".repeat(MAX_KEY_BYTES);
    assert!(
        node.send(format!(r#"{{"put":{{"key":"{at_limit}","value":"v"}}}}"#))
            .accepted
    );
    assert_refused(
        &mut node,
        &format!(r#"{{"put":{{"key":"{at_limit}k","value":"v"}}}}"#),
        r#""field":"key""#,
    );
    assert!(
        !node
            .send_query(format!(r#"{{"get":{{"key":"{at_limit}k"}}}}"#))
            .accepted
    );
}

#[test]
fn a_restored_store_behaves_as_the_live_one() {
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut values = vec!["null".to_owned()];
    values.extend((0..4).map(|n| format!("\"v{n}\"")));
    let steps: Vec<String> = (0..300)
        .map(|_| {
            let key = draw(5);
            let (expect, value) = (&values[draw(5) as usize], &values[1 + draw(4) as usize]);
            match draw(3) {
                0 => format!(r#"{{"put":{{"key":"k{key}","value":{value}}}}}"#),
                1 => format!(r#"{{"delete":{{"key":"k{key}"}}}}"#),
                _ => format!(r#"{{"cas":{{"key":"k{key}","expect":{expect},"value":{value}}}}}"#),
            }
        })
        .collect();
    assert_live_and_restored_agree::<Store>(steps);
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    assert_eq!(
        oarlock_guest::testing::layout::<Store>(),
        "serde1:47397b64-5bd0ee4775293304",
        "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<Store>::derived()
        .refusals(["too_large"])
        .assert_is_current("src/schema.json");
}
