use bytes::Bytes;
use oarlock_wasm::GuestEvent;
use task_queue_raft::ids::Index;

use super::*;

fn framed(topic: &str, payload: &[u8]) -> String {
    frame(&StoredEvent {
        id: "12.3".parse().expect("an id"),
        event: GuestEvent {
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(payload),
        },
    })
}

#[test]
fn an_event_has_topic_data_and_id() {
    assert_eq!(
        framed("woken", b"{\"a\":1}"),
        "event: woken\ndata: {\"a\":1}\nid: 12.3\n\n"
    );
    assert_eq!(framed("t", b""), "event: t\ndata: \nid: 12.3\n\n");
}

#[test]
fn each_line_is_a_data_field_and_binary_payloads_are_hexadecimal() {
    assert_eq!(
        framed("t", b"one\ntwo\n"),
        "event: t\ndata: one\ndata: two\ndata: \nid: 12.3\n\n"
    );
    // A text that looks like one in hexadecimal is sent as one, so that nobody takes it for bytes.
    let disguised = (&br#"{"hex":""#[..], "7b22686578223a22");
    for (payload, hex) in [(&b"a\rb"[..], "610d62"), (&[0xff, 0], "ff00"), disguised] {
        let data = format!("data: {{\"hex\":\"{hex}\"}}\n");
        assert!(framed("t", payload).contains(&data));
    }
}

#[test]
fn a_topic_can_not_inject_another_event() {
    let forged = framed("t\nid: 99.0\n\nevent: other", b"x");
    assert_eq!(
        forged
            .lines()
            .filter(|line| line.starts_with("id:"))
            .count(),
        1
    );
    assert_eq!(forged.matches("\n\n").count(), 1, "{forged:?}");
}

/// Reads the events of the topic `rare` that are stored. Returns their text and the position.
fn rare(events: &Arc<Events>, place: &str) -> (String, String) {
    let mut source = EventFrames {
        events: Arc::clone(events),
        topic: Some("rare".to_owned()),
        place: place.parse().expect("an id"),
    };
    let frames = std::iter::from_fn(|| source.next_frame());
    let frames = frames.map(|frame| String::from_utf8_lossy(&frame).into_owned());
    let frames = frames.collect();
    (frames, source.position())
}

#[test]
fn a_filtered_reader_that_reconnects_gets_no_gap() {
    let events = Arc::new(Events::default());
    let event = |topic: &str| GuestEvent {
        topic: topic.to_owned(),
        payload: Bytes::new(),
    };
    events.publish(Index(1), &[event("rare")], 0);
    let (text, mut place) = rare(&events, "0.0");
    assert_eq!(text, "event: rare\ndata: \nid: 1.0\n\n");
    // Between two connections the node drops no event that the client has not passed, but in all it drops many.
    let common = vec![event("common"); 6_000];
    for (index, before) in [(2, 1), (3, 6_001), (4, 12_001)] {
        events.publish(Index(index), &common, before);
        let (text, position) = rare(&events, &place);
        assert_eq!(text, "");
        place = position;
    }
    assert_eq!(place, events.latest().to_string());
    let (text, _) = rare(&events, "1.0");
    assert!(text.contains("oarlock.gap"), "{text}");
}

#[test]
fn clients_share_the_copy_of_an_event_that_is_sent() {
    let events = Arc::new(Events::default());
    let event = GuestEvent {
        topic: "t".to_owned(),
        payload: Bytes::from_static(b"large"),
    };
    for index in 1..=10 {
        events.publish(Index(index), std::slice::from_ref(&event), index - 1);
    }
    let read = || {
        let mut source = EventFrames {
            events: Arc::clone(&events),
            topic: None,
            place: "8.9".parse().expect("an id"),
        };
        std::iter::from_fn(move || source.next_frame()).collect::<Vec<_>>()
    };
    let (one, other) = (read(), read());
    assert_eq!((one.len(), &one), (2, &other));
    for (one, other) in one.iter().zip(&other) {
        assert_eq!(one.as_ptr(), other.as_ptr());
    }
}
