use oarlock_guest::testing::{Harness, MessageSchema, START_MS, TestCluster, TestOutcome};
use serde_json::{Value, json};

use super::*;

type Cluster = TestCluster<Elections>;

fn campaign(cluster: &mut Cluster, name: &str, lease_ms: u64, wait_ms: u64) -> TestOutcome {
    let fields = json!({
        "election": "db", "candidate": name, "value": name.to_uppercase(), "lease_ms": lease_ms,
        "wait_ms": wait_ms,
    });
    cluster.send(json!({"campaign": fields}).to_string())
}

/// Another command of the leader with this term.
fn send(cluster: &mut Cluster, name: &str, term: u64, more: &Value) -> TestOutcome {
    let mut fields = json!({"election": "db", "term": term});
    let more = more.as_object().expect("fields").clone();
    fields.as_object_mut().expect("fields").extend(more);
    let mut command = json!({});
    command[name] = fields;
    cluster.send(command.to_string())
}

fn resign(cluster: &mut Cluster, term: u64) -> TestOutcome {
    send(cluster, "resign", term, &json!({}))
}

fn elected(term: u64, until_ms: u64) -> Value {
    json!({"elected": {"term": term, "until_ms": START_MS + until_ms}})
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Replies to those who have waited since the last call.
fn replies(cluster: &mut Cluster) -> Vec<(Token, Value)> {
    let replies = cluster.take_replies().into_iter();
    replies
        .map(|reply| (reply.token, value(reply.text())))
        .collect()
}

/// The leaders that the events since the last call name: candidate and value.
fn observed(cluster: &mut Cluster) -> Vec<String> {
    let events = cluster.take_events().into_iter();
    let shown = events.map(|event| {
        assert_eq!(event.topic, "leader");
        let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
        assert_eq!(event["election"], "db");
        match event["leader"].as_object() {
            Some(leader) => format!("{} {}", leader["candidate"], leader["value"]),
            None => "none".to_owned(),
        }
    });
    shown.map(|text| text.replace('"', "")).collect()
}

fn state(cluster: &Cluster) -> (Option<(String, u64)>, usize) {
    let election = "db".to_owned();
    let found = cluster.live().query(Query::Leader { election });
    let Response { leader, waiting } = found.expect("a response");
    (leader.map(|one| (one.candidate, one.term)), waiting)
}

fn code(outcome: &TestOutcome) -> String {
    assert!(!outcome.accepted, "{outcome:?}");
    let body = value(outcome.text());
    body["error"]["code"].as_str().expect("a code").to_owned()
}

#[test]
fn candidates_are_elected_in_their_order_with_growing_terms() {
    let mut cluster = Cluster::new();
    assert_eq!(
        value(campaign(&mut cluster, "a", 1_000, 0).text()),
        elected(1, 1_000)
    );
    let [b, c] = ["b", "c"].map(|name| campaign(&mut cluster, name, 500, 9_000).deferred.unwrap());
    assert_eq!(state(&cluster), (Some(("a".to_owned(), 1)), 2));
    assert_eq!(resign(&mut cluster, 1).text(), r#"{"resigned":{}}"#);
    assert_eq!(replies(&mut cluster), [(b, elected(2, 500))]);
    assert_eq!(code(&resign(&mut cluster, 1)), "not_leader");
    // `b` does not renew its lease.
    cluster.advance_ms(499);
    assert_eq!(replies(&mut cluster), []);
    cluster.advance_ms(1);
    assert_eq!(replies(&mut cluster), [(c, elected(3, 1_000))]);
    resign(&mut cluster, 3);
    assert_eq!(state(&cluster), (None, 0));
    assert_eq!(observed(&mut cluster), ["a A", "b B", "c C", "none"]);
    assert_eq!(cluster.live().wake_at(), None, "nothing is left to do");
}

#[test]
fn a_candidate_that_waits_too_long_is_not_elected_later() {
    let mut cluster = Cluster::new();
    campaign(&mut cluster, "a", 1_000, 0);
    assert_eq!(
        campaign(&mut cluster, "b", 1, 0).text(),
        r#"{"timed_out":{}}"#
    );
    let b = campaign(&mut cluster, "b", 500, 100).deferred.unwrap();
    let c = campaign(&mut cluster, "c", 500, 2_000).deferred.unwrap();
    cluster.advance_ms(100);
    assert_eq!(replies(&mut cluster), [(b, json!({"timed_out": {}}))]);
    assert_eq!(state(&cluster).1, 1);
    cluster.advance_ms(900);
    assert_eq!(replies(&mut cluster), [(c, elected(2, 1_500))]);
}

#[test]
fn the_leader_renews_its_lease_and_publishes_values_until_it_ends() {
    let mut cluster = Cluster::new();
    campaign(&mut cluster, "a", 100, 0);
    cluster.advance_ms(50);
    let lease = json!({"lease_ms": 100});
    let renewed = send(&mut cluster, "renew", 1, &lease);
    assert_eq!(value(renewed.text()), elected(1, 150));
    let address = json!({"value": "10.0.0.1:81"});
    assert!(send(&mut cluster, "proclaim", 1, &address).accepted);
    assert_eq!(observed(&mut cluster), ["a A", "a 10.0.0.1:81"]);
    // The lease has ended, but its timer has not fired yet.
    cluster.skip_ms(100);
    for (name, more) in [("renew", &lease), ("proclaim", &address)] {
        let refused = send(&mut cluster, name, 1, more);
        assert_eq!(code(&refused), "not_leader");
    }
    assert_eq!(code(&resign(&mut cluster, 1)), "not_leader");
    assert!(cluster.advance_to_wake());
    assert_eq!(observed(&mut cluster), ["none"]);
}

#[test]
fn names_values_and_times_are_limited() {
    let mut cluster = Cluster::new();
    let (long, day_ms) = ("x".repeat(201), 86_400_000);
    for (name, lease_ms, wait_ms) in [
        ("", 1, 0),
        (long.as_str(), 1, 0),
        ("a", 0, 0),
        ("a", day_ms + 1, 0),
        ("a", 1, day_ms + 1),
    ] {
        let refused = campaign(&mut cluster, name, lease_ms, wait_ms);
        assert_eq!(code(&refused), "out_of_range");
    }
    let refused = send(
        &mut cluster,
        "proclaim",
        1,
        &json!({"value": "x".repeat(4097)}),
    );
    assert_eq!(code(&refused), "out_of_range");
}

#[test]
fn there_are_no_more_candidates_while_the_memory_is_low() {
    let mut elections = Harness::<Elections>::new();
    let command = |name: &str| {
        let fields = json!({"election": "db", "candidate": name, "value": "", "lease_ms": 1_000, "wait_ms": 1_000});
        json!({"campaign": fields}).to_string()
    };
    assert!(elections.send(command("a")).accepted);
    elections.set_memory_is_low(true);
    assert_eq!(code(&elections.send(command("b"))), "memory_is_low");
    let resigned = elections.send(r#"{"resign":{"election":"db","term":1}}"#);
    assert!(resigned.accepted);
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    assert_eq!(
        oarlock_guest::testing::layout::<Elections>(),
        "serde1:fc5a2c4a-e1fe28e6b7de3181",
        "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<Elections>::derived()
        .refusals(["memory_is_low", "not_leader", "out_of_range"])
        .assert_is_current("src/schema.json");
}
