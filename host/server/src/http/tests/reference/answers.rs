//! Requests that the table allows, and those that it does not, sent to real nodes.

use std::collections::BTreeSet;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::support::{Guest, ReceivedResponse, Running};
use crate::http::reference::{BodySpec, ParameterPlace, RouteSpec};
use crate::http::routes;

const ADD: &str = r#"{"add":{"by":5}}"#;

/// A request with these query parameters and headers.
struct Example {
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

impl Example {
    /// The path with the examples of its parameters, and a valid body.
    fn of(route: &RouteSpec) -> Self {
        let mut target = route.path.to_owned();
        for parameter in route.parameters {
            if parameter.place == ParameterPlace::Path {
                target = target.replace(&format!("{{{}}}", parameter.name), parameter.example);
            }
        }
        let body = match route.body {
            BodySpec::None => Vec::new(),
            BodySpec::Guest("query") => br#"{"get":{}}"#.to_vec(),
            BodySpec::Guest(_) => ADD.into(),
            BodySpec::Module => std::fs::read(Guest::Counter.path()).expect("a module"),
            BodySpec::Json { example, .. } => example.into(),
        };
        let mut headers = Vec::new();
        // No node answers at the address of the example, so that the request would wait for it.
        if route.path.starts_with("/v1/members") && route.method != "GET" {
            headers.push(("Oarlock-Timeout-Ms", "500"));
        }
        Self {
            target,
            headers,
            body,
        }
    }

    fn with_query(mut self, name: &str, value: &str) -> Self {
        self.target.push_str(&format!("?{name}={value}"));
        self
    }

    fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value));
        self
    }

    /// Sends it. The client compares the response with the table.
    async fn send(self, running: &Running, method: &str) -> ReceivedResponse {
        let Self {
            target,
            headers,
            body,
        } = self;
        running.client.send(method, &target, &headers, body).await
    }
}

const EVENTS: &str = "/v1/events";

fn is_stream(route: &RouteSpec) -> bool {
    [EVENTS, "/v1/entries"].contains(&route.path)
}

