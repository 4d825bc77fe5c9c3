//! The same counter in every language on the same cluster of real processes, with one test suite; and the same lock service,
//! whose clients wait. Before it,
//! `cargo xtask guests --languages` has to build those in C, Python and JavaScript.

use std::sync::Arc;

use bytes::Bytes;
use oarlock_tests::process::locks::{
    LockClient, acquire, fence, lock, release, send_with_key, until_waiting,
};
use oarlock_tests::process::{
    Cluster, Http, HttpResponse, apply_somewhere, compile, eventually, guest, run,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

const ADD: &str = r#"{"add":{"by":1}}"#;
const GET: &str = r#"{"get":{}}"#;
/// A twentieth of what a command and a query get by default: enough for every language.
const FUEL: [&str; 4] = [
    "--fuel-per-command",
    "50000000",
    "--fuel-per-query",
    "500000000",
];
/// Soon enough that a node which was away or is new gets a snapshot.
const SNAPSHOTS: [&str; 4] = ["--snapshot-threshold", "20", "--max-log-entries", "40"];

/// Commands that are no good: with the code and the field of their refusal.
const REFUSED: [(&str, &str, Option<&str>); 20] = [
    (" ", "bad_command", None),
    ("add 5", "bad_command", None),
    (r#"{"add":{"by":5}"#, "bad_command", None),
    (r#"{"add":{"by":5}} x"#, "bad_command", None),
    (r#"{"add":{"by":NaN}}"#, "bad_command", None),
    (r#"{"add":{"by":05}}"#, "bad_command", None),
    (r#"{"add":{"by":5,}}"#, "bad_command", None),
    ("{\"add\":{\"by\":\"\u{1}\"}}", "bad_command", None),
    ("7", "bad_command", None),
    ("{}", "bad_command", None),
    (r#"{"add":{}}"#, "bad_command", Some("by")),
    (r#"{"add":{"by":"5"}}"#, "bad_command", Some("by")),
    (r#"{"add":{"by":true}}"#, "bad_command", Some("by")),
    (r#"{"add":{"by":null}}"#, "bad_command", Some("by")),
    (r#"{"add":{"by":[1]}}"#, "bad_command", Some("by")),
    (r#"{"add":{"by":0.5}}"#, "bad_command", Some("by")),
    (
        r#"{"add":{"by":9223372036854775808}}"#,
        "bad_command",
        Some("by"),
    ),
    (
        r#"{"add":{"by":5,"twice":1}}"#,
        "bad_command",
        Some("twice"),
    ),
    (r#"{"multiply":{"by":5}}"#, "bad_command", Some("multiply")),
    (r#"{"größe":{}}"#, "bad_command", Some("größe")),
];

/// Clusters of these guests take a machine to themselves: their modules are large.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn the_counter_in_rust_meets_every_demand() {
    meets_every_demand("counter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counter_in_c_meets_every_demand() {
    meets_every_demand("counter-c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counter_in_python_meets_every_demand() {
    meets_every_demand("counter-python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counter_in_javascript_meets_every_demand() {
    meets_every_demand("counter-js").await;
}

/// The outcome of a command: status, code, and a part of the message.
type Expected = (u16, &'static str, &'static str);

/// The guest has read all of it.
const NOT_AN_INTEGER: Expected = (422, "bad_command", "must be a 64-bit integer");
/// The host counts how deep a guest in C recurses.
const TOO_DEEP: Expected = (500, "trap", "recursed too deep");
const TRAPPED: Expected = (500, "trap", "the guest trapped");

#[tokio::test(flavor = "multi_thread")]
async fn input_that_is_nested_deeply_stops_no_node_in_c() {
    let nested = [NOT_AN_INTEGER, TOO_DEEP, TOO_DEEP];
    nested_input_stops_no_node("deep-c", nested, TOO_DEEP).await;
}

/// The engine of JavaScript has a limit of its own, far below the host's. It throws an error, which the guest can catch: it does so
/// while it reads JSON, and refuses the command. An error that it does not catch is a trap. The longest input costs more than the fuel
/// of a command before that.
#[tokio::test(flavor = "multi_thread")]
async fn input_that_is_nested_deeply_stops_no_node_in_javascript() {
    let too_much = (422, "bad_command", "this is not JSON: too much recursion");
    let too_long = (500, "out_of_fuel", "ran out of fuel");
    let nested = [too_much, too_much, too_long];
    nested_input_stops_no_node("deep-js", nested, TRAPPED).await;
}

/// Commands whose nesting a guest follows by recursion, and one that recurses without an end: each has one outcome, the nodes serve
/// on, and have the same state after a restart.
async fn nested_input_stops_no_node(name: &str, nested: [Expected; 3], endless: Expected) {
    let _alone = ONE_AT_A_TIME.lock().await;
    compile(&[name]);
    let mut cluster = Cluster::start(3, name, &[]);
    let leader = cluster.leader().await;
    let http = cluster.nodes[leader].http();
    accepted(&http, r#"{"add":{"by":5}}"#, r#"{"value":5}"#).await;
    for (depth, expected) in [1_000, 100_000, 500_000].into_iter().zip(nested) {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let command = format!(r#"{{"add":{{"by":{nested}}}}}"#);
        is_outcome(
            &sent(&http, &command).await,
            expected,
            &format!("depth {depth}"),
        );
    }
    is_outcome(&sent(&http, r#"{"recurse":{}}"#).await, endless, "endless");
    accepted(&http, r#"{"add":{"by":1}}"#, r#"{"value":6}"#).await;
    cluster.converged().await;
    assert_eq!(cluster.running().len(), 3);
    for node in &mut cluster.nodes {
        node.kill();
        node.start();
    }
    cluster.leader().await;
    cluster.converged().await;
    for node in &cluster.nodes {
        assert_eq!(asked(&node.http()).await, json!(6));
    }
}

fn is_outcome(response: &HttpResponse, (status, code, text): Expected, of: &str) {
    let error = &response.json()["error"];
    assert_eq!(
        (response.status, &error["code"]),
        (status, &json!(code)),
        "{of}: {error}"
    );
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(text), "{of}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_lock_service_in_rust_wait() {
    clients_wait("lock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_lock_service_in_python_wait() {
    clients_wait("lock-python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_lock_service_in_javascript_wait() {
    clients_wait("lock-js").await;
}

/// Clients wait for a lock until it is released, until its lease ends, or until their deadline. The leader is killed
/// meanwhile, and the node that was away gets a snapshot with those who wait.
async fn clients_wait(name: &str) {
    const LONG_MS: u64 = 600_000;
    let _alone = ONE_AT_A_TIME.lock().await;
    compile(&[name]);
    let mut cluster = Cluster::start(3, name, &[&FUEL[..], &SNAPSHOTS[..]].concat());
    let leader = cluster.leader().await;
    let at_leader = cluster.nodes[leader].http();
    let others: Vec<Http> = (0..3)
        .filter(|at| *at != leader)
        .map(|at| cluster.nodes[at].http())
        .collect();
    let held = send_with_key(&at_leader, "a", acquire("a", LONG_MS, 0)).await;
    assert_eq!(fence(&held.expect("a response")), 1);
    let late = send_with_key(&others[1], "late", acquire("late", 1, 300)).await;
    assert_eq!(
        late.expect("a response").json(),
        json!({"timed_out": {}}),
        "at its deadline"
    );
    let b = LockClient::start(&others[0], "b", 3_000);
    until_waiting(&at_leader, 1).await;
    let c = LockClient::start(&at_leader, "c", LONG_MS);
    until_waiting(&at_leader, 2).await;
    cluster.nodes[leader].kill();
    c.response().await.expect_err("its node is dead");
    let c = LockClient::start(&others[1], "c", LONG_MS);
    for number in 0..60 {
        // More than the log holds, so that the node that is away needs a snapshot.
        let other = acquire("other", LONG_MS, 0).replace("\"l\"", &format!("\"{number}\""));
        apply_somewhere(&others, &format!("other-{number}"), &other).await;
    }
    cluster.nodes[leader].start();
    cluster.leader().await;
    cluster.converged().await;
    let waiting = lock(&at_leader).await.expect("a response");
    assert_eq!(
        (&waiting["lease"]["owner"], &waiting["waiting"]),
        (&json!("a"), &json!(2)),
        "{waiting}"
    );
    release(&others, 1).await;
    // The fences of all locks are one sequence, and each of the other locks has taken one.
    assert_eq!(b.fence().await, 62);
    // It does not release the lock, so its lease ends.
    assert_eq!(c.fence().await, 63);
    let wrong = sent(&at_leader, r#"{"release":{"lock":"l","fence":62}}"#).await;
    is_refusal(&wrong, "not_held", Some("fence"), "an old fence");
    release(&others, 63).await;
    cluster.converged().await;
    let free = lock(&at_leader).await.expect("a response");
    assert_eq!(free, json!({"lease": null, "waiting": 0}));
}

/// Clients of the mailbox wait for a text, for a reminder, and until their deadline.
#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_mailbox_in_c_wait() {
    let _alone = ONE_AT_A_TIME.lock().await;
    compile(&["mailbox-c"]);
    let args = SNAPSHOTS;
    let mut cluster = Cluster::start(3, "mailbox-c", &args);
    let leader = cluster.leader().await;
    let at_leader = cluster.nodes[leader].http();
    let other = cluster.nodes[(leader + 1) % 3].http();
    let counts = async |http: &Http, expected: &str| {
        eventually("the mailbox has so many texts and clients", async || {
            let response = http.query("count").await.ok()?;
            (response.status == 200 && response.body == expected).then_some(())
        })
        .await;
    };
    let take = |http: &Http, key: &'static str| {
        let http = http.clone();
        tokio::spawn(async move { send_with_key(&http, key, "take 45000".to_owned()).await })
    };
    let none = send_with_key(&other, "none", "take 200".to_owned()).await;
    assert_eq!(none.expect("a response").body, "nothing");
    let first = take(&other, "first");
    counts(&at_leader, "0 1").await;
    let second = take(&at_leader, "second");
    counts(&at_leader, "0 2").await;
    for number in 0..60 {
        // More than the log holds: nodes that restart have it from a snapshot.
        let response = sent(&at_leader, &format!("forget {number}")).await;
        assert_eq!(response.status, 422, "{response:?}");
    }
    accepted(&at_leader, "remind 1000 tea", "ok").await;
    cluster.nodes[leader].kill();
    let broken = second.await.expect("sending does not panic");
    broken.expect_err("its node is dead");
    let second = take(&other, "second");
    let first = first.await.expect("sending does not panic");
    assert_eq!(first.expect("a response").body, "tea", "by the timer");
    cluster.nodes[leader].start();
    cluster.leader().await;
    accepted(&at_leader, "put milk", "ok").await;
    let second = second.await.expect("sending does not panic");
    assert_eq!(second.expect("a response").body, "milk");
    counts(&at_leader, "0 0").await;
    cluster.converged().await;
}

#[test]
fn the_module_for_c_passes_its_own_tests() {
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/c");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = dir.path().join("test");
    let compiled = std::process::Command::new("clang")
        .args([
            "-std=c17", "-Wall", "-Wextra", "-Werror", "-I", "test", "-I", ".",
        ])
        .args(["test/test.c", "oarlock.c", "-o"])
        .arg(&program)
        .current_dir(&sdk)
        .output()
        .expect("clang starts");
    assert!(compiled.status.success(), "{compiled:?}");
    let tested = std::process::Command::new(program).output();
    let tested = tested.expect("it starts");
    assert!(tested.status.success(), "{tested:?}");
}

#[test]
fn the_modules_for_python_and_javascript_pass_their_own_tests() {
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
    for (folder, program, arguments) in [
        ("python", "python3", &["-m", "unittest"][..]),
        ("javascript", "node", &["--test"]),
    ] {
        let tested = std::process::Command::new(program)
            .args(arguments)
            .current_dir(sdk.join(folder))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        assert!(tested.status.success(), "{folder}: {tested:?}");
    }
}

async fn meets_every_demand(name: &str) {
    let _alone = ONE_AT_A_TIME.lock().await;
    compile(&[name]);
    let mut cluster = Cluster::start(3, name, &[&FUEL[..], &SNAPSHOTS[..]].concat());
    cluster.leader().await;

    it_adds_and_replies(&cluster).await;
    what_is_wrong_is_refused_and_changes_nothing(&cluster).await;
    a_key_is_applied_once(&cluster).await;
    let value = many_at_once(&cluster).await;
    // What follows goes through the log, so it names the commands that may have been sent twice.
    let value = a_killed_node_catches_up(&mut cluster, value).await;
    a_new_node_gets_a_snapshot(&mut cluster, value).await;
    let statuses = cluster.converged().await;
    assert_eq!(statuses.len(), 4, "all nodes are level, with one hash");
}

/// The guest's own message, not the host's.
async fn sent(http: &Http, command: &str) -> HttpResponse {
    http.apply(command.to_owned()).await.expect("a response")
}

async fn accepted(http: &Http, command: &str, reply: &str) {
    let response = sent(http, command).await;
    assert_eq!(
        (response.status, &response.body[..]),
        (200, reply.as_bytes())
    );
}

async fn asked(http: &Http) -> Value {
    let response = http.query(GET).await.expect("a response");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()["value"].clone()
}

fn is_refusal(response: &HttpResponse, code: &str, field: Option<&str>, of: &str) {
    assert_eq!(response.status, 422, "{of}: {response:?}");
    let error = &response.json()["error"];
    let named = (error["code"].as_str(), error["field"].as_str());
    assert_eq!(named, (Some(code), field), "{of}: {response:?}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
}

async fn it_adds_and_replies(cluster: &Cluster) {
    let [first, second, third] = [0, 1, 2].map(|at| cluster.nodes[at].http());
    assert_eq!(asked(&third).await, json!(0));
    accepted(&first, r#"{"add":{"by":5}}"#, r#"{"value":5}"#).await;
    accepted(
        &second,
        " {\n\t\"add\" : { \"by\" : -7 } } ",
        r#"{"value":-2}"#,
    )
    .await;
    for node in [&first, &second, &third] {
        assert_eq!(asked(node).await, json!(-2));
    }
    // All 64 bits, of which a number in JavaScript holds 53.
    accepted(
        &third,
        r#"{"add":{"by":9223372036854775807}}"#,
        r#"{"value":9223372036854775805}"#,
    )
    .await;
    accepted(
        &first,
        r#"{"add":{"by":-9223372036854775808}}"#,
        r#"{"value":-3}"#,
    )
    .await;
    let status = first.status().await.expect("it runs");
    let machine = &status["state_machine"];
    assert_eq!(
        (&machine["name"], &machine["version"]),
        (&json!("counter"), &json!(1))
    );
}

async fn what_is_wrong_is_refused_and_changes_nothing(cluster: &Cluster) {
    let http = cluster.nodes[0].http();
    let before = asked(&http).await;
    for (command, code, field) in REFUSED {
        let response = sent(&http, command).await;
        is_refusal(&response, code, field, command);
    }
    let broken = http
        .apply(Bytes::from_static(b"{\"add\":{\"\xff\":1}}"))
        .await;
    is_refusal(
        &broken.expect("a response"),
        "bad_command",
        None,
        "broken UTF-8",
    );
    let deep = "[".repeat(100_000);
    is_refusal(&sent(&http, &deep).await, "bad_command", None, "a deep one");
    let over = r#"{"add":{"by":-9223372036854775808}}"#;
    is_refusal(&sent(&http, over).await, "overflow", Some("by"), over);
    for (question, field) in [
        ("what?", None),
        (r#"{"peek":{}}"#, Some("peek")),
        (r#"{"get":{"more":1}}"#, Some("more")),
    ] {
        let response = http.query(question).await.expect("a response");
        is_refusal(&response, "bad_query", field, question);
    }
    assert_eq!(asked(&http).await, before);
}

async fn a_key_is_applied_once(cluster: &Cluster) {
    let before = asked(&cluster.nodes[0].http())
        .await
        .as_i64()
        .expect("a value");
    let headers = [("idempotency-key", "once")];
    for node in &cluster.nodes {
        let response = node.http().send("POST", "/v1/apply", &headers, ADD).await;
        let response = response.expect("a response");
        assert_eq!(
            (response.status, response.json()),
            (200, json!({"value": before + 1}))
        );
    }
    let other = cluster.nodes[0]
        .http()
        .send("POST", "/v1/apply", &headers, r#"{"add":{"by":2}}"#)
        .await
        .expect("a response");
    assert_eq!(
        (other.status, other.error_code().as_str()),
        (409, "key_reused")
    );
    let mut refusals = Vec::new();
    for node in &cluster.nodes {
        let http = node.http();
        let response = http.send("POST", "/v1/apply", &[("idempotency-key", "no")], "no");
        refusals.push(response.await.expect("a response").body);
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]));
    assert_eq!(asked(&cluster.nodes[1].http()).await, json!(before + 1));
}

/// Commands that wait while others are in flight become one batch; one in ten of these is refused.
async fn many_at_once(cluster: &Cluster) -> i64 {
    const CLIENTS: usize = 200;
    let before = asked(&cluster.nodes[0].http())
        .await
        .as_i64()
        .expect("a value");
    let start = Arc::new(tokio::sync::Barrier::new(CLIENTS));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let (http, start) = (cluster.nodes[client % 3].http(), Arc::clone(&start));
        clients.spawn(async move {
            start.wait().await;
            let is_good = client % 10 != 0;
            let response = sent(&http, if is_good { ADD } else { r#"{"add":{}}"# }).await;
            assert_eq!(
                response.status,
                if is_good { 200 } else { 422 },
                "{response:?}"
            );
            response.json()["value"].as_i64()
        });
    }
    let mut values = Vec::new();
    while let Some(value) = clients.join_next().await {
        values.extend(value.expect("a response"));
    }
    values.sort_unstable();
    let expected: Vec<i64> = (1..=CLIENTS as i64 * 9 / 10)
        .map(|by| before + by)
        .collect();
    assert_eq!(
        values, expected,
        "each was applied once, one after the other"
    );
    expected[expected.len() - 1]
}

async fn a_killed_node_catches_up(cluster: &mut Cluster, before: i64) -> i64 {
    let leader = cluster.leader().await;
    let absent = (leader + 1) % 3;
    cluster.nodes[absent].kill();
    let others: Vec<Http> = (0..3)
        .filter(|at| *at != absent)
        .map(|at| cluster.nodes[at].http())
        .collect();
    let mut value = before;
    // More than the log holds: what it missed comes as a snapshot.
    for number in 0..60 {
        let reply = apply_somewhere(&others, &format!("absent-{number}"), ADD).await;
        value += 1;
        assert_eq!(reply, json!({"value": value}));
    }
    cluster.nodes[absent].start();
    cluster.leader().await;
    let statuses = cluster.converged().await;
    assert_eq!(statuses.len(), 3);
    assert_eq!(asked(&cluster.nodes[absent].http()).await, json!(value));
    value
}

async fn a_new_node_gets_a_snapshot(cluster: &mut Cluster, value: i64) {
    let at = cluster.join();
    let new = cluster.nodes[at].http();
    eventually("the new node responds", async || new.status().await).await;
    let member = json!({
        "node_id": cluster.nodes[at].id(), "peer_addr": cluster.nodes[at].peer_addr(), "voter": true
    });
    eventually("it is taken in", async || {
        let asked = cluster.nodes[0].http();
        let headers = [("oarlock-timeout-ms", "30000")];
        let response = asked.send("POST", "/v1/members", &headers, member.to_string());
        (response.await.ok()?.status == 200).then_some(())
    })
    .await;
    cluster.converged().await;
    let status = new.status().await.expect("it runs");
    assert!(status["snapshot_index"].as_u64() > Some(0), "{status}");
    assert_eq!(asked(&new).await, json!(value));
    // Its state is that of the others: the hashes are equal.
    let targets = [new];
    let reply = apply_somewhere(&targets, "grown", ADD).await;
    assert_eq!(reply, json!({"value": value + 1}));
}

/// Their snapshots are the same eight bytes, so the cluster can be upgraded from one to another.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_from_c_to_python_to_javascript_and_back() {
    let steps = ["counter-python", "counter-js", "counter-c"];
    let _alone = ONE_AT_A_TIME.lock().await;
    compile(&steps);
    let mut cluster = Cluster::start(3, "counter-c", &FUEL);
    cluster.leader().await;
    for (asked_node, name) in steps.into_iter().enumerate() {
        let value = cluster.apply_somewhere(name, ADD).await;
        let module = Bytes::from(std::fs::read(guest(name)).expect("read"));
        let http = cluster.nodes[asked_node].http();
        taken_over(&cluster, &http, module).await;
        let headers = [("idempotency-key", name)];
        let again = http
            .send("POST", "/v1/apply", &headers, ADD)
            .await
            .expect("a response");
        assert_eq!(again.json(), value, "the key outlives the module");
        assert_eq!(asked(&http).await, value["value"]);
    }
    let statuses = cluster.converged().await;
    assert_eq!(statuses[0]["state_machine"]["name"], "counter");

    // The counter in Rust has the same name and version, and a state of another layout.
    let module = Bytes::from(std::fs::read(guest("counter")).expect("read"));
    let http = cluster.nodes[0].http();
    let refused = http.send("POST", "/v1/state-machine", &[], module).await;
    let refused = refused.expect("a response");
    let error = refused.json()["error"].clone();
    assert_eq!(
        (refused.status, &error["code"]),
        (422, &json!("layout_changed"))
    );
    let message = error["message"].to_string();
    for layout in ["layout i64-little-endian", "layout serde1:"] {
        assert!(message.contains(layout), "{message}");
    }
}

/// The lock services have one name and one version, and states of other bytes.
#[tokio::test(flavor = "multi_thread")]
async fn no_lock_service_takes_over_the_state_of_another_language() {
    let _alone = ONE_AT_A_TIME.lock().await;
    compile(&["lock", "lock-python", "lock-js"]);
    for (active, next) in [
        ("lock", ["lock-python", "lock-js"]),
        ("lock-python", ["lock-js", "lock"]),
        ("lock-js", ["lock", "lock-python"]),
    ] {
        let mut cluster = Cluster::start(1, active, &FUEL);
        cluster.leader().await;
        let http = cluster.nodes[0].http();
        let held = send_with_key(&http, "a", acquire("a", 600_000, 0)).await;
        assert_eq!(fence(&held.expect("a response")), 1);
        for name in next {
            let module = Bytes::from(std::fs::read(guest(name)).expect("read"));
            let headers = [("oarlock-timeout-ms", "55000")];
            let sent = http.send("POST", "/v1/state-machine", &headers, module);
            let refused = sent.await.expect("a response");
            let error = refused.json()["error"].clone();
            assert_eq!(
                (refused.status, error["code"].as_str()),
                (422, Some("layout_changed")),
                "{active} to {name}: {error}"
            );
            let message = error["message"].as_str().expect("a text");
            for guest in [active, name] {
                let label = lock_label(guest);
                let found = message.matches(label.as_str()).count();
                assert_eq!(found, 1, "{label}: {message}");
            }
        }
        let state = lock(&http).await.expect("a response");
        assert_eq!(state["lease"]["owner"], "a", "{active} keeps its state");
    }
}

/// How an error names a lock service.
fn lock_label(name: &str) -> String {
    let file = guest(name);
    let module = std::fs::read(&file).expect("read");
    let sha256 = oarlock_wasm::Sha256::of(&module).to_string();
    let checked = run(["check", "--json", &file.display().to_string()]);
    let found: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let layout = found["layout"].as_str().expect("a layout");
    let expected = if name == "lock" { "serde1:" } else { name };
    assert!(layout.starts_with(expected), "{layout}");
    format!("lock version 1 ({}, layout {layout})", &sha256[..12])
}

/// Upgrades to a module. That may take longer than the timeout of a request, so a missing response is no failure yet.
async fn taken_over(cluster: &Cluster, http: &Http, module: Bytes) {
    let sha256 = oarlock_wasm::Sha256::of(&module).to_string();
    let headers = [("oarlock-timeout-ms", "55000")];
    let response = http
        .send("POST", "/v1/state-machine", &headers, module)
        .await;
    if let Ok(response) = response {
        assert!([200, 504].contains(&response.status), "{response:?}");
    }
    for node in &cluster.nodes {
        eventually("the node runs the new module", async || {
            let status = node.http().status().await?;
            (status["state_machine"]["sha256"] == json!(sha256)).then_some(())
        })
        .await;
    }
}
