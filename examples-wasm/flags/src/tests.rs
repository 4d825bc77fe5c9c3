use oarlock_guest::testing::{Harness, MessageSchema, TestCluster, TestOutcome};
use serde_json::{Value, json};

use super::*;

type Cluster = TestCluster<Flags>;

fn rule(users: &[&str], percent: u8) -> Value {
    json!({"enabled": true, "users": users, "percent": percent})
}

fn set(cluster: &mut Cluster, flag: &str, rule: &Value) -> TestOutcome {
    cluster.send(json!({"set": {"flag": flag, "rule": rule}}).to_string())
}

fn is_on(cluster: &Cluster, flag: &str, user: &str) -> bool {
    let query = json!({"is_on": {"flag": flag, "user": user}}).to_string();
    cluster.live().send_query(query).text() == r#"{"on":true}"#
}

fn code(outcome: &TestOutcome) -> String {
    assert!(!outcome.accepted, "{outcome:?}");
    let body: Value = serde_json::from_str(outcome.text()).expect("JSON");
    body["error"]["code"].as_str().expect("a code").to_owned()
}

#[test]
fn a_flag_is_on_for_named_users_and_for_a_share_of_all_others() {
    let mut cluster = Cluster::new();
    assert!(!is_on(&cluster, "search", "ann"), "there is no such flag");
    let reply = set(&mut cluster, "search", &rule(&["ann"], 0));
    assert_eq!(reply.text(), r#"{"version":1}"#);
    assert!(is_on(&cluster, "search", "ann") && !is_on(&cluster, "search", "bob"));
    set(&mut cluster, "search", &rule(&[], 100));
    assert!(is_on(&cluster, "search", "ann") && is_on(&cluster, "search", "bob"));
    let off = json!({"enabled": false, "users": ["ann"], "percent": 100});
    set(&mut cluster, "search", &off);
    assert!(!is_on(&cluster, "search", "ann"));
}

#[test]
fn a_share_is_stable_grows_and_differs_by_flag() {
    let users: Vec<String> = (0..2_000).map(|number| format!("user{number}")).collect();
    let chosen = |flag: &str, percent: u8| -> Vec<&String> {
        let rule = Rule {
            enabled: true,
            percent,
            ..Rule::default()
        };
        users.iter().filter(|user| rule.is_on(flag, user)).collect()
    };
    let (tenth, quarter) = (chosen("search", 10), chosen("search", 25));
    assert!((150..250).contains(&tenth.len()), "{}", tenth.len());
    assert!((420..580).contains(&quarter.len()), "{}", quarter.len());
    assert!(tenth.iter().all(|user| quarter.contains(user)));
    assert_ne!(chosen("chat", 10), tenth);
}

#[test]
fn each_change_is_published_with_a_version() {
    let mut cluster = Cluster::new();
    set(&mut cluster, "search", &rule(&["ann"], 5));
    cluster.send(r#"{"remove":{"flag":"search"}}"#);
    let again = cluster.send(r#"{"remove":{"flag":"search"}}"#);
    assert_eq!(again.text(), r#"{"version":2}"#, "nothing changed");
    let events: Vec<(String, Value)> = cluster
        .take_events()
        .into_iter()
        .map(|event| {
            let payload = serde_json::from_slice(&event.payload).expect("JSON");
            (event.topic, payload)
        })
        .collect();
    let expected = [
        json!({"version": 1, "flag": "search", "rule": rule(&["ann"], 5)}),
        json!({"version": 2, "flag": "search", "rule": null}),
    ];
    assert_eq!(events, expected.map(|event| ("flag".to_owned(), event)));
}

#[test]
fn a_change_that_others_would_overwrite_is_refused() {
    let mut cluster = Cluster::new();
    let mut set_if = |version: u64, percent: u8| {
        let fields = json!({"flag": "search", "rule": rule(&[], percent), "if_version": version});
        cluster.send(json!({"set": fields}).to_string())
    };
    assert!(set_if(0, 1).accepted, "it is new");
    assert_eq!(code(&set_if(0, 2)), "conflict");
    assert!(set_if(1, 2).accepted);
    assert_eq!(code(&set_if(1, 3)), "conflict");
    let all = cluster.live().send_query(r#"{"all":{}}"#);
    let all: Value = serde_json::from_str(all.text()).expect("JSON");
    let expected = json!({"version": 2, "flags": {"search": {"rule": rule(&[], 2), "version": 2}}});
    assert_eq!(all, expected);
}

#[test]
fn a_user_gets_the_flags_that_are_on() {
    let mut cluster = Cluster::new();
    for (flag, percent) in [("a", 100), ("b", 0), ("c", 100)] {
        set(&mut cluster, flag, &rule(&[], percent));
    }
    let found = cluster.live().send_query(r#"{"for":{"user":"ann"}}"#);
    assert_eq!(found.text(), r#"{"on":["a","c"]}"#);
}

#[test]
fn names_shares_and_users_are_limited() {
    let mut cluster = Cluster::new();
    let users: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let long = "x".repeat(101);
    for (flag, rule) in [
        ("", rule(&[], 0)),
        (long.as_str(), rule(&[], 0)),
        ("f", rule(&[], 101)),
        ("f", rule(&[""], 0)),
        ("f", rule(&users, 0)),
    ] {
        assert_eq!(code(&set(&mut cluster, flag, &rule)), "out_of_range");
    }
    let mut flags = Harness::<Flags>::new();
    flags.set_memory_is_low(true);
    let command = json!({"set": {"flag": "f", "rule": rule(&[], 0)}}).to_string();
    assert_eq!(code(&flags.send(command)), "memory_is_low");
}

#[test]
fn all_flags_fit_into_one_response() {
    let mut flags = Harness::<Flags>::new();
    let users: Vec<String> = (0..100).map(|number| format!("{number:0>100}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let set = |flag: &str, rule| json!({"set": {"flag": flag, "rule": rule}}).to_string();
    let mut count = 0;
    let full = loop {
        let outcome = flags.send(set(&format!("large{count}"), rule(&users, 0)));
        if !outcome.accepted {
            break outcome;
        }
        count += 1;
    };
    assert_eq!((code(&full), count), ("full".to_owned(), 49));
    let all = flags.send_query(r#"{"all":{}}"#);
    assert!(all.text().len() < 1 << 20, "{}", all.text().len());
    // A smaller rule for a flag that is there takes less.
    assert!(flags.send(set("large0", rule(&[], 5))).accepted);
    assert!(flags.send(set("large49", rule(&users, 0))).accepted);
    let mut flags = Harness::<Flags>::new();
    for number in 0..1_000 {
        assert!(flags.send(set(&number.to_string(), rule(&[], 5))).accepted);
    }
    assert_eq!(code(&flags.send(set("one more", rule(&[], 5)))), "full");
    assert!(flags.send(set("999", rule(&[], 6))).accepted);
}

#[test]
fn a_changed_layout_of_the_state_needs_a_new_version() {
    assert_eq!(
        oarlock_guest::testing::layout::<Flags>(),
        "serde1:e6c31533-59d5325dec1f4357",
        "the layout of the state changed: raise `version`, write `migrate`, and then change this text"
    );
}

#[test]
fn the_schema_is_current() {
    MessageSchema::<Flags>::derived()
        .refusals(["conflict", "full", "memory_is_low", "out_of_range"])
        .assert_is_current("src/schema.json");
}
