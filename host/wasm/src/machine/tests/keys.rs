//! Idempotency keys: a command with a key is executed once.

use super::*;

#[test]
fn the_same_key_and_body_return_the_first_reply_again() {
    let mut node = Node::new(faulty());
    assert_eq!(node.send_with_key("k", add(5)), value(5));
    assert_eq!(node.send(add(1)), value(6));
    assert_eq!(node.send_with_key("k", add(5)), value(5));
    assert_eq!(node.value(), "6");
    assert_eq!(node.counts().keys, 1);
}

#[test]
fn another_body_under_the_same_key_is_refused() {
    let mut node = Node::new(faulty());
    assert_eq!(node.send_with_key("k", add(5)), value(5));
    assert_eq!(node.send_with_key("k", add(6)), CommandOutcome::KeyReused);
    assert_eq!(node.send_with_key("k", add(5)), value(5));
    assert_eq!(node.value(), "5");
    assert_eq!(node.counts().failures, 0);
}

#[test]
fn a_rejection_uses_the_key_up() {
    let mut node = Node::new(faulty());
    let rejected = node.send_with_key("k", r#"{"refuse":{}}"#);
    assert_eq!(code(&rejected), "rejected");
    assert_eq!(node.send_with_key("k", r#"{"refuse":{}}"#), rejected);
    assert_eq!(node.send_with_key("k", add(1)), CommandOutcome::KeyReused);
}

#[test]
fn a_failure_does_not_use_the_key_up() {
    let mut node = Node::new(faulty());
    for command in [r#"{"trap":{}}"#, r#"{"half":{}}"#, r#"{"spin":{}}"#] {
        for _ in 0..2 {
            let outcome = node.send_with_key("k", command);
            assert!(matches!(outcome, CommandOutcome::Failed(_)), "{outcome:?}");
        }
    }
    assert_eq!(node.counts().keys, 0);
    assert_eq!(node.send_with_key("k", add(1)), value(1));
}

#[test]
fn a_key_twice_in_one_entry_is_executed_once() {
    let mut node = Node::new(faulty());
    let outcomes = node.entry(&[
        keyed("k", add(1).as_bytes()),
        plain(add(10).as_bytes()),
        keyed("k", add(1).as_bytes()),
        keyed("k", add(2).as_bytes()),
        keyed("other", add(100).as_bytes()),
    ]);
    assert_eq!(
        outcomes,
        [
            value(1),
            value(11),
            value(1),
            CommandOutcome::KeyReused,
            value(111)
        ]
    );
}

#[test]
fn a_failed_command_and_its_retry_may_share_an_entry() {
    let mut node = Node::new(faulty());
    let trap = br#"{"trap":{}}"#;
    let outcomes = node.entry(&[
        plain(add(1).as_bytes()),
        keyed("k", trap),
        keyed("k", trap),
        keyed("k", add(1).as_bytes()),
        keyed("k", trap),
    ]);
    assert_eq!(
        codes(&outcomes),
        ["accepted", "trap", "trap", "accepted", "key_reused"]
    );
    assert_eq!(node.value(), "2");
}

#[test]
fn keys_survive_rollbacks_and_snapshots() {
    let mut node = Node::new(faulty());
    assert_eq!(node.send_with_key("k", add(5)), value(5));
    assert_eq!(code(&node.send(r#"{"trap":{}}"#)), "trap");
    assert_eq!(node.send_with_key("k", add(5)), value(5));
    let mut other = node.restored();
    assert_eq!(other.send_with_key("k", add(5)), value(5));
    assert_eq!(other.send_with_key("k", add(6)), CommandOutcome::KeyReused);
    assert_eq!(other.value(), "5");
}

#[test]
fn keys_are_limited_by_count() {
    let limits = MachineLimits {
        keys: 2,
        ..limits()
    };
    let mut node = Node::with_limits(faulty(), limits);
    for key in ["a", "b", "c"] {
        node.send_with_key(key, add(1));
    }
    assert_eq!(node.counts().keys, 2);
    assert_eq!(node.send_with_key("c", add(1)), value(3));
    assert_eq!(
        node.send_with_key("a", add(1)),
        value(4),
        "the key was dropped"
    );
}

#[test]
fn keys_are_limited_by_bytes() {
    let limits = MachineLimits {
        key_bytes: 10_000,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    for key in 0..100 {
        node.send_with_key(&format!("key-{key}"), op(b'z', 2_000));
        assert!(node.counts().keys <= 4);
    }
}

#[test]
fn keys_are_limited_by_replicated_time() {
    let limits = MachineLimits {
        key_ttl_ms: 5_000,
        ..limits()
    };
    let mut node = Node::with_limits(faulty(), limits);
    node.send_with_key("k", add(1));
    for _ in 0..5 {
        assert_eq!(node.counts().keys, 1);
        node.entry(&[]);
    }
    assert_eq!(node.counts().keys, 1, "the key is as old as the limit");
    assert_eq!(
        node.send_with_key("k", add(1)),
        value(2),
        "the key was dropped"
    );
}
