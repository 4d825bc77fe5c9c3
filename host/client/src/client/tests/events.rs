use super::support::{NO_LEADER, ScriptedNode, Turn, client, client_with, unreachable_node};
use crate::{ClientOptions, EventOptions, ReceivedEvent, RequestError};

const FIRST: &str = ": events of the guest\nid: 4.1\n\nevent: t\ndata: one\nid: 5.0\n\nevent: t\ndata: two\nid: 5.1\n\n";
const SECOND: &str = ": events of the guest\nid: 5.1\n\nevent: u\ndata: three\nid: 9.0\n\n";
const KEPT_ALIVE: &str =
    ": events of the guest\nid: 4.1\n\nevent: t\ndata: one\nid: 5.0\n\n: keep-alive\nid: 7.0\n\n";
const EMPTY: &str = ": events of the guest\nid: 4.1\n\n";

fn event(id: &str, topic: &str, data: &str) -> ReceivedEvent {
    ReceivedEvent {
        id: id.to_owned(),
        topic: topic.to_owned(),
        data: data.to_owned(),
    }
}

#[tokio::test]
async fn a_stream_continues_on_another_node_after_the_last_event() {
    // Each body ends, as when a node stops.
    let one = ScriptedNode::start([Turn::WithoutIndex(200, FIRST)]).await;
    let other = ScriptedNode::start([NO_LEADER, Turn::WithoutIndex(200, SECOND)]).await;
    let (_socket, gone) = unreachable_node();
    let options = EventOptions {
        topic: Some("a b/ü".to_owned()),
        after: None,
    };
    let mut stream = client(&[&one.endpoint, &gone, &other.endpoint]).events(options);
    assert_eq!(stream.next().await, Ok(event("5.0", "t", "one")));
    assert_eq!(stream.next().await, Ok(event("5.1", "t", "two")));
    // The first one repeats its events to a client that does not send its position; it is not asked.
    let third = loop {
        let next = stream.next().await.expect("an event");
        if next.id != "5.0" && next.id != "5.1" {
            break next;
        }
    };
    assert_eq!(third, event("9.0", "u", "three"));
    let seen = other.seen();
    assert_eq!(seen[0].line, "GET /v1/events?topic=a%20b%2F%C3%BC");
    assert_eq!(seen[0].header("last-event-id"), Some("5.1"));
}

#[tokio::test]
async fn a_stream_that_breaks_before_its_first_event_continues_where_it_began() {
    let node = ScriptedNode::start([
        Turn::WithoutIndex(200, EMPTY),
        Turn::WithoutIndex(200, FIRST),
    ])
    .await;
    let mut stream = client(&[&node.endpoint]).events(EventOptions::default());
    assert_eq!(stream.next().await, Ok(event("5.0", "t", "one")));
    let seen = node.seen();
    assert_eq!(seen[0].header("last-event-id"), None);
    assert_eq!(seen[1].header("last-event-id"), Some("4.1"));
}

#[tokio::test]
async fn a_stream_continues_at_the_position_of_the_last_keep_alive() {
    let node = ScriptedNode::start([
        Turn::WithoutIndex(200, KEPT_ALIVE),
        Turn::WithoutIndex(200, SECOND),
    ])
    .await;
    let mut stream = client(&[&node.endpoint]).events(EventOptions::default());
    assert_eq!(stream.next().await, Ok(event("5.0", "t", "one")));
    assert_eq!(stream.next().await, Ok(event("9.0", "u", "three")));
    assert_eq!(node.seen()[1].header("last-event-id"), Some("7.0"));
}

#[tokio::test]
async fn refused_parameters_and_unreachable_nodes_are_errors() {
    let body = r#"{"error":{"code":"malformed","message":"not an id","hint":"send INDEX.N"}}"#;
    let node = ScriptedNode::start([Turn::WithoutIndex(400, body)]).await;
    let mut stream = client(&[&node.endpoint]).events(EventOptions::default());
    let error = stream.next().await.expect_err("it is refused");
    assert!(
        matches!(&error, RequestError::Invalid { status: 400, .. }),
        "{error:?}"
    );

    let (_socket, gone) = unreachable_node();
    let options = ClientOptions {
        fail_fast: true,
        ..ClientOptions::default()
    };
    let mut stream = client_with(&[&gone], options).events(EventOptions::default());
    let error = stream.next().await.expect_err("it is unreachable");
    assert!(
        matches!(&error, RequestError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_event_without_end_is_refused() {
    let node = ScriptedNode::start([Turn::WithoutIndex(200, FIRST)]).await;
    let options = ClientOptions {
        max_reply_bytes: 16,
        ..ClientOptions::default()
    };
    let mut stream = client_with(&[&node.endpoint], options).events(EventOptions::default());
    let error = stream.next().await.expect_err("it is too long");
    assert!(
        matches!(&error, RequestError::Malformed { .. }),
        "{error:?}"
    );
}
