//! Invalid requests, and bodies at the limit.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Client, Guest, Running};

/// A command with this number of bytes, padded with spaces, which JSON ignores.
fn padded(bytes: usize) -> String {
    let command = r#"{"add":{"by":1}}"#;
    " ".repeat(bytes - command.len()) + command
}

async fn limited() -> Running {
    Running::start_with(Guest::Counter, |settings| {
        settings.limits.command_bytes = 1000;
    })
    .await
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes_and_one_byte_more_is_413_with_the_limit() {
    let running = limited().await;
    assert_eq!(
        running.client.apply(padded(1000)).await.json(),
        json!({"value": 1})
    );
    for path in ["/v1/apply", "/v1/query"] {
        let response = running.client.send("POST", path, &[], padded(1001)).await;
        response.assert_error(413, "too_large");
        assert!(
            response.json()["error"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("1000"))
        );
    }
    // Far more than the socket buffers hold. The client can still read the response.
    running
        .client
        .apply(padded(20 << 20))
        .await
        .assert_error(413, "too_large");
    assert_eq!(
        running.client.query(r#"{"get":{}}"#).await.json(),
        json!({"value": 1})
    );
    running.node.shutdown().await;
}

/// Writes bytes, then reads until the node closes the connection.
async fn exchange(client: &Client, bytes: &[u8]) -> String {
    let mut stream = client.connect().await;
    stream.write_all(bytes).await.expect("it reads");
    let mut response = Vec::new();
    stream
        .read_to_end(&mut response)
        .await
        .expect("a response, then the end");
    String::from_utf8_lossy(&response).into_owned()
}

fn chunked(path: &str, chunks: &[&str]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in chunks {
        bytes.extend_from_slice(format!("{:x}\r\n{chunk}\r\n", chunk.len()).as_bytes());
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn chunked_bodies_have_the_same_limit() {
    let running = limited().await;
    let command = padded(1000);
    let (left, right) = command.split_at(600);
    let response = exchange(&running.client, &chunked("/v1/apply", &[left, right])).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let response = exchange(&running.client, &chunked("/v1/apply", &[left, right, " "])).await;
    assert!(
        response.starts_with("HTTP/1.1 413 ") && response.contains("too_large"),
        "{response}"
    );
    let response = exchange(&running.client, &chunked("/v1/apply", &[])).await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert_eq!(
        running.client.query(r#"{"get":{}}"#).await.json(),
        json!({"value": 1})
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn invalid_requests_are_400_404_or_405() {
    let running = Running::start(Guest::Counter).await;
    let add = r#"{"add":{"by":1}}"#;
    for (headers, body) in [
        (&[][..], ""),
        (&[("idempotency-key", "")], add),
        (&[("idempotency-key", "a b")], add),
        (&[("idempotency-key", "a"), ("idempotency-key", "b")], add),
        (&[("oarlock-timeout-ms", "0")], add),
        (&[("oarlock-timeout-ms", "600001")], add),
        (&[("oarlock-timeout-ms", "soon")], add),
    ] {
        running
            .client
            .apply_with(headers, body)
            .await
            .assert_error(400, "malformed");
    }
    running
        .client
        .query("")
        .await
        .assert_error(400, "malformed");
    let query = running
        .client
        .send("POST", "/v1/query?consistency=strong", &[], r#"{"get":{}}"#)
        .await;
    query.assert_error(400, "malformed");
    running
        .client
        .get("/v1/nothing")
        .await
        .assert_error(404, "not_found");
    running
        .client
        .send("POST", "/v1/apply/", &[], add)
        .await
        .assert_error(404, "not_found");
    for (method, path, allowed) in [
        ("GET", "/v1/apply", "POST"),
        ("PUT", "/v1/query", "POST"),
        ("DELETE", "/v1/status", "GET"),
        ("POST", "/healthz", "GET"),
        ("GET", "/v1/snapshot", "POST"),
    ] {
        let response = running.client.send(method, path, &[], "").await;
        response.assert_error(405, "method_not_allowed");
        assert!(
            response.header("allow").contains(allowed),
            "{path}: {response:?}"
        );
    }
    assert_eq!(
        running.client.query(r#"{"get":{}}"#).await.json(),
        json!({"value": 0})
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn errors_of_encodings_are_json() {
    let running = limited().await;
    let host = "host: localhost\r\n";
    for (request, status, code) in [
        (
            format!(
                "POST /v1/apply HTTP/1.1\r\n{host}transfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n0\r\n\r\n"
            ),
            501,
            "not_supported",
        ),
        (
            format!("DELETE /v1/members/%ff HTTP/1.1\r\n{host}connection: close\r\n\r\n"),
            400,
            "malformed",
        ),
    ] {
        // As the first request of a connection, and after another one.
        for before in ["", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
            let text = exchange(&running.client, format!("{before}{request}").as_bytes()).await;
            let last = text.rfind("HTTP/1.1 ").expect("a response");
            let (head, body) = text[last..].split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
            assert!(
                head.to_lowercase()
                    .contains("content-type: application/json"),
                "{text}"
            );
            let error: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(error["error"]["code"], code, "{text}");
        }
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn invalid_bytes_only_close_their_connection() {
    let running = Running::start(Guest::Counter).await;
    for garbage in [
        &[0xff_u8; 64][..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ninvalid-frames-after-it",
    ] {
        let mut stream = running.client.connect().await;
        stream.write_all(garbage).await.expect("it reads");
        let mut response = Vec::new();
        // A reset counts as the end too.
        let _ = stream.read_to_end(&mut response).await;
    }
    assert_eq!(
        running.client.apply(r#"{"add":{"by":1}}"#).await.json(),
        json!({"value": 1})
    );
    running.node.shutdown().await;
}
