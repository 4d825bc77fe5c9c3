//! Events and wake-ups.

use super::*;

fn emit(payload: &str) -> String {
    format!("{{\"emit\":{{\"topic\":\"t\",\"payload\":\"{payload}\"}}}}")
}

fn wake_at(time_ms: u64) -> String {
    format!("{{\"wake_at\":{{\"time_ms\":{time_ms}}}}}")
}

fn event(topic: &str, payload: &str) -> GuestEvent {
    GuestEvent {
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

#[test]
fn the_listener_receives_events_in_order_with_their_entry() {
    let mut node = Node::new(faulty());
    node.batch(&[emit("1"), add(1), emit("2")]);
    node.send(add(1));
    node.send(emit("3"));
    let seen = node.seen();
    let indexes: Vec<u64> = seen.iter().map(|(at, _)| at.index.0).collect();
    assert_eq!(
        indexes,
        [1, 3],
        "the listener is not called for entries without effects"
    );
    assert_eq!(
        node.events(),
        [event("t", "1"), event("t", "2"), event("t", "3")]
    );
    assert_eq!(node.counts().events, 3);
}

#[test]
fn the_listener_receives_the_number_of_earlier_events() {
    let before = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&before);
    let listener: EffectsListener = Box::new(move |_, _, before| sink.lock().unwrap().push(before));
    let mut node = Node::new(faulty());
    node.machine = WasmMachine::new(faulty(), limits(), Some(listener)).unwrap();
    node.batch(&[emit("1"), emit("2")]);
    node.send(add(1));
    node.send(emit("3"));
    assert_eq!(*before.lock().unwrap(), [0, 2]);
}

#[test]
fn an_event_is_part_of_the_hash() {
    let mut one = Node::new(faulty());
    let mut other = Node::new(faulty());
    assert_eq!(one.send(emit("1")), other.send(emit("2")));
    assert_ne!(one.machine.state_hash(), other.machine.state_hash());
}

#[test]
fn a_guest_is_woken_once_after_its_time() {
    let mut node = Node::new(faulty());
    node.send(wake_at(4_000));
    assert_eq!(node.counts().wake_at_ms, 4_000);
    // Entry 2 is at 2,000 ms, entry 4 at 4,000 ms.
    node.entry(&[Envelope::wake()]);
    node.entry(&[Envelope::wake()]);
    assert_eq!(
        (node.value().as_str(), node.counts().wake_at_ms),
        ("0", 4_000)
    );
    let outcomes = node.entry(&[Envelope::wake()]);
    assert_eq!(outcomes, [accepted("")]);
    assert_eq!((node.value().as_str(), node.counts().wake_at_ms), ("1", 0));
    node.entry(&[Envelope::wake()]);
    assert_eq!(node.value(), "1", "there was one request");
    assert_eq!(node.events(), [event("woken", "1")]);
}

#[test]
fn a_wake_up_runs_in_the_order_of_the_entry() {
    let mut node = Node::new(faulty());
    let outcomes = node.entry(&[
        plain(wake_at(1).as_bytes()),
        plain(add(10).as_bytes()),
        Envelope::wake(),
        plain(add(10).as_bytes()),
        Envelope::wake(),
    ]);
    assert_eq!(
        outcomes,
        [value(0), value(10), accepted(""), value(21), accepted("")]
    );
}

#[test]
fn the_last_wake_up_request_counts_and_0_cancels_it() {
    let mut node = Node::new(faulty());
    node.batch(&[wake_at(9_000), wake_at(5_000)]);
    assert_eq!(node.counts().wake_at_ms, 5_000);
    node.send(wake_at(0));
    assert_eq!(node.counts().wake_at_ms, 0);
}

#[test]
fn a_wake_up_request_survives_rollbacks_and_snapshots() {
    let mut node = Node::new(faulty());
    node.send(wake_at(3_000));
    assert_eq!(code(&node.send(r#"{"trap":{}}"#)), "trap");
    let mut other = node.restored();
    for node in [&mut node, &mut other] {
        assert_eq!(node.counts().wake_at_ms, 3_000);
        node.entry(&[Envelope::wake()]);
        assert_eq!(node.value(), "1");
    }
    assert_same(&mut node, &mut other);
}

#[test]
fn a_wake_up_is_replayed_in_a_rollback() {
    let mut node = Node::new(faulty());
    node.send(wake_at(1));
    node.entry(&[Envelope::wake()]);
    assert_eq!(code(&node.send(r#"{"half":{}}"#)), "trap");
    assert_eq!(node.value(), "1");
    assert_eq!(node.events(), [event("woken", "1")]);
}

#[test]
fn malformed_envelopes_have_an_outcome_and_change_nothing() {
    let mut node = Node::new(faulty());
    let outcomes = node.entry(&[
        plain(add(1).as_bytes()),
        Bytes::new(),
        Bytes::from_static(b"\x01\x09"),
        Bytes::from_static(b"\x01\x01\xff\xff"),
        plain(add(1).as_bytes()),
    ]);
    assert_eq!(
        codes(&outcomes),
        [
            "accepted",
            "malformed",
            "malformed",
            "malformed",
            "accepted"
        ]
    );
    assert_eq!(node.value(), "2");
}

#[test]
fn an_entry_without_commands_extends_the_hash() {
    let mut node = Node::new(faulty());
    let before = node.machine.state_hash();
    assert_eq!(node.entry(&[]), []);
    assert_ne!(node.machine.state_hash(), before);
    assert_eq!(node.counts().applied.index, Index(1));
}
