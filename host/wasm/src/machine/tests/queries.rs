//! Queries on the applying thread.

use super::*;

#[test]
fn a_query_reads_the_state() {
    let mut node = Node::new(counter());
    assert_eq!(
        node.query(r#"{"get":{}}"#),
        Ok(Bytes::from_static(b"{\"value\":0}"))
    );
    node.send(add(5));
    assert_eq!(
        node.query(r#"{"get":{}}"#),
        Ok(Bytes::from_static(b"{\"value\":5}"))
    );
}

#[test]
fn a_rejected_query_returns_the_rejection() {
    let mut node = Node::new(counter());
    match node.query(r#"{"got":{}}"#) {
        Err(GuestQueryError::Refused(rejection)) => {
            assert!(String::from_utf8_lossy(&rejection).contains("got"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_query_changes_nothing() {
    let mut node = Node::new(faulty());
    node.batch(&[add(1), add(2)]);
    let hash = node.machine.state_hash();
    for (query, code) in [
        (r#"{"trap":{}}"#, "trap"),
        (r#"{"spin":{}}"#, "out_of_fuel"),
    ] {
        match node.query(query) {
            Err(GuestQueryError::Failed(failure)) => assert_eq!(failure.code(), code),
            other => panic!("{other:?}"),
        }
        assert_eq!(node.value(), "3");
    }
    assert_eq!(node.machine.state_hash(), hash);
    assert_eq!(
        node.counts().failures,
        0,
        "only failures of commands are counted"
    );
    // A stack overflow in a query does not stop the node either, unlike in a command.
    let mut node = Node::new(scripted());
    node.send(b"a");
    assert_eq!(
        node.query(b"s"),
        Err(GuestQueryError::Failed(GuestFailure::StackOverflow))
    );
    assert_eq!(node.send(b"a"), accepted([2, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_query_has_no_effects() {
    let mut node = Node::new(scripted());
    assert!(node.query(b"e").is_ok());
    node.send(b"a");
    assert_eq!(node.seen(), []);
    assert_eq!(node.counts().wake_at_ms, 0);
}

#[test]
fn queries_and_responses_have_limits() {
    let limits = MachineLimits {
        command_bytes: 100,
        reply_bytes: 100,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    assert!(node.query([b'?'; 100]).is_ok());
    for query in [vec![b'?'; 101], op(b'z', 101)] {
        assert!(matches!(
            node.query(query),
            Err(GuestQueryError::Failed(GuestFailure::TooLarge {
                limit: 100,
                ..
            }))
        ));
    }
}
