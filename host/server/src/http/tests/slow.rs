//! Clients that don't read, and clients that go away before they get a response.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Guest, Running, request};
use crate::http::app::App;
use crate::http::connection_table::CloseReason;

/// A command whose reply has about 3.5 MB, more than all buffers between node and client.
const LARGE: &str = r#"{"draw":{"length":1000000}}"#;
/// An endless query.
const SPIN: &str = r#"{"spin":{}}"#;

fn post(path: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{more}content-length: {length}\r\n\r\n{body}"
    )
}

/// A node that soon closes the connections of clients that don't read.
async fn impatient() -> Running {
    Running::start_with(Guest::Faulty, |settings| {
        settings.http.waiting.stall_timeout = Duration::from_millis(100);
    })
    .await
}

/// A node whose queries never run out of fuel.
async fn endless() -> Running {
    Running::start_with(Guest::Faulty, |settings| {
        settings.limits.fuel_per_query = u64::MAX / 2;
    })
    .await
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    // Counters of another thread: nothing announces their change.
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    let reached = async {
        while !condition() {
            looks.tick().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
    reached.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn until_closed(app: &App, reason: CloseReason, count: u64) {
    until("the connection is closed", || {
        app.connections.closed(reason) == count
    })
    .await;
    until("nothing waits", || app.connections.waiting() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_replies_is_disconnected() {
    let running = impatient().await;
    let app = running.node.app();
    // On the fast path, and on the slow one.
    for (count, more) in [(1, ""), (2, "connection: keep-alive, te\r\n")] {
        let mut stream = running.client.connect().await;
        let requests = post("/v1/apply", more, LARGE).repeat(8);
        stream
            .write_all(requests.as_bytes())
            .await
            .expect("it reads");
        until_closed(app, CloseReason::Stalled, count).await;
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut rest).await;
        let responses = String::from_utf8_lossy(&rest)
            .matches("HTTP/1.1 200 OK")
            .count();
        assert!(responses < 8, "{responses}");
    }
    let other = running.client.apply(r#"{"add":{"by":1}}"#).await;
    assert_eq!(other.json(), json!({"value": 1}));
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_a_stream_of_http2_is_disconnected() {
    let running = impatient().await;
    let io = TokioIo::new(running.client.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .handshake(io)
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let url = format!("http://{}/v1/apply", running.client.0);
    let body = Full::new(Bytes::from_static(LARGE.as_bytes()));
    let response = sender
        .send_request(request(&running.client.0, "POST", &url, &[], body))
        .await
        .expect("a response");
    until_closed(running.node.app(), CloseReason::Stalled, 1).await;
    response
        .into_body()
        .collect()
        .await
        .expect_err("the connection is closed");
    // It ends, with or without an error.
    let _ = connection.await.expect("no panic");
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_events_is_disconnected_and_continues_with_a_gap() {
    let running = impatient().await;
    let mut stream = running.client.connect().await;
    let head = b"GET /v1/events?after=0.0 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(head).await.expect("it reads");
    let mut begin = vec![0; 12];
    stream.read_exact(&mut begin).await.expect("a response");
    let payload = "x".repeat(500_000);
    let emit = json!({"emit": {"topic": "t", "payload": payload}}).to_string();
    for _ in 0..50 {
        assert_eq!(running.client.apply(emit.clone()).await.status, 200);
    }
    until_closed(running.node.app(), CloseReason::Stalled, 1).await;
    let mut again = running.client.connect().await;
    again.write_all(head).await.expect("it reads");
    let mut text = String::new();
    while !text.contains("oarlock.gap") {
        let mut bytes = vec![0; 10_000];
        let read = again.read(&mut bytes).await.expect("an open stream");
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_memory_for_replies_the_slowest_client_is_disconnected() {
    let running = Running::start_with(Guest::Faulty, |settings| {
        settings.http.waiting.total_bytes = 8 << 20;
    })
    .await;
    let app = running.node.app();
    let mut slow = Vec::new();
    for _ in 0..6 {
        let mut stream = running.client.connect().await;
        let requests = post("/v1/apply", "", LARGE).repeat(4);
        stream
            .write_all(requests.as_bytes())
            .await
            .expect("it reads");
        slow.push(stream);
    }
    until("the slowest are disconnected", || {
        app.connections.closed(CloseReason::TotalBytes) >= 3
    })
    .await;
    let other = running.client.apply(LARGE).await;
    assert_eq!(other.status, 200);
    drop(slow);
    until("nothing waits", || app.connections.waiting() == 0).await;
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_longest_idle_connection_gives_its_place_to_a_new_one() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.http.max_connections = 2;
        settings.http.waiting.place_kept = Duration::ZERO;
    })
    .await;
    let app = running.node.app();
    let health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..5 {
        let mut stream = running.client.connect().await;
        stream.write_all(health).await.expect("it reads");
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("a response");
        assert_eq!(&head, b"HTTP/1.1 200");
        idle.push(stream);
    }
    assert_eq!(app.connections.closed(CloseReason::Idle), 3);
    for stream in &mut idle[..3] {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("a clean end");
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn streams_leave_half_of_the_places_to_other_clients() {
    let running =
        Running::start_with(Guest::Counter, |settings| settings.http.max_connections = 4).await;
    let mut streams = Vec::new();
    for status in ["200", "200", "429"] {
        let mut stream = running.client.connect().await;
        let head = b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(head).await.expect("it reads");
        let mut begin = vec![0; 12];
        stream.read_exact(&mut begin).await.expect("a response");
        assert_eq!(String::from_utf8_lossy(&begin[9..]), status);
        streams.push(stream);
    }
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_when_its_client_disconnects() {
    let running = endless().await;
    let app = running.node.app();
    let queries = || app.machine.get().queries;
    for (ended, more) in [(1, ""), (2, "connection: close\r\n")] {
        let mut stream = running.client.connect().await;
        let query = post("/v1/query", more, SPIN);
        stream.write_all(query.as_bytes()).await.expect("it reads");
        until("it runs", || queries().running == 1).await;
        drop(stream);
        until("it is interrupted", || queries().abandoned_running == ended).await;
    }
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_goes_on_while_a_client_that_closed_its_half_waits() {
    let running = Running::start_with(Guest::Faulty, |settings| {
        settings.limits.fuel_per_query = 5_000_000_000;
    })
    .await;
    let mut stream = running.client.connect().await;
    let query = post("/v1/query", "oarlock-timeout-ms: 600000\r\n", SPIN);
    stream.write_all(query.as_bytes()).await.expect("it reads");
    stream.shutdown().await.expect("half-closed");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("a response, then the end");
    let last = response
        .rsplit("HTTP/1.1 100 Continue\r\n\r\n")
        .next()
        .expect("a response");
    assert!(
        last.starts_with("HTTP/1.1 500 ") && last.contains("out_of_fuel"),
        "{response}"
    );
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_when_its_stream_of_http2_is_reset() {
    let running = endless().await;
    let app = running.node.app();
    let io = TokioIo::new(running.client.connect().await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let url = format!("http://{}/v1/query", running.client.0);
    let body = Full::new(Bytes::from_static(SPIN.as_bytes()));
    let response = sender.send_request(request(&running.client.0, "POST", &url, &[], body));
    let response = tokio::spawn(response);
    until("it runs", || app.machine.get().queries.running == 1).await;
    response.abort();
    until("it is interrupted", || {
        app.machine.get().queries.abandoned_running == 1
    })
    .await;
    // The connection serves other requests.
    let url = format!("http://{}/healthz", running.client.0);
    let health = request(&running.client.0, "GET", &url, &[], Full::new(Bytes::new()));
    let health = sender.send_request(health).await.expect("a response");
    assert_eq!(health.status(), 200);
    connection.abort();
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_at_its_deadline() {
    let running = endless().await;
    let timeout = [("oarlock-timeout-ms", "100")];
    for (ended, path) in [(1, "/v1/query"), (2, "/v1/query?consistency=stale")] {
        let response = running.client.send("POST", path, &timeout, SPIN).await;
        response.assert_error(504, "timeout");
        until("it is interrupted", || {
            running.node.app().machine.get().queries.abandoned_running == ended
        })
        .await;
    }
    running.node.shutdown().await;
}
