//! The example guests, with the commands of their documentation.

use super::*;

#[test]
fn the_counter_counts() {
    let mut node = Node::new(counter());
    assert_eq!(node.batch(&[add(5), add(-7)]), [value(5), value(-2)]);
    assert_eq!(code(&node.send(r#"{"add":{"by":"x"}}"#)), "rejected");
    assert_eq!(code(&node.send("")), "rejected");
    assert_eq!(node.value(), "-2");
}

#[test]
fn the_store_stores() {
    let mut node = Node::new(kv());
    let outcomes = node.batch(&[
        r#"{"put":{"key":"k","value":"v"}}"#,
        r#"{"cas":{"key":"k","expect":"v","value":"w"}}"#,
        r#"{"delete":{"key":"k"}}"#,
    ]);
    assert_eq!(
        outcomes,
        [
            accepted(r#"{"previous":null}"#),
            accepted(r#"{"swapped":true,"current":"w"}"#),
            accepted(r#"{"previous":"w"}"#),
        ]
    );
    let gone = node.query(r#"{"get":{"key":"k"}}"#).unwrap();
    assert_eq!(gone[..], *br#"{"value":null}"#);
}

#[test]
fn the_queue_queues_and_wakes_itself() {
    let mut node = Node::new(queue());
    let enqueued = node.batch(&[
        r#"{"enqueue":{"queue":"email","payload":{"to":"x"}}}"#,
        r#"{"enqueue":{"queue":"email","payload":2,"delay_ms":2500}}"#,
    ]);
    assert_eq!(enqueued[0], accepted(r#"{"id":1,"duplicate":false}"#));
    assert_eq!(enqueued[1], accepted(r#"{"id":2,"duplicate":false}"#));
    let reserve = r#"{"reserve":{"queues":["email"],"worker":"w1","lease_ms":30000,"max":10}}"#;
    let text = |outcome: &CommandOutcome| match outcome {
        CommandOutcome::Accepted(reply) => String::from_utf8(reply.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let first = text(&node.send(reserve));
    assert!(
        first.contains("\"id\":1") && !first.contains("\"id\":2"),
        "{first}"
    );
    let mut node = node.restored();
    for _ in 0..3 {
        node.entry(&[Envelope::wake()]);
    }
    let second = text(&node.send(reserve));
    assert!(
        second.contains("\"id\":2") && !second.contains("\"id\":1"),
        "{second}"
    );
}

#[test]
fn the_status_contains_the_module_and_the_applied_entry() {
    let mut node = Node::new(queue());
    let handle = node.machine.status();
    node.send(r#"{"enqueue":{"queue":"q","payload":1}}"#);
    let status = handle.get();
    assert_eq!((status.name.as_str(), status.version), ("task-queue", 2));
    assert_eq!(status.sha256, queue().sha256());
    assert_eq!(
        status.counts.applied,
        Moment {
            index: Index(1),
            time_ms: 1_000
        }
    );
    assert_eq!(status.counts.state_hash, node.machine.state_hash());
    assert!(status.counts.memory_bytes > 0);
    assert_eq!(status.counts.state_hash.to_string().len(), 64);
}
