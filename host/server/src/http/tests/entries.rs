//! `GET /v1/entries` on a real node.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Guest, Running};
use crate::archive_streams::MAX_STREAMS;

const ADD: &str = r#"{"add":{"by":5}}"#;

/// Sends a request for entries, and reads until the response contains a text.
async fn read_until(running: &Running, query: &str, wanted: &[u8]) -> (TcpStream, Vec<u8>) {
    let mut stream = running.client.connect().await;
    let request = format!("GET /v1/entries{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let written = stream.write_all(request.as_bytes()).await;
    written.expect("it reads");
    let mut bytes = Vec::new();
    while !bytes.windows(wanted.len()).any(|part| part == wanted) {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.expect("a response");
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..read]);
    }
    (stream, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_past_and_new_ones_are_sent() {
    let running = Running::start(Guest::Counter).await;
    running.client.apply_with(&[], ADD).await;
    let (mut stream, bytes) = read_until(&running, "", ADD.as_bytes()).await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(
        text.contains("content-type: application/octet-stream"),
        "{text}"
    );
    assert!(text.contains(r#""term_before":0"#), "{text}");
    // One that is applied later arrives on the same connection.
    let other = r#"{"add":{"by":77}}"#;
    running.client.apply_with(&[], other).await;
    let mut later = Vec::new();
    while !String::from_utf8_lossy(&later).contains(other) {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.expect("a response");
        assert!(read > 0, "it ended");
        later.extend_from_slice(&buffer[..read]);
    }
    // The stream ends with the node.
    running.node.shutdown().await;
    while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_limited_and_counted() {
    let running = Running::start(Guest::Counter).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        streams.push(read_until(&running, "?from=1", b"term_before").await);
    }
    let refused = running.client.get("/v1/entries?from=1").await;
    refused.assert_error(429, "overloaded");
    let metrics = running.client.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains(&format!("oarlock_archive_streams {MAX_STREAMS}\n")),
        "{metrics}"
    );
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_headers_that_are_not_valid_are_refused() {
    let running = Running::start(Guest::Counter).await;
    for query in [
        "from=0",
        "from=-1",
        "from=",
        "from=18446744073709551616",
        "after=1",
        "from=1&from=2",
    ] {
        let refused = running.client.get(&format!("/v1/entries?{query}")).await;
        refused.assert_error(400, "malformed");
    }
    let headers = [("Oarlock-Timeout-Ms", "0")];
    let refused = running
        .client
        .send("GET", "/v1/entries", &headers, "")
        .await;
    refused.assert_error(400, "malformed");
    running.node.shutdown().await;
}