/// All routes but the streams, which do not end.
fn answering() -> impl Iterator<Item = &'static RouteSpec> {
    routes::all().filter(|route| !is_stream(route))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_responds() {
    let running = Running::start(Guest::Counter).await;
    for route in answering() {
        let response = Example::of(route).send(&running, route.method).await;
        let code = response.status.as_u16();
        let unknown = response.status == 404 && response.json()["error"]["code"] == "not_found";
        assert!(!unknown && code != 405, "{}: {response:?}", route.path);
        assert!(![400, 500].contains(&code), "{}: {response:?}", route.path);
    }
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_and_header_is_accepted_and_another_parameter_is_not() {
    let running = Running::start(Guest::Counter).await;
    for route in answering() {
        let mut examples = Vec::new();
        for parameter in route.parameters {
            if parameter.place == ParameterPlace::Query {
                examples.push(Example::of(route).with_query(parameter.name, parameter.example));
            }
        }
        for header in route.headers {
            examples.push(Example::of(route).with_header(header.name, header.example));
        }
        for example in examples {
            let shown = example.target.clone();
            let response = example.send(&running, route.method).await;
            assert_ne!(response.status, 400, "{shown}: {response:?}");
        }
        let has_query = route
            .parameters
            .iter()
            .any(|parameter| parameter.place == ParameterPlace::Query);
        if has_query {
            let other = Example::of(route).with_query("no_such", "1");
            let response = other.send(&running, route.method).await;
            response.assert_error(400, "malformed");
        }
    }
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_table_excludes_is_refused() {
    let running = Running::start(Guest::Counter).await;
    for route in answering() {
        for header in route.headers {
            let wrong = match header.name {
                "Oarlock-Timeout-Ms" => ["0", "600001", "1.5", "+1"],
                "Last-Event-ID" => ["1", "1.1", "00000000000012ab", "00000000000012ab.x"],
                "Idempotency-Key" => ["", "a b", "a\tb", "\t"],
                other => panic!("which values of {other} are refused?"),
            };
            for value in wrong {
                let example = Example::of(route).with_header(header.name, value);
                let response = example.send(&running, route.method).await;
                response.assert_error(400, "malformed");
            }
        }
    }
    let path = "/v1/members/%ff";
    let invalid = running.client.send("DELETE", path, &[], "").await;
    invalid.assert_error(400, "malformed");
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_lists_its_methods_where_it_does_not_have_one() {
    let running = Running::start(Guest::Counter).await;
    let paths: BTreeSet<&str> = routes::all().map(|route| route.path).collect();
    for path in paths {
        let response = running.client.send("PATCH", path, &[], "").await;
        response.assert_error(405, "method_not_allowed");
        let mut allowed: Vec<&str> = response.header("allow").split(',').collect();
        // HEAD is answered wherever GET is.
        allowed.retain(|method| *method != "HEAD");
        allowed.sort_unstable();
        let mut methods: Vec<&str> = routes::all()
            .filter(|route| route.path == path)
            .map(|route| route.method)
            .collect();
        methods.sort_unstable();
        assert_eq!(allowed, methods, "{path}");
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_stream_of_events_begins_with_the_documented_head() {
    let running = Running::start(Guest::Counter).await;
    let route = routes::all().find(|route| route.path == EVENTS);
    let route = route.expect("there is one");
    for (query, header) in [
        ("", ""),
        ("?after=120.0&topic=orders", ""),
        ("", "last-event-id: 120.0\r\n"),
        ("", "last-event-id: \r\n"),
    ] {
        let mut stream = running.client.connect().await;
        let path = route.path;
        let request = format!("GET {path}{query} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n");
        let written = stream.write_all(request.as_bytes()).await;
        written.expect("it reads");
        let mut head = String::new();
        while !head.contains("\r\n\r\n") {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).await.expect("a response");
            assert!(read > 0, "the stream ended: {head}");
            head.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{query}: {head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
    }
    for target in ["/v1/events?after=x", "/v1/events?colour=red"] {
        let response = running.client.get(target).await;
        response.assert_error(400, "malformed");
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_repeated_command_has_the_index_of_the_repetition() {
    let running = Running::start(Guest::Counter).await;
    let key = [("idempotency-key", "once")];
    let first = running.client.apply_with(&key, ADD).await;
    let again = running.client.apply_with(&key, ADD).await;
    let index = |response: &ReceivedResponse| {
        let header = response.header("oarlock-index");
        header.parse::<u64>().expect("a number")
    };
    assert_eq!(again.body, first.body);
    assert!(index(&again) > index(&first), "{again:?}");
    let status = running.client.get("/v1/status").await.json();
    let applied = status["applied_index"].as_u64().expect("a number");
    assert!(index(&again) <= applied, "{status:#}");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_command_that_was_not_applied_leaves_its_key_free() {
    let running = Running::start(Guest::Faulty).await;
    let key = [("idempotency-key", "once")];
    let failed = running.client.apply_with(&key, r#"{"trap":{}}"#).await;
    failed.assert_error(500, "trap");
    let other = running.client.apply_with(&key, ADD).await;
    assert_eq!(other.json(), json!({"value": 5}));
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_can_not_be_changed_are_409_with_a_code() {
    let running = Running::start_with(Guest::Counter, |settings| {
        // No audit within the test.
        settings.audit_interval = std::time::Duration::from_secs(3600);
    })
    .await;
    let client = &running.client;
    let last = client.send("DELETE", "/v1/members/node1", &[], "").await;
    last.assert_error(409, "last_voter");
    let body = json!({"to": "node9"}).to_string();
    let stranger = client.send("POST", "/v1/leader/transfer", &[], body).await;
    stranger.assert_error(409, "not_a_voter");
    let body = json!({"node": "node1"}).to_string();
    let unknown = client.send("POST", "/v1/audit/accept", &[], body).await;
    unknown.assert_error(409, "no_report");
    let body = json!({"node": "node1", "colour": "red"}).to_string();
    let unknown = client.send("POST", "/v1/audit/accept", &[], body).await;
    unknown.assert_error(400, "malformed");
    let large = " ".repeat(70_000);
    let large = client.send("POST", "/v1/members", &[], large).await;
    large.assert_error(413, "too_large");
    running.node.shutdown().await;
}
