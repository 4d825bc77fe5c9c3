//! The log of a node over HTTP. All nodes of this process share one, so each test looks for its own lines.

use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::support::{Client, Guest, Running, request};
use crate::node_log::{KEPT_LINES, LineSource, NodeLog, NodeLogLine, Severity};

fn write(level: Severity, source: LineSource, text: &str) {
    NodeLog::of_process().write(NodeLogLine {
        time_ms: 5,
        level,
        source,
        target: "test",
        text: text.into(),
    });
}

/// The texts of the lines in a stream that begin with `mark`.
fn texts(stream: &str, mark: &str) -> Vec<String> {
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let lines = data.map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
    lines
        .filter_map(|line| Some(line["text"].as_str()?.strip_prefix(mark)?.to_owned()))
        .collect()
}

async fn stored(client: &Client, query: &str) -> String {
    let response = client.get(&format!("/v1/logs?{query}")).await;
    assert_eq!(response.status, 200, "{response:?}");
    String::from_utf8(response.body.to_vec()).expect("text")
}

/// A stream that follows.
struct Following {
    body: Incoming,
    text: String,
}

impl Following {
    async fn open(client: &Client, query: &str) -> Self {
        let io = TokioIo::new(client.connect().await);
        let opened = hyper::client::conn::http1::handshake(io).await;
        let (mut sender, connection) = opened.expect("HTTP/1.1");
        tokio::spawn(connection);
        let path = format!("/v1/logs?follow=true&{query}");
        let empty = Empty::<bytes::Bytes>::new();
        let request = request(&client.0, "GET", &path, &[], empty);
        let response = sender.send_request(request).await.expect("a response");
        assert_eq!(response.status(), 200, "{response:?}");
        let mut stream = Self {
            body: response.into_body(),
            text: String::new(),
        };
        stream.read_to("\n\n").await;
        stream
    }

    async fn read_to(&mut self, what: &str) {
        while !self.text.contains(what) {
            let frame = self.body.frame().await.expect("an open stream");
            let data = frame.expect("a frame").into_data().expect("data");
            self.text += std::str::from_utf8(&data).expect("text");
        }
    }
}

#[tokio::test]
async fn stored_lines_are_filtered_and_complete() {
    let running = Running::start(Guest::Counter).await;
    let client = &running.client;
    let forged = "stored: one\n\nevent: line\ndata: {}\r\n";
    write(Severity::Info, LineSource::Guest, forged);
    write(Severity::Warn, LineSource::Node, "stored: two");
    write(Severity::Debug, LineSource::Node, "stored: three");
    let all = stored(client, "tail=10000").await;
    let mark = "stored: ";
    let one = forged.strip_prefix(mark).expect("the mark");
    assert_eq!(texts(&all, mark), [one, "two", "three"]);
    let first = all
        .split("\n\n")
        .find(|event| event.contains("stored: one"))
        .expect("the first line");
    let data = first.lines().find_map(|line| line.strip_prefix("data: "));
    assert_eq!(
        serde_json::from_str::<Value>(data.expect("data")).expect("JSON"),
        json!({"time_ms": 5, "level": "info", "source": "guest", "target": "test", "text": forged})
    );
    let severe = stored(client, "tail=10000&level=warn").await;
    assert_eq!(texts(&severe, mark), ["two"]);
    let of_guest = stored(client, "tail=10000&source=guest").await;
    assert_eq!(texts(&of_guest, mark), [one]);
    let of_node = stored(client, "tail=10000&source=node&level=info").await;
    assert_eq!(texts(&of_node, mark), ["two"]);
    assert_eq!(texts(&stored(client, "tail=0").await, mark), [""; 0]);
    // After a line.
    let id = first.lines().find_map(|line| line.strip_prefix("id: "));
    let later = stored(client, &format!("after={}", id.expect("an id"))).await;
    assert_eq!(texts(&later, mark), ["two", "three"]);
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_stream_follows_until_the_node_stops() {
    let running = Running::start(Guest::Counter).await;
    let mut stream = Following::open(&running.client, "tail=0&level=info").await;
    write(Severity::Debug, LineSource::Node, "followed: hidden");
    write(Severity::Info, LineSource::Node, "followed: one");
    stream.read_to("followed: one").await;
    write(Severity::Error, LineSource::Guest, "followed: two");
    stream.read_to("followed: two").await;
    assert_eq!(texts(&stream.text, "followed: "), ["one", "two"]);
    // An open stream doesn't delay the shutdown, and ends.
    running.node.shutdown().await;
    while let Some(Ok(_)) = stream.body.frame().await {}
}

#[tokio::test]
async fn a_position_of_an_earlier_process_is_a_gap() {
    let running = Running::start(Guest::Counter).await;
    write(Severity::Info, LineSource::Node, "restarted: one");
    let all = stored(&running.client, "after=0000000000000000.5").await;
    assert!(all.contains("event: gap\ndata: {\"missed\":null,"), "{all}");
    assert_eq!(texts(&all, "restarted: "), ["one"]);
    running.node.shutdown().await;
}

#[tokio::test]
async fn invalid_parameters_are_malformed() {
    let running = Running::start(Guest::Counter).await;
    let most = KEPT_LINES + 1;
    for query in [
        "level=loud".to_owned(),
        "source=other".to_owned(),
        format!("tail={most}"),
        "tail=-1".to_owned(),
        "after=120.0".to_owned(),
        "follow=yes".to_owned(),
        "colour=red".to_owned(),
    ] {
        let response = running.client.get(&format!("/v1/logs?{query}")).await;
        response.assert_error(400, "malformed");
    }
    running.node.shutdown().await;
}
