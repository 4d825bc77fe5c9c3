use super::support::{ScriptedNode, Turn, client};
use crate::{LogItem, LogOptions, RequestError};

const STORED: &str = ": log of the node\nid: 00000000000012ab.3\n\nevent: gap\ndata: {\"missed\":2,\"message\":\"m\"}\nid: 00000000000012ab.5\n\nevent: line\ndata: {\"time_ms\":9,\"level\":\"info\",\"source\":\"guest\",\"target\":\"guest\",\"text\":\"one\",\"new\":1}\nid: 00000000000012ab.6\n\n";
const LATER: &str = ": log of the node\nid: 00000000000012ab.6\n\nevent: line\ndata: {\"time_ms\":10,\"level\":\"warn\",\"source\":\"node\",\"target\":\"oarlock\",\"text\":\"two\"}\nid: 00000000000012ab.7\n\n";
const UNKNOWN: &str = "event: colour\ndata: red\nid: 00000000000012ab.7\n\n";

fn text(item: LogItem) -> String {
    match item {
        LogItem::Line(line) => format!("{} {}: {}", line.level, line.source, line.text),
        LogItem::Gap(missed) => format!("gap {missed:?}"),
    }
}

#[tokio::test]
async fn a_log_is_read_and_followed_after_its_last_line() {
    let node = ScriptedNode::start([
        Turn::WithoutIndex(200, STORED),
        Turn::WithoutIndex(200, LATER),
    ])
    .await;
    let client = client(&[&node.endpoint]);
    let options = LogOptions {
        level: Some("info".to_owned()),
        source: None,
        tail: Some(7),
    };
    let page = client.log_of(&node.endpoint, &options).await.unwrap();
    let texts: Vec<String> = page.items.into_iter().map(text).collect();
    assert_eq!(texts, ["gap Some(2)", "info guest: one"]);
    assert_eq!(page.last_id, "00000000000012ab.6");
    let mut stream = client.follow_log(&options, Some(page.last_id));
    assert_eq!(text(stream.next().await.unwrap()), "warn node: two");
    let seen = node.seen();
    assert_eq!(seen[0].line, "GET /v1/logs?follow=false&level=info&tail=7");
    assert_eq!(seen[1].line, "GET /v1/logs?follow=true&level=info&tail=7");
    assert_eq!(seen[1].header("last-event-id"), Some("00000000000012ab.6"));
}

#[tokio::test]
async fn an_unknown_item_of_a_log_is_an_error() {
    let node = ScriptedNode::start([Turn::WithoutIndex(200, UNKNOWN)]).await;
    let client = client(&[&node.endpoint]);
    let read = client.log_of(&node.endpoint, &LogOptions::default()).await;
    assert!(
        matches!(&read, Err(RequestError::Malformed { message, .. }) if message.contains("colour")),
        "{read:?}"
    );
}
