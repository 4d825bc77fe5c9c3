use bytes::Bytes;

use super::*;

fn event(payload: &str) -> GuestEvent {
    GuestEvent {
        topic: "t".to_owned(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

fn id(text: &str) -> EventId {
    text.parse().expect("an id")
}

/// The payloads after a position, with `gap` for each gap.
fn after(events: &Events, place: &str) -> Vec<String> {
    let (mut place, mut found) = (id(place), Vec::new());
    loop {
        match events.after(place) {
            NextEvent::Event(StoredEvent { id, event }) => {
                found.push(String::from_utf8_lossy(&event.payload).into_owned());
                place = id;
            }
            NextEvent::Gap(lost) => {
                found.push("gap".to_owned());
                place = lost;
            }
            NextEvent::None => return found,
        }
    }
}

#[test]
fn a_client_reads_from_its_position() {
    let events = Events::default();
    events.publish(Index(3), &[event("a"), event("b")], 0);
    events.publish(Index(7), &[], 2);
    events.publish(Index(9), &[event("c")], 2);
    assert_eq!(after(&events, "0.0"), ["a", "b", "c"]);
    assert_eq!(after(&events, "3.0"), ["b", "c"]);
    assert_eq!(after(&events, "3.1"), ["c"]);
    assert_eq!(after(&events, "8.0"), ["c"]);
    assert!(after(&events, "9.0").is_empty());
    assert_eq!(events.latest(), id("9.0"));
}

#[test]
fn events_over_the_limits_are_dropped_and_reported_once_as_a_gap() {
    let events = Events::default();
    for index in 1..=KEPT as u64 + 5 {
        events.publish(Index(index), &[event("e")], index - 1);
    }
    let found = after(&events, "1.0");
    assert_eq!((found[0].as_str(), found.len()), ("gap", KEPT + 1));
    assert_eq!(
        after(&events, "5.0").len(),
        KEPT,
        "it has read all dropped events"
    );

    let large = "x".repeat(KEPT_BYTES / 4);
    let last = KEPT as u64 + 6;
    for index in last..last + 8 {
        events.publish(Index(index), &[event(&large)], index - 1);
    }
    assert!(events.lock().bytes <= KEPT_BYTES);
    assert_eq!(after(&events, "0.0").len(), 1 + 3);
}

#[test]
fn events_that_came_in_a_snapshot_are_a_gap() {
    let events = Events::default();
    events.publish(Index(3), &[event("a")], 0);
    events.publish(Index(50), &[event("z")], 7);
    assert_eq!(after(&events, "3.0"), ["gap", "z"]);
    assert_eq!(after(&events, "0.0"), ["gap", "z"]);
    assert!(after(&events, "50.0").is_empty());
    // A snapshot without a new event is no gap.
    events.publish(Index(60), &[], 8);
    assert!(after(&events, "50.0").is_empty());
    events.publish(Index(70), &[], 9);
    assert_eq!(after(&events, "50.0"), ["gap"]);
    assert!(after(&events, "71.0").is_empty());
}

#[test]
fn a_client_that_starts_at_the_latest_position_has_no_gap() {
    let events = Events::default();
    events.publish(Index(70), &[], 9);
    let now = events.latest();
    assert_eq!(events.after(now), NextEvent::None);
    events.publish(Index(71), &[event("a")], 9);
    assert!(matches!(events.after(now), NextEvent::Event(_)));
    assert_eq!(events.latest(), id("71.0"));
}

#[test]
fn an_id_is_two_integers_and_a_dot() {
    assert_eq!(id("12.3").to_string(), "12.3");
    for wrong in [
        "",
        "12",
        "12.",
        ".3",
        "a.b",
        "12.3.4",
        "+1.2",
        "1.-2",
        "99999999999999999999.0",
    ] {
        assert_eq!(wrong.parse::<EventId>(), Err(()), "{wrong}");
    }
}

#[tokio::test]
async fn a_waiting_stream_is_notified() {
    let events = Events::default();
    let mut changes = events.watch();
    changes.mark_unchanged();
    events.publish(Index(1), &[event("a")], 0);
    changes.changed().await.expect("an open channel");
    assert_eq!(events.listeners(), 1);
}
