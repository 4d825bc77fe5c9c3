use oarlock_guest::testing::{MessageSchema, START_MS, TestCluster, TestOutcome};
use serde_json::{Value, json};

use super::messages::MAX_MS;
use super::*;

type Cluster = TestCluster<Locks>;

fn acquire(cluster: &mut Cluster, owner: &str, lease_ms: u64, wait_ms: u64) -> TestOutcome {
    let fields = json!({"lock": "l", "owner": owner, "lease_ms": lease_ms, "wait_ms": wait_ms});
    cluster.send(json!({"acquire": fields}).to_string())
}

fn release(cluster: &mut Cluster, fence: u64) -> TestOutcome {
    cluster.send(json!({"release": {"lock": "l", "fence": fence}}).to_string())
}

fn granted(fence: u64, at_ms: u64, lease_ms: u64) -> Value {
    json!({"granted": {"fence": fence, "until_ms": START_MS + at_ms + lease_ms}})
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn state(cluster: &Cluster) -> (Option<(String, u64)>, usize) {
    let Response { lease, waiting } = cluster
        .live()
        .query(Query::Get {
            lock: "l".to_owned(),
        })
        .unwrap();
    (lease.map(|lease| (lease.owner, lease.fence)), waiting)
}

/// Replies to those who have waited since the last call: token and content.
fn replies(cluster: &mut Cluster) -> Vec<(Token, Value)> {
    let replies = cluster.take_replies().into_iter();
    replies
        .map(|reply| (reply.token, value(reply.text())))
        .collect()
}

fn code(outcome: &TestOutcome) -> String {
    assert!(!outcome.accepted, "{outcome:?}");
    value(outcome.text())["error"]["code"]
        .as_str()
        .expect("a code")
        .to_owned()
}

#[test]
fn those_who_wait_get_the_lock_in_their_order_with_growing_fences() {
    let mut cluster = Cluster::new();
    assert_eq!(
        value(acquire(&mut cluster, "a", 1_000, 0).text()),
        granted(1, 0, 1_000)
    );
    let [b, c] = ["b", "c"].map(|owner| acquire(&mut cluster, owner, 500, 9_000).deferred.unwrap());
    assert_eq!(state(&cluster), (Some(("a".to_owned(), 1)), 2));
    assert_eq!(release(&mut cluster, 1).text(), r#"{"released":{}}"#);
    assert_eq!(replies(&mut cluster), [(b, granted(2, 0, 500))]);
    assert_eq!(code(&release(&mut cluster, 1)), "not_held");
    // `b` does not release it, so its lease ends.
    cluster.advance_ms(499);
    assert_eq!(replies(&mut cluster), []);
    cluster.advance_ms(1);
    assert_eq!(replies(&mut cluster), [(c, granted(3, 500, 500))]);
    release(&mut cluster, 3);
    assert_eq!(state(&cluster), (None, 0));
    assert_eq!(cluster.live().wake_at(), None, "nothing is left to do");
}

#[test]
fn who_waits_too_long_is_told_and_leaves_the_queue() {
    let mut cluster = Cluster::new();
    acquire(&mut cluster, "a", 1_000, 0);
    assert_eq!(
        acquire(&mut cluster, "b", 1, 0).text(),
        r#"{"timed_out":{}}"#
    );
    let b = acquire(&mut cluster, "b", 500, 100).deferred.unwrap();
    let c = acquire(&mut cluster, "c", 500, 2_000).deferred.unwrap();
    cluster.advance_ms(100);
    assert_eq!(replies(&mut cluster), [(b, json!({"timed_out": {}}))]);
    assert_eq!(state(&cluster).1, 1);
    cluster.advance_ms(900);
    assert_eq!(replies(&mut cluster), [(c, granted(2, 1_000, 500))]);
}

#[test]
fn a_lease_that_ends_with_a_wait_goes_to_the_one_who_waits() {
    let mut cluster = Cluster::new();
    acquire(&mut cluster, "a", 100, 0);
    let b = acquire(&mut cluster, "b", 500, 100).deferred.unwrap();
    cluster.advance_ms(100);
    assert_eq!(replies(&mut cluster), [(b, granted(2, 100, 500))]);
}

#[test]
fn a_lease_is_extended_by_its_owner_only_until_it_ends() {
    let mut cluster = Cluster::new();
    let renew =
        |fence| json!({"renew": {"lock": "l", "fence": fence, "lease_ms": 100}}).to_string();
    acquire(&mut cluster, "a", 100, 0);
    cluster.advance_ms(50);
    assert_eq!(value(cluster.send(renew(1)).text()), granted(1, 50, 100));
    cluster.advance_ms(60);
    assert_eq!(
        value(acquire(&mut cluster, "a", 100, 0).text()),
        granted(1, 110, 100)
    );
    assert_eq!(code(&cluster.send(renew(2))), "not_held");
    // The lease has ended, but its timer has not fired yet.
    cluster.skip_ms(100);
    assert_eq!(code(&cluster.send(renew(1))), "not_held");
    assert_eq!(code(&release(&mut cluster, 1)), "not_held");
    let again = acquire(&mut cluster, "a", 100, 1_000).deferred.unwrap();
    assert!(cluster.advance_to_wake());
    assert_eq!(replies(&mut cluster), [(again, granted(2, 210, 100))]);
}

#[test]
fn names_and_times_are_limited() {
    let mut cluster = Cluster::new();
    let mut refused = |lock: &str, lease_ms: u64, wait_ms: u64| {
        let fields = json!({"lock": lock, "owner": "a", "lease_ms": lease_ms, "wait_ms": wait_ms});
        code(&cluster.send(json!({"acquire": fields}).to_string()))
    };
    assert_eq!(refused("", 1, 0), "out_of_range");
    assert_eq!(refused(&"x".repeat(201), 1, 0), "out_of_range");
    assert_eq!(refused("l", 0, 0), "out_of_range");
    assert_eq!(refused("l", MAX_MS + 1, 0), "out_of_range");
    assert_eq!(refused("l", 1, MAX_MS + 1), "out_of_range");
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    assert_eq!(
        oarlock_guest::testing::layout::<Locks>(),
        "serde1:b4538382-d3ca433a8a9f24fc",
        "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<Locks>::derived()
        .refusals(["memory_is_low", "not_held", "out_of_range"])
        .assert_is_current("src/schema.json");
}
