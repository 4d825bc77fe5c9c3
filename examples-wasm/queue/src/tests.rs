//! Scenarios in the JSON of clients.

mod access;
mod batches;
mod contents;
mod dedupe;
mod keys;
mod leases;
mod limits;
mod migration;
mod model;
mod operations;
mod order;
mod policies;
mod related;
mod replies;
mod retries;
mod schedules;
mod timers;
mod variants;
mod waiting;

use oarlock_guest::testing::{Harness, MessageSchema};
use serde_json::{Value, json};

use crate::Queues;

/// A queue and a clock, used through JSON.
struct Node(Harness<Queues>);

impl Node {
    fn new() -> Self {
        Self(Harness::new())
    }

    fn now_ms(&self) -> u64 {
        self.0.time_ms()
    }

    /// Advances the clock. The next command comes before a wake-up that is due, so that it has to see what is due itself.
    fn advance_ms(&mut self, by_ms: u64) -> &mut Self {
        self.0.skip_ms(by_ms);
        self
    }

    /// Lets time pass: each wake-up happens at its time.
    fn pass_ms(&mut self, by_ms: u64) -> &mut Self {
        self.0.advance_ms(by_ms);
        self
    }

    /// The reply to a command that is accepted.
    #[track_caller]
    fn send(&mut self, command: Value) -> Value {
        let outcome = self.0.send(command.to_string());
        assert!(outcome.accepted, "{command}: {outcome:?}");
        serde_json::from_str(outcome.text()).unwrap()
    }

    /// The code and field of a refusal.
    #[track_caller]
    fn refused(&mut self, command: Value) -> (String, String) {
        let outcome = self.0.send(command.to_string());
        assert!(!outcome.accepted, "{command}: {outcome:?}");
        let body: Value = serde_json::from_str(outcome.text()).unwrap();
        let text = |key: &str| body["error"][key].as_str().unwrap_or_default().to_owned();
        assert!(!text("message").is_empty());
        (text("code"), text("field"))
    }

    #[track_caller]
    fn enqueue(&mut self, queue: &str, more: Value) -> u64 {
        let reply =
            self.send(json!({"enqueue": with(json!({"queue": queue, "payload": null}), more)}));
        reply["id"].as_u64().unwrap()
    }

    /// The tasks of a reserve that may take up to `max`, with a lease of one second.
    #[track_caller]
    fn reserve(&mut self, queues: &[&str], max: u32) -> Vec<Value> {
        let command = json!({"reserve": {"queues": queues, "worker": "w1", "lease_ms": 1000, "max": max, "wait_ms": 0}});
        self.send(command)["tasks"].as_array().unwrap().clone()
    }

    /// The ids of such a reserve.
    #[track_caller]
    fn reserve_ids(&mut self, queues: &[&str], max: u32) -> Vec<u64> {
        self.reserve(queues, max)
            .iter()
            .map(|task| task["id"].as_u64().unwrap())
            .collect()
    }

    /// Id and token of the one task that a reserve of `q` delivers.
    #[track_caller]
    fn reserve_one(&mut self) -> (u64, String) {
        let tasks = self.reserve(&["q"], 1);
        assert_eq!(tasks.len(), 1);
        (
            tasks[0]["id"].as_u64().unwrap(),
            tasks[0]["token"].as_str().unwrap().to_owned(),
        )
    }

    #[track_caller]
    fn query(&self, query: Value) -> Value {
        let outcome = self.0.send_query(query.to_string());
        assert!(outcome.accepted, "{query}: {outcome:?}");
        serde_json::from_str(outcome.text()).unwrap()
    }

    fn task(&self, id: u64) -> Value {
        self.query(json!({"task": {"id": id}}))["task"].clone()
    }

    /// `[ready, delayed, leased, dead, completed]` of `q`.
    fn counts(&self) -> [u64; 5] {
        let stats = self.query(json!({"stats": {}}));
        ["ready", "delayed", "leased", "dead", "completed"]
            .map(|key| stats["queues"]["q"][key].as_u64().unwrap())
    }
}

/// An object with the fields of another added.
fn with(mut object: Value, more: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn pair(code: &str, field: &str) -> (String, String) {
    (code.to_owned(), field.to_owned())
}

#[test]
fn a_task_goes_from_enqueue_to_ack_as_the_contract_shows() {
    let mut node = Node::new();
    let text = r#"{"enqueue":{"queue":"q","payload":{"z":1.50,  "a":[null]},"priority":0,"delay_ms":0,"max_attempts":25,"dedupe_key":"k"}}"#;
    assert_eq!(node.0.send(text).text(), r#"{"id":1,"duplicate":false}"#);
    let text = r#"{"reserve":{"queues":["q"],"worker":"w1","lease_ms":30000,"max":1,"wait_ms":0}}"#;
    let delivered = node.0.send(text).text().to_owned();
    let until = node.now_ms() + 30_000;
    let start = r#"{"tasks":[{"id":1,"queue":"q","payload":{"z":1.50,  "a":[null]},"attempt":1,"token":"1-"#;
    assert!(delivered.starts_with(start), "{delivered}");
    assert!(
        delivered.ends_with(&format!(r#"","lease_until_ms":{until}}}]}}"#)),
        "{delivered}"
    );
    assert_eq!(node.counts(), [0, 0, 1, 0, 0]);

    let token = serde_json::from_str::<Value>(&delivered).unwrap()["tasks"][0]["token"].clone();
    let shown = r#"{"task":{"id":1,"queue":"q","state":"leased","attempt":1,"payload":{"z":1.50,  "a":[null]},"errors":[]}}"#;
    assert_eq!(node.0.send_query(r#"{"task":{"id":1}}"#).text(), shown);
    assert_eq!(
        node.send(json!({"ack": {"id": 1, "token": token}})),
        json!({})
    );
    assert_eq!(
        node.0.send_query(r#"{"task":{"id":1}}"#).text(),
        r#"{"task":null}"#
    );
    let stats = r#"{"queues":{"q":{"ready":0,"delayed":0,"leased":0,"dead":0,"completed":1}}}"#;
    assert_eq!(node.0.send_query(r#"{"stats":{}}"#).text(), stats);
}

#[test]
fn all_fields_but_queue_and_payload_are_optional() {
    let mut node = Node::new();
    assert_eq!(
        node.0
            .send(r#"{"enqueue":{"queue":"q","payload":null}}"#)
            .text(),
        r#"{"id":1,"duplicate":false}"#
    );
    let text = r#"{"reserve":{"queues":["q"],"worker":"w","lease_ms":1}}"#;
    assert!(
        node.0
            .send(text)
            .text()
            .contains(r#""payload":null,"attempt":1"#)
    );
}

#[test]
fn an_empty_reserve_returns_an_empty_list_and_creates_no_queue() {
    let mut node = Node::new();
    assert_eq!(node.reserve(&["q", "r"], 10), Vec::<Value>::new());
    assert_eq!(node.query(json!({"stats": {}})), json!({"queues": {}}));
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    assert_eq!(
        oarlock_guest::testing::layout::<Queues>(),
        "serde1:da536faf-6e2e783b19f46fa9",
        "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<Queues>::derived()
        .refusals([
            "conflict",
            "full",
            "no_such_group",
            "no_such_queue",
            "no_such_schedule",
            "no_such_task",
            "not_empty",
            "out_of_range",
            "stale_token",
            "too_large",
        ])
        .assert_is_current("src/schema.json");
}
