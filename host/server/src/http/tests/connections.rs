//! Connections: both protocols, half-closed, kept alive, too many, idle, and at shutdown.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Guest, ReceivedResponse, Running, request};

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let running = Running::start(Guest::Counter).await;
    let response = running
        .client
        .send_http2("POST", "/v1/apply", r#"{"add":{"by":5}}"#)
        .await;
    assert_eq!(
        (response.status.as_u16(), response.json()),
        (200, json!({"value": 5}))
    );
    assert!(!response.header("oarlock-index").is_empty());
    running
        .client
        .send_http2("POST", "/v1/apply", "")
        .await
        .assert_error(400, "malformed");
    assert_eq!(
        running
            .client
            .send_http2("GET", "/v1/status", "")
            .await
            .status,
        200
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let running = Running::start(Guest::Counter).await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(running.client.connect().await))
            .await
            .expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    for value in 1..=3 {
        let body = Full::new(Bytes::from_static(br#"{"add":{"by":1}}"#));
        sender.ready().await.expect("the connection is kept");
        let response = sender
            .send_request(request("localhost", "POST", "/v1/apply", &[], body))
            .await
            .expect("a response");
        assert_eq!(
            ReceivedResponse::of(response).await.json(),
            json!({"value": value})
        );
    }
    drop(sender);
    connection.await.expect("it ends").expect("a clean close");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_client_that_closed_its_half_receives_the_response() {
    let running = Running::start(Guest::Counter).await;
    let mut stream = running.client.connect().await;
    let body = r#"{"add":{"by":5}}"#;
    let head = format!(
        "POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("it reads");
    stream.shutdown().await.expect("half-closed");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("a response, then the end");
    assert!(
        response.starts_with("HTTP/1.1 200 ") && response.ends_with(r#"{"value":5}"#),
        "{response}"
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn an_incomplete_body_is_not_applied() {
    let running = Running::start(Guest::Counter).await;
    let mut stream = running.client.connect().await;
    stream
        .write_all(b"POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{\"add\":{\"by\":5}}")
        .await
        .expect("it reads");
    stream.shutdown().await.expect("half-closed");
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    assert!(!String::from_utf8_lossy(&response).contains("200 OK"));
    assert_eq!(
        running.client.query(r#"{"get":{}}"#).await.json(),
        json!({"value": 0})
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.http.body_timeout = Duration::from_millis(50);
    })
    .await;
    let mut stream = running.client.connect().await;
    stream
        .write_all(b"POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        .await
        .expect("it reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("a response, then the end");
    assert!(
        response.starts_with("HTTP/1.1 400 ") && response.contains("did not arrive"),
        "{response}"
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_and_counted_while_no_other_is_idle() {
    let running =
        Running::start_with(Guest::Counter, |settings| settings.http.max_connections = 1).await;
    let mut first = running.client.connect().await;
    first
        .write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("it reads");
    let mut head = [0; 12];
    first.read_exact(&mut head).await.expect("a response");
    assert_eq!(&head, b"HTTP/1.1 200");
    let mut second = running.client.connect().await;
    let mut rest = Vec::new();
    // A reset counts as the end too.
    let _ = second.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    assert_eq!(running.node.app().metrics.rejected_connections.get(), 1);
    running.node.shutdown().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.http.idle_timeout = Duration::from_millis(50);
    })
    .await;
    for opening in [&b""[..], b"GET /he", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = running.client.connect().await;
        stream.write_all(opening).await.expect("it reads");
        let mut response = Vec::new();
        // The test passes as soon as the connection ends, with or without a response.
        let _ = stream.read_to_end(&mut response).await;
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_stops_completes_requests_in_flight_and_frees_its_port() {
    let running = Running::start_with(Guest::Faulty, |settings| {
        settings.limits.fuel_per_command = 100_000_000;
    })
    .await;
    let client = running.client.clone();
    let mut status = running.node.app().raft.watch_status();
    let before = status.borrow_and_update().last;
    let request = tokio::spawn({
        let client = client.clone();
        async move { client.apply(r#"{"spin":{}}"#).await }
    });
    status
        .wait_for(|status| status.last > before)
        .await
        .expect("the command is in the log");
    let idle = client.connect().await;
    running.node.shutdown().await;
    request
        .await
        .expect("it ends")
        .assert_error(500, "out_of_fuel");
    let mut idle = idle;
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    std::net::TcpListener::bind(&client.0).expect("the port is free");
}
