//! A failed command changes nothing; the other commands of its entry keep their effects.

use super::*;

const TRAP: &str = r#"{"trap":{}}"#;
const HALF: &str = r#"{"half":{"by":1000}}"#;
const SPIN: &str = r#"{"spin":{}}"#;
const ALLOC: &str = r#"{"alloc":{"mib":64}}"#;
const KEEP: &str = r#"{"keep":{"mib":64}}"#;
const REFUSE: &str = r#"{"refuse":{}}"#;

#[test]
fn each_failure_is_rolled_back_and_classified() {
    for (command, expected) in [
        (TRAP, "trap"),
        (HALF, "trap"),
        (SPIN, "out_of_fuel"),
        (ALLOC, "out_of_memory"),
        (KEEP, "out_of_memory"),
    ] {
        let mut node = Node::new(faulty());
        assert_eq!(node.send(add(5)), value(5));
        assert_eq!(code(&node.send(command)), expected, "{command}");
        assert_eq!(node.value(), "5", "{command}");
        assert_eq!(node.send(add(1)), value(6), "{command}");
        assert_eq!(node.counts().failures, 1);
        assert!(node.counts().rollbacks >= 1);
    }
}

#[test]
fn a_rejection_needs_no_rollback() {
    let mut node = Node::new(faulty());
    let CommandOutcome::Rejected(rejection) = node.send(REFUSE) else {
        panic!("the command is rejected");
    };
    assert!(String::from_utf8_lossy(&rejection).contains("refused"));
    let CommandOutcome::Rejected(rejection) = node.send("no JSON") else {
        panic!("the command is rejected");
    };
    assert!(!rejection.is_empty());
    assert_eq!((node.counts().failures, node.counts().rollbacks), (0, 0));
}

#[test]
fn the_other_commands_of_a_batch_keep_their_effects() {
    let mut node = Node::new(faulty());
    let batch = [
        add(1),
        TRAP.to_owned(),
        add(2),
        HALF.to_owned(),
        REFUSE.to_owned(),
        SPIN.to_owned(),
        ALLOC.to_owned(),
        add(4),
    ];
    let outcomes = node.batch(&batch);
    assert_eq!(
        codes(&outcomes),
        [
            "accepted",
            "trap",
            "accepted",
            "trap",
            "rejected",
            "out_of_fuel",
            "out_of_memory",
            "accepted"
        ]
    );
    assert_eq!(outcomes[2], value(3));
    assert_eq!(outcomes[7], value(7));
    assert_eq!(node.value(), "7");
    assert_eq!(node.counts().failures, 4);
}

#[test]
fn a_failure_at_the_end_of_a_batch_does_not_execute_commands_twice() {
    let mut node = Node::new(faulty());
    for round in 1..=20 {
        let outcomes = node.batch(&[add(1), add(1), HALF.to_owned()]);
        assert_eq!(codes(&outcomes), ["accepted", "accepted", "trap"]);
        assert_eq!(outcomes[1], value(2 * round));
    }
    assert_eq!(node.value(), "40");
}

#[test]
fn an_endless_command_uses_no_fuel_of_its_batch() {
    let mut node = Node::new(faulty());
    let mut batch = vec![SPIN.to_owned()];
    batch.extend((0..20).map(|_| add(1)));
    let outcomes = node.batch(&batch);
    assert_eq!(code(&outcomes[0]), "out_of_fuel");
    assert_eq!(outcomes[20], value(20));
}

#[test]
fn events_and_wake_ups_of_a_failed_command_are_rolled_back() {
    let emit = r#"{"emit":{"topic":"t","payload":"p"}}"#;
    let wake = r#"{"wake_at":{"time_ms":5000}}"#;
    let mut node = Node::new(faulty());
    let outcomes = node.batch(&[emit, wake, TRAP, emit]);
    assert_eq!(
        codes(&outcomes),
        ["accepted", "accepted", "trap", "accepted"]
    );
    assert_eq!(node.events().len(), 2, "each event once");
    assert_eq!((node.counts().events, node.counts().wake_at_ms), (2, 5000));
    // A replay has no effects.
    assert_eq!(node.value(), "0");
    assert_eq!(node.events().len(), 2);
    // A wake-up request in a failed call does not count.
    let mut node = Node::new(scripted());
    let outcomes = node.batch(&[op_long(b'w', 5_000, b""), b"t".to_vec()]);
    assert_eq!(codes(&outcomes), ["accepted", "trap"]);
    let outcomes = node.batch(&[b"t".to_vec(), op_long(b'w', 6_000, b"")]);
    assert_eq!(codes(&outcomes), ["trap", "accepted"]);
    assert_eq!(node.counts().wake_at_ms, 6_000);
}

#[test]
fn random_bytes_are_the_same_after_a_replay() {
    let draw = r#"{"draw":{"length":16}}"#;
    let mut node = Node::new(faulty());
    let mut other = Node::new(faulty());
    for commands in [vec![draw, draw], vec![draw, TRAP, draw], vec![draw]] {
        let outcomes = node.batch(&commands);
        assert_eq!(outcomes, other.batch(&commands));
        // A failed query costs one of them its replica.
        assert!(other.query(TRAP).is_err());
    }
    assert_same(&mut node, &mut other);
}

#[test]
fn a_command_over_the_limit_fails_alone() {
    let limits = MachineLimits {
        command_bytes: 100,
        ..limits()
    };
    let mut node = Node::with_limits(faulty(), limits);
    let long = format!("{}{}", add(1), " ".repeat(100));
    let outcomes = node.batch(&[add(1), long, add(1)]);
    assert_eq!(codes(&outcomes), ["accepted", "trap", "accepted"]);
    assert!(matches!(
        &outcomes[1],
        CommandOutcome::Failed(GuestFailure::TooLarge { limit: 100, .. })
    ));
    assert_eq!(node.value(), "2");
}

#[test]
fn a_reply_over_the_limit_is_rolled_back() {
    let limits = MachineLimits {
        reply_bytes: 100,
        ..limits()
    };
    let mut node = Node::with_limits(scripted(), limits);
    let outcomes = node.batch(&[b"a".to_vec(), op(b'z', 101), b"a".to_vec()]);
    assert_eq!(codes(&outcomes), ["accepted", "trap", "accepted"]);
    assert_eq!(outcomes[2], accepted([2, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn invalid_outcomes_are_rolled_back() {
    for invalid in [b"o1", b"o2", b"o3", b"o4", b"o5", b"o6"] {
        let mut node = Node::new(scripted());
        assert_eq!(code(&node.send(b"a")), "accepted");
        assert_eq!(code(&node.send(invalid)), "trap", "{invalid:?}");
        assert_eq!(node.send(b"a"), accepted([2, 0, 0, 0, 0, 0, 0, 0]));
    }
}

#[test]
fn many_failures_leave_no_trace_in_the_state() {
    let mut node = Node::new(faulty());
    let mut other = Node::new(faulty());
    for round in 0..300 {
        let commands = [add(1), HALF.to_owned()];
        assert_eq!(node.batch(&commands), other.batch(&commands));
        if round % 50 == 0 {
            other = other.restored();
        }
    }
    assert_eq!(node.value(), "300");
    assert_same(&mut node, &mut other);
}
