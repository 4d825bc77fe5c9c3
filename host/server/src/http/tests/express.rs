//! Requests on the fast path, and connections that move to the slow path.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Guest, Running};

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn add(by: u64) -> String {
    post("/v1/apply", &format!(r#"{{"add":{{"by":{by}}}}}"#))
}

/// Reads one response: its status and its body.
async fn response(stream: &mut TcpStream) -> (u16, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split_once("content-length: ").expect("a length").1;
            let length: usize = length
                .split("\r\n")
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a number");
            if body.len() >= length {
                let status = head[9..12].parse().expect("a status");
                return (status, body.to_owned());
            }
        }
        // One byte at a time, to leave the next response in the socket.
        bytes.push(stream.read_u8().await.expect("the rest of the response"));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let running = Running::start(Guest::Counter).await;
    let mut stream = running.client.connect().await;
    let mut sent = String::new();
    for by in 1..=50 {
        sent += &add(by);
        sent += &post("/v1/query?consistency=stale", "no query");
    }
    sent += &post("/v1/query", r#"{"get":{}}"#);
    stream.write_all(sent.as_bytes()).await.expect("it reads");
    let mut sum = 0;
    for by in 1..=50 {
        sum += by;
        assert_eq!(
            response(&mut stream).await,
            (200, json!({"value": sum}).to_string())
        );
        assert_eq!(
            response(&mut stream).await.0,
            422,
            "the guest rejects an unknown query"
        );
    }
    let (status, _) = response(&mut stream).await;
    assert_eq!(status, 200);
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_request_may_arrive_byte_by_byte() {
    let running = Running::start(Guest::Counter).await;
    let mut stream = running.client.connect().await;
    stream.set_nodelay(true).expect("a socket");
    for (value, by) in [(5, 5), (12, 7)] {
        for byte in add(by).bytes() {
            stream.write_all(&[byte]).await.expect("it reads");
            stream.flush().await.expect("it reads");
        }
        assert_eq!(
            response(&mut stream).await,
            (200, json!({"value": value}).to_string())
        );
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn other_requests_are_served_on_the_same_connection() {
    let running = Running::start(Guest::Counter).await;
    let mut stream = running.client.connect().await;
    // In one write: the first two are in flight when the third one needs the slow path.
    let sent = [
        add(1),
        add(2),
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        add(3),
        "POST /v1/apply HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"add\":{\"by\":4}}\r\n0\r\n\r\n".to_owned(),
        post("/v1/apply", ""),
    ];
    stream
        .write_all(sent.concat().as_bytes())
        .await
        .expect("it reads");
    for (status, value) in [
        (200, Some(1)),
        (200, Some(3)),
        (200, None),
        (200, Some(6)),
        (200, Some(10)),
        (400, None),
    ] {
        let (found, body) = response(&mut stream).await;
        assert_eq!(found, status, "{body}");
        if let Some(value) = value {
            assert_eq!(body, json!({"value": value}).to_string());
        }
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn both_paths_return_the_same_responses() {
    let running = Running::start(Guest::Counter).await;
    let slow = "connection: keep-alive, te\r\nte: trailers\r\n";
    for body in [r#"{"add":{"by":0}}"#, "no JSON", r#"{"add":{}}"#] {
        for key in [
            "",
            "idempotency-key: \r\n",
            "oarlock-timeout-ms: soon\r\n",
            "idempotency-key: a\r\nidempotency-key: b\r\n",
        ] {
            let mut responses = Vec::new();
            for more in ["", slow] {
                let mut stream = running.client.connect().await;
                let request = post("/v1/apply", body).replacen(
                    "host: localhost\r\n",
                    &format!("host: localhost\r\n{key}{more}"),
                    1,
                );
                stream
                    .write_all(request.as_bytes())
                    .await
                    .expect("it reads");
                responses.push(response(&mut stream).await);
            }
            assert_eq!(responses[0], responses[1], "{body} with {key:?}");
        }
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_stops_closes_the_connection_cleanly() {
    let running = Running::start(Guest::Counter).await;
    let mut stream = running.client.connect().await;
    stream.write_all(add(5).as_bytes()).await.expect("it reads");
    assert_eq!(response(&mut stream).await.0, 200);
    running.node.shutdown().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("a clean close");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}
