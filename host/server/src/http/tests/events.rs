//! What the guest publishes reaches those who listen.

use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::support::{Client, Guest, Running, request};

fn emit(payload: &str) -> String {
    format!("{{\"emit\":{{\"topic\":\"t\",\"payload\":\"{payload}\"}}}}")
}

/// Someone who listens.
struct Listening {
    body: Incoming,
    text: String,
}

impl Listening {
    async fn at(client: &Client, path: &str, headers: &[(&str, &str)]) -> Self {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(client.connect().await))
                .await
                .expect("HTTP/1.1");
        tokio::spawn(connection);
        let asked = request(
            &client.0,
            "GET",
            path,
            headers,
            Empty::<bytes::Bytes>::new(),
        );
        let response = sender.send_request(asked).await.expect("an answer");
        assert_eq!(response.status(), 200, "{response:?}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut listening = Self {
            body: response.into_body(),
            text: String::new(),
        };
        // The first line is there once everything from now on is heard.
        listening.hears(": events of the guest").await;
        listening
    }

    /// Reads on until this was heard, and returns all that was heard up to there.
    async fn hears(&mut self, what: &str) -> String {
        while !self.text.contains(what) {
            let frame = self.body.frame().await.expect("it goes on").expect("whole");
            let data = frame.into_data().expect("data");
            self.text
                .push_str(std::str::from_utf8(&data).expect("text"));
        }
        self.text.clone()
    }
}

#[tokio::test]
async fn events_come_in_order_to_everyone_and_who_comes_back_reads_on() {
    let running = Running::start(Guest::Faulty).await;
    let client = &running.client;
    client.apply(emit("before")).await;
    let mut one = Listening::at(client, "/v1/events", &[]).await;
    let mut other = Listening::at(client, "/v1/events?topic=other", &[]).await;
    client.apply(emit("first")).await;
    client.apply(emit("second")).await;
    client
        .apply(r#"{"emit":{"topic":"other","payload":"third"}}"#)
        .await;
    let heard = one.hears("third").await;
    assert!(!heard.contains("before"), "{heard}");
    let at = |what: &str| heard.find(what).expect(what);
    assert!(
        at("event: t\ndata: first\nid: ") < at("data: second"),
        "{heard}"
    );
    let heard_other = other.hears("data: third").await;
    assert!(!heard_other.contains("first"), "{heard_other}");

    let id = heard[at("data: first")..].lines().nth(1).expect("a line");
    let id = id.strip_prefix("id: ").expect("an id");
    let mut again = Listening::at(client, "/v1/events", &[("last-event-id", id)]).await;
    let heard = again.hears("third").await;
    assert!(
        heard.contains("second") && !heard.contains("first"),
        "{heard}"
    );
    let metrics = client.get("/metrics").await.body;
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(metrics.contains("oarlock_event_listeners 3"), "{metrics}");
    // Nobody who listens keeps a node from stopping.
    running.node.shutdown().await;
}

#[tokio::test]
async fn whoever_missed_events_that_are_gone_is_told() {
    let running = Running::start(Guest::Faulty).await;
    running
        .client
        .apply(emit("kept in the snapshot's count only"))
        .await;
    let taken = running.client.send("POST", "/v1/snapshot", &[], "").await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let settings = super::support::alone(Guest::Faulty, running.dir.path()).await;
    let running = running.restart(settings).await;
    let mut late = Listening::at(&running.client, "/v1/events?after=0.0", &[]).await;
    let mut fresh = Listening::at(&running.client, "/v1/events", &[]).await;
    running.client.apply(emit("new")).await;
    let heard = late.hears("data: new").await;
    assert!(heard.contains("event: oarlock.gap"), "{heard}");
    let heard = fresh.hears("data: new").await;
    assert!(!heard.contains("oarlock.gap"), "{heard}");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_question_for_events_that_makes_no_sense_is_refused() {
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
