//! Questions, which change nothing.

use super::*;

#[test]
fn a_question_is_answered_from_the_state() {
    let mut node = Node::new(counter());
    assert_eq!(
        node.ask(r#"{"get":{}}"#),
        Ok(Bytes::from_static(b"{\"value\":0}"))
    );
    node.send(add(5));
    assert_eq!(
        node.ask(r#"{"get":{}}"#),
        Ok(Bytes::from_static(b"{\"value\":5}"))
    );
}

#[test]
fn a_question_that_the_guest_refuses_has_its_words() {
    let mut node = Node::new(counter());
    match node.ask(r#"{"got":{}}"#) {
        Err(GuestQueryError::Refused(words)) => {
            assert!(String::from_utf8_lossy(&words).contains("got"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_at_which_the_guest_fails_costs_nothing_but_time() {
    let mut node = Node::new(faulty());
    node.batch(&[add(1), add(2)]);
    let hash = node.machine.state_hash();
    for (query, code) in [
        (r#"{"trap":{}}"#, "trap"),
        (r#"{"spin":{}}"#, "out_of_fuel"),
    ] {
        match node.ask(query) {
            Err(GuestQueryError::Failed(failure)) => assert_eq!(failure.code(), code),
            other => panic!("{other:?}"),
        }
        assert_eq!(node.value(), "3");
    }
    assert_eq!(node.machine.state_hash(), hash);
    assert_eq!(node.counts().failures, 0, "failures of commands alone");
    // Nor does too deep a recursion, which at a command would stop the node.
    let mut node = Node::new(scripted());
    node.send(b"a");
    assert_eq!(
        node.ask(b"s"),
        Err(GuestQueryError::Failed(GuestFailure::StackOverflow))
    );
    assert_eq!(node.send(b"a"), accepted([2, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_question_has_no_effects() {
    let mut node = Node::new(scripted());
    assert!(node.ask(b"e").is_ok());
    node.send(b"a");
    assert_eq!(node.seen(), []);
    assert_eq!(node.counts().wake_at_ms, 0);
}

#[test]
fn a_question_and_its_answer_have_limits() {
    let limits = MachineLimits {
        command_bytes: 100,
        reply_bytes: 100,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    assert!(node.ask([b'?'; 100]).is_ok());
    for query in [vec![b'?'; 101], op(b'z', 101)] {
        assert!(matches!(
            node.ask(query),
            Err(GuestQueryError::Failed(GuestFailure::TooLarge {
                limit: 100,
                ..
            }))
        ));
    }
}
