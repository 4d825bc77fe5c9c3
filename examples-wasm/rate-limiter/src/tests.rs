use oarlock_guest::testing::{Harness, MessageSchema, TestCluster, TestOutcome};
use serde_json::{Value, json};

use super::*;

type Cluster = TestCluster<RateLimiter>;

fn set(cluster: &mut Cluster, burst: u64, tokens: u64, period_ms: u64) -> TestOutcome {
    let fields = json!({"limit": "api", "burst": burst, "tokens": tokens, "period_ms": period_ms});
    cluster.send(json!({"set": fields}).to_string())
}

fn take(cluster: &mut Cluster, key: &str, tokens: u64) -> TestOutcome {
    let fields = json!({"limit": "api", "key": key, "tokens": tokens});
    cluster.send(json!({"take": fields}).to_string())
}

fn taken(left: u64) -> String {
    json!({"taken": {"left": left}}).to_string()
}

fn limited(retry_after_ms: u64) -> String {
    json!({"limited": {"retry_after_ms": retry_after_ms}}).to_string()
}

fn code(outcome: &TestOutcome) -> String {
    assert!(!outcome.accepted, "{outcome:?}");
    let body: Value = serde_json::from_str(outcome.text()).expect("JSON");
    body["error"]["code"].as_str().expect("a code").to_owned()
}

fn left(cluster: &Cluster, key: &str) -> u64 {
    let (limit, key) = ("api".to_owned(), key.to_owned());
    let found = cluster.live().query(Query::Bucket { limit, key });
    found.expect("a response").left
}

#[test]
fn a_bucket_allows_its_burst_and_then_its_rate() {
    let mut cluster = Cluster::new();
    assert_eq!(set(&mut cluster, 3, 5, 1_000).text(), r#"{"set":{}}"#);
    for left in [2, 1, 0] {
        assert_eq!(take(&mut cluster, "ann", 1).text(), taken(left));
    }
    assert_eq!(take(&mut cluster, "ann", 1).text(), limited(200));
    assert_eq!(take(&mut cluster, "bob", 1).text(), taken(2), "another key");
    cluster.advance_ms(199);
    assert_eq!(take(&mut cluster, "ann", 1).text(), limited(1));
    cluster.advance_ms(1);
    assert_eq!(take(&mut cluster, "ann", 1).text(), taken(0));
    // All or none.
    assert_eq!(take(&mut cluster, "ann", 3).text(), limited(600));
    cluster.advance_ms(600);
    assert_eq!(take(&mut cluster, "ann", 3).text(), taken(0));
}

#[test]
fn over_a_long_time_the_rate_is_exact() {
    let mut cluster = Cluster::new();
    set(&mut cluster, 10, 100, 1_000);
    let mut count = 0;
    for _ in 0..1_000 {
        while take(&mut cluster, "ann", 1).text().contains("taken") {
            count += 1;
        }
        cluster.advance_ms(7);
    }
    // The burst, and one each 10 ms in 999 pauses of 7 ms.
    assert_eq!(count, 10 + 999 * 7 / 10);
}

#[test]
fn full_buckets_are_removed() {
    let mut cluster = Cluster::new();
    set(&mut cluster, 2, 1, 100);
    for number in 0..20 {
        take(&mut cluster, &format!("user{number}"), 1);
    }
    assert_eq!(cluster.live().state().full_at.len(), 20);
    cluster.advance_ms(100);
    assert_eq!(left(&cluster, "user0"), 2);
    for _ in 0..12 {
        take(&mut cluster, "ann", 1);
    }
    let state = cluster.live().state();
    assert_eq!(state.full_at.keys().len(), 1, "only that of ann");
    assert_eq!(state.by_time.len(), 1);
}

#[test]
fn a_changed_limit_holds_at_once() {
    let mut cluster = Cluster::new();
    set(&mut cluster, 4, 1, 1_000);
    assert_eq!(take(&mut cluster, "ann", 4).text(), taken(0));
    set(&mut cluster, 4, 100, 1_000);
    assert_eq!(take(&mut cluster, "ann", 4).text(), limited(40));
    cluster.advance_ms(30);
    assert_eq!(take(&mut cluster, "ann", 4).text(), limited(10));
    assert_eq!(take(&mut cluster, "ann", 3).text(), taken(0));
    cluster.send(r#"{"remove":{"limit":"api"}}"#);
    assert_eq!(code(&take(&mut cluster, "ann", 1)), "no_such_limit");
}

#[test]
fn names_and_numbers_are_limited() {
    let mut cluster = Cluster::new();
    for (burst, tokens, period_ms) in [
        (0, 1, 1),
        (1_000_001, 1, 1),
        (1, 0, 1),
        (1, 1, 0),
        (1, 1, 86_400_001),
        (1, 1_001, 1),
    ] {
        let refused = set(&mut cluster, burst, tokens, period_ms);
        assert_eq!(code(&refused), "out_of_range");
    }
    assert!(set(&mut cluster, 1_000_000, 1, 86_400_000).accepted);
    assert_eq!(take(&mut cluster, "ann", 1_000_000).text(), taken(0));
    assert_eq!(code(&take(&mut cluster, "ann", 1_000_001)), "out_of_range");
    assert_eq!(code(&take(&mut cluster, "ann", 0)), "out_of_range");
    assert_eq!(code(&take(&mut cluster, "", 1)), "out_of_range");
}

#[test]
fn new_keys_are_refused_while_the_memory_is_low() {
    let mut limiter = Harness::<RateLimiter>::new();
    limiter.send(r#"{"set":{"limit":"api","burst":5,"tokens":1,"period_ms":1000}}"#);
    let take = |key| json!({"take": {"limit": "api", "key": key, "tokens": 1}}).to_string();
    assert!(limiter.send(take("ann")).accepted);
    limiter.set_memory_is_low(true);
    assert_eq!(code(&limiter.send(take("bob"))), "memory_is_low");
    assert!(limiter.send(take("ann")).accepted);
    // Ann's bucket is full again, and makes place. So clients with new keys alone do not keep the memory low.
    limiter.advance_ms(2_000);
    assert!(limiter.send(take("bob")).accepted);
    assert_eq!(code(&limiter.send(take("carl"))), "memory_is_low");
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    assert_eq!(
        oarlock_guest::testing::layout::<RateLimiter>(),
        "serde1:3ac49b31-98f4bcdd96159e65",
        "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<RateLimiter>::derived()
        .refusals(["memory_is_low", "no_such_limit", "out_of_range"])
        .assert_is_current("src/schema.json");
}
