use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn principal(queues: &[&str]) -> GuestCaller {
    let values: BTreeSet<String> = queues.iter().map(|queue| (*queue).to_owned()).collect();
    let scopes = BTreeMap::from([("queues".to_owned(), values)]);
    GuestCaller::new("ann", scopes).expect("short names")
}

fn unlimited() -> GuestCaller {
    GuestCaller::new("ann", BTreeMap::new()).expect("a short name")
}

#[test]
fn from_level_1_on_the_log_contains_the_caller() {
    let caller = principal(&["a"]);
    for key in [None, Some("k")] {
        let envelope = called(&caller, 1, key, b"body").expect("a command");
        let decoded = Envelope::decode(&envelope).expect("a command");
        let expected = Envelope::Command {
            key: key.map(|_| "ann k".to_owned()),
            body: Bytes::from_static(b"body"),
            caller: Some(Arc::new(caller.clone())),
        };
        assert_eq!(decoded, expected);
    }
}

#[test]
fn at_level_0_a_command_has_the_bytes_of_the_release_before() {
    let envelope = called(&unlimited(), 0, Some("k"), b"body").expect("a command");
    assert_eq!(
        envelope,
        Envelope::command(Some("ann k"), b"body").expect("a command")
    );
    let envelope = called(&unlimited(), 0, None, b"body").expect("a command");
    assert_eq!(
        envelope,
        Envelope::command(None, b"body").expect("a command")
    );
}

#[test]
fn at_level_0_a_token_with_scopes_sends_no_commands() {
    for queues in [&["a"][..], &[]] {
        let refused = called(&principal(queues), 0, None, b"body").expect_err("refused");
        assert_eq!(refused.code(), "level_too_low");
    }
}

#[test]
fn a_long_key_of_a_client_is_hashed() {
    let longest = "k".repeat(MAX_KEY_BYTES);
    for level in [0, 1] {
        assert!(called(&unlimited(), level, Some(&longest), b"").is_ok());
    }
}
