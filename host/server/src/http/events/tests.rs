use oarlock_wasm::GuestEvent;

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
    for (payload, hex) in [(&b"a\rb"[..], "610d62"), (&[0xff, 0], "ff00")] {
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

#[test]
fn the_position_comes_from_the_header_or_else_from_the_url() {
    let mut headers = HeaderMap::new();
    let id = |text: &str| text.parse::<EventId>().expect("an id");
    assert_eq!(place(&headers, None).expect("none"), None);
    assert_eq!(place(&headers, Some("3.0")).expect("one"), Some(id("3.0")));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_static(""));
    assert_eq!(place(&headers, Some("3.0")).expect("one"), Some(id("3.0")));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_static("5.1"));
    assert_eq!(place(&headers, Some("3.0")).expect("one"), Some(id("5.1")));
    headers.insert(LAST_EVENT_ID, HeaderValue::from_static("five"));
    assert_eq!(
        place(&headers, None).expect_err("an invalid id").code(),
        "malformed"
    );
}
