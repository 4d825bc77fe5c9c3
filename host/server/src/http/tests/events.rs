//! Event streams on a real node.

use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::support::{Client, Guest, Running, request};

fn emit(payload: &str) -> String {
    format!("{{\"emit\":{{\"topic\":\"t\",\"payload\":\"{payload}\"}}}}")
}

/// An open event stream.
struct Stream {
    body: Incoming,
    text: String,
}

impl Stream {
    async fn open(client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(client.connect().await))
                .await
                .expect("HTTP/1.1");
        tokio::spawn(connection);
        let request = request(
            &client.0,
            "GET",
            path,
            headers,
            Empty::<bytes::Bytes>::new(),
        );
        let response = sender.send_request(request).await.expect("a response");
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self {
            body: response.into_body(),
            text: String::new(),
        };
        // After the first line, the stream carries all new events.
        stream.read_to(": events of the guest").await;
        stream
    }

    /// Reads until `what` arrives. Returns everything that has arrived so far.
    async fn read_to(&mut self, what: &str) -> String {
        while !self.text.contains(what) {
            let frame = self
                .body
                .frame()
                .await
                .expect("an open stream")
                .expect("a frame");
            let data = frame.into_data().expect("data");
            self.text
                .push_str(std::str::from_utf8(&data).expect("text"));
        }
        self.text.clone()
    }
}

#[tokio::test]
async fn all_streams_carry_the_events_in_order_and_resume_after_the_last_id() {
    let running = Running::start(Guest::Faulty).await;
    let client = &running.client;
    client.apply(emit("before")).await;
    let mut one = Stream::open(client, "/v1/events", &[]).await;
    let mut other = Stream::open(client, "/v1/events?topic=other", &[]).await;
    client.apply(emit("first")).await;
    client.apply(emit("second")).await;
    client
        .apply(r#"{"emit":{"topic":"other","payload":"third"}}"#)
        .await;
    let text = one.read_to("third").await;
    assert!(!text.contains("before"), "{text}");
    let at = |what: &str| text.find(what).expect(what);
    assert!(
        at("event: t\ndata: first\nid: ") < at("data: second"),
        "{text}"
    );
    let text_other = other.read_to("data: third").await;
    assert!(!text_other.contains("first"), "{text_other}");

    let id = text[at("data: first")..].lines().nth(1).expect("a line");
    let id = id.strip_prefix("id: ").expect("an id");
    let mut again = Stream::open(client, "/v1/events", &[("last-event-id", id)]).await;
    let text = again.read_to("third").await;
    assert!(text.contains("second") && !text.contains("first"), "{text}");
    let metrics = client.get("/metrics").await.body;
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(metrics.contains("oarlock_event_listeners 3"), "{metrics}");
    // Open streams don't delay the shutdown.
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_client_that_missed_dropped_events_receives_a_gap() {
    let running = Running::start(Guest::Faulty).await;
    running
        .client
        .apply(emit("only counted in the snapshot"))
        .await;
    let taken = running.client.send("POST", "/v1/snapshot", &[], "").await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let settings = super::support::alone(Guest::Faulty, running.dir.path()).await;
    let running = running.restart(settings).await;
    let mut late = Stream::open(&running.client, "/v1/events?after=0.0", &[]).await;
    let mut fresh = Stream::open(&running.client, "/v1/events", &[]).await;
    running.client.apply(emit("new")).await;
    let text = late.read_to("data: new").await;
    assert!(text.contains("event: oarlock.gap"), "{text}");
    let text = fresh.read_to("data: new").await;
    assert!(!text.contains("oarlock.gap"), "{text}");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_stream_begins_with_its_position() {
    let running = Running::start(Guest::Faulty).await;
    let client = &running.client;
    client.apply(emit("before")).await;
    let mut stream = Stream::open(client, "/v1/events", &[]).await;
    let begun = stream.read_to("\n\n").await;
    let id = begun.lines().find_map(|line| line.strip_prefix("id: "));
    let id = id.expect("a position").to_owned();
    // An event that is missed by this client is there for the next one.
    drop(stream);
    client.apply(emit("meanwhile")).await;
    let mut again = Stream::open(client, "/v1/events", &[("last-event-id", &id)]).await;
    let text = again.read_to("data: meanwhile").await;
    assert!(!text.contains("before"), "{text}");
    running.node.shutdown().await;
}

#[tokio::test]
async fn invalid_parameters_are_malformed() {
    let running = Running::start(Guest::Faulty).await;
    for path in ["/v1/events?after=five", "/v1/events?colour=red"] {
        running
            .client
            .get(path)
            .await
            .assert_error(400, "malformed");
    }
    running.node.shutdown().await;
}
