//! Requests that a web page makes a browser send are refused, on the fast path and on the slow one.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Guest, ReceivedResponse, Running};

const ADD: &str = r#"{"add":{"by":1}}"#;

/// Sends a request with exactly these header lines, and returns the response as text.
async fn raw(running: &Running, target: &str, headers: &[&str], body: &str) -> String {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut request = format!("{method} {target} HTTP/1.1\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    request.push_str(&format!("\r\n{body}"));
    let mut stream = running.client.connect().await;
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    stream.shutdown().await.expect("half of it is closed");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("a response");
    response
}

#[track_caller]
fn assert_refused(response: &str, status: u16, code: &str) {
    let head = format!("HTTP/1.1 {status} ");
    let body = format!(r#""code":"{code}""#);
    assert!(
        response.starts_with(&head) && response.contains(&body),
        "{response}"
    );
}

async fn value(running: &Running) -> serde_json::Value {
    running.client.query(r#"{"get":{}}"#).await.json()["value"].clone()
}

#[tokio::test]
async fn another_host_is_421_and_nothing_is_applied() {
    let running = Running::start(Guest::Counter).await;
    for host in [
        "host: evil.example",
        "host: 127.0.0.1.evil.example:8101",
        "host: 10.9.9.9:8101",
        "host: ",
    ] {
        for (target, body) in [
            ("/v1/apply", ADD),
            ("/v1/status", ""),
            ("/", ""),
            ("/none", ""),
        ] {
            let response = raw(&running, target, &[host], body).await;
            assert_refused(&response, 421, "unknown_host");
        }
    }
    let headers = ["host: localhost"];
    let absolute = raw(&running, "http://evil.example/v1/apply", &headers, ADD).await;
    assert_refused(&absolute, 421, "unknown_host");
    let twice = ["host: localhost", "host: evil.example"];
    assert_refused(
        &raw(&running, "/v1/apply", &twice, ADD).await,
        400,
        "malformed",
    );
    let http2 = running
        .client
        .send_http2_to("evil.example", "POST", "/v1/apply", ADD)
        .await;
    http2.assert_error(421, "unknown_host");
    assert_eq!(value(&running).await, json!(0));
    for host in [
        "localhost:1",
        "LOCALHOST",
        "127.0.0.1",
        "[::1]:8101",
        "a.localhost",
    ] {
        let host = format!("host: {host}");
        let response = raw(&running, "/v1/apply", &[&host], ADD).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
    assert_eq!(value(&running).await, json!(5));
    running.node.shutdown().await;
}

#[tokio::test]
async fn an_allowed_host_and_the_host_of_the_client_address_are_served() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.allowed_hosts = vec!["oarlock.example".to_owned()];
        settings.client_addr.host = "localhost".to_owned();
    })
    .await;
    for host in ["host: oarlock.example:443", "host: localhost"] {
        let response = raw(&running, "/v1/apply", &[host], ADD).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_request_of_a_foreign_page_is_403_and_nothing_is_applied() {
    let running = Running::start(Guest::Counter).await;
    let host = format!("host: {}", running.client.0);
    for header in [
        "origin: http://evil.example",
        "origin: http://127.0.0.1:3000",
        "origin: null",
        "sec-fetch-site: cross-site",
        "Sec-Fetch-Site: Cross-Site",
    ] {
        for (target, body) in [
            ("/v1/apply", ADD),
            ("/v1/query", ADD),
            ("/v1/state-machine", "x"),
        ] {
            let form = "content-type: application/x-www-form-urlencoded";
            let response = raw(&running, target, &[&host, header, form], body).await;
            assert_refused(&response, 403, "cross_origin");
        }
        let response = raw(&running, "/v1/status", &[&host, header], "").await;
        assert_refused(&response, 403, "cross_origin");
    }
    let own = format!("origin: http://{}", running.client.0);
    for headers in [
        &[host.as_str(), &own, "sec-fetch-site: same-origin"][..],
        &[&host, "sec-fetch-site: none"],
        &[&host, "content-type: application/x-www-form-urlencoded"],
    ] {
        let response = raw(&running, "/v1/apply", headers, ADD).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
    assert_eq!(value(&running).await, json!(3));
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_link_to_the_dashboard_works_and_a_frame_with_it_does_not() {
    let running = Running::start(Guest::Counter).await;
    let link = [
        "host: localhost",
        "sec-fetch-site: cross-site",
        "sec-fetch-mode: navigate",
        "sec-fetch-dest: document",
    ];
    let page = raw(&running, "/", &link, "").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert_refused(
        &raw(&running, "/v1/status", &link, "").await,
        403,
        "cross_origin",
    );
    let mut frame = link;
    frame[3] = "sec-fetch-dest: iframe";
    assert_refused(&raw(&running, "/", &frame, "").await, 403, "cross_origin");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_json_route_wants_the_content_type_of_json() {
    let running = Running::start(Guest::Counter).await;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        for (path, body) in [
            (
                "/v1/members",
                r#"{"node_id":"evil","peer_addr":"10.6.6.6:7101"}"#,
            ),
            ("/v1/leader/transfer", "{}"),
            ("/v1/settings", r#"{"set":{"keys":1}}"#),
            ("/v1/audit/accept", r#"{"node":"node1"}"#),
        ] {
            let headers = [("content-type", content_type)];
            let response: ReceivedResponse =
                running.client.send("POST", path, &headers, body).await;
            response.assert_error(415, "unsupported_media_type");
        }
    }
    let bare = raw(
        &running,
        "/v1/members",
        &["host: localhost"],
        r#"{"node_id":"evil"}"#,
    )
    .await;
    assert_refused(&bare, 415, "unsupported_media_type");
    let members = running.client.get("/v1/members").await.json();
    assert_eq!(
        members["members"].as_array().map(Vec::len),
        Some(1),
        "{members}"
    );
    running.node.shutdown().await;
}
