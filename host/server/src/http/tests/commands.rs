//! Commands and queries: every response that depends on the guest.

use serde_json::json;

use super::support::{Guest, Running, without_majority};

const ADD: &str = r#"{"add":{"by":5}}"#;
const GET: &str = r#"{"get":{}}"#;

#[tokio::test]
async fn the_response_to_a_command_is_the_guests_reply_with_its_index() {
    let running = Running::start(Guest::Counter).await;
    let first = running.client.apply(ADD).await;
    assert_eq!(
        (first.status.as_u16(), first.json()),
        (200, json!({"value": 5}))
    );
    assert_eq!(first.header("content-type"), "application/json");
    let second = running.client.apply(ADD).await;
    let index = |header: &str| header.parse::<u64>().expect("a number");
    assert!(index(second.header("oarlock-index")) > index(first.header("oarlock-index")));
    let query = running.client.query(GET).await;
    assert_eq!(
        (query.status.as_u16(), query.json()),
        (200, json!({"value": 10}))
    );
    assert!(index(query.header("oarlock-index")) >= index(second.header("oarlock-index")));
    let stale = running
        .client
        .send("POST", "/v1/query?consistency=stale", &[], GET)
        .await;
    assert_eq!(
        (stale.status.as_u16(), stale.json()),
        (200, json!({"value": 10}))
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_rejection_is_422_with_the_guests_reply() {
    let running = Running::start(Guest::Counter).await;
    for body in [
        r#"{"add":{}}"#,
        r#"{"sub":{"by":1}}"#,
        r#"{"add":{"by":"x"}}"#,
        "{",
        "\0",
    ] {
        let response = running.client.apply(body).await;
        assert_eq!(response.status, 422, "{body}: {response:?}");
        assert!(!response.body.is_empty());
    }
    let named = running.client.apply(r#"{"add":{}}"#).await;
    assert!(
        String::from_utf8_lossy(&named.body).contains("by"),
        "{named:?}"
    );
    assert_eq!(running.client.query(r#"{"put":{}}"#).await.status, 422);
    assert_eq!(running.client.query(GET).await.json(), json!({"value": 0}));
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_guest_failure_is_500_with_its_code_and_changes_nothing() {
    // Enough fuel for `add`, and little enough to run out soon.
    let running = Running::start_with(Guest::Faulty, |settings| {
        settings.limits.fuel_per_command = 500_000_000;
        settings.limits.fuel_per_query = 500_000_000;
        settings.limits.memory_bytes = 32 << 20;
    })
    .await;
    assert_eq!(running.client.apply(ADD).await.json(), json!({"value": 5}));
    running
        .client
        .apply(r#"{"half":{"by":100}}"#)
        .await
        .assert_error(500, "trap");
    running
        .client
        .apply(r#"{"trap":{}}"#)
        .await
        .assert_error(500, "trap");
    running
        .client
        .apply(r#"{"spin":{}}"#)
        .await
        .assert_error(500, "out_of_fuel");
    running
        .client
        .apply(r#"{"alloc":{"mib":64}}"#)
        .await
        .assert_error(500, "out_of_memory");
    running
        .client
        .query(r#"{"trap":{}}"#)
        .await
        .assert_error(500, "trap");
    running
        .client
        .query(r#"{"spin":{}}"#)
        .await
        .assert_error(500, "out_of_fuel");
    assert_eq!(running.client.query(GET).await.json(), json!({"value": 5}));
    assert_eq!(running.client.apply(ADD).await.json(), json!({"value": 10}));
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_repeated_key_returns_the_first_reply_and_409_for_another_body() {
    let running = Running::start(Guest::Counter).await;
    let key = [("idempotency-key", "once")];
    let first = running.client.apply_with(&key, ADD).await;
    let again = running.client.apply_with(&key, ADD).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    running
        .client
        .apply_with(&key, r#"{"add":{"by":6}}"#)
        .await
        .assert_error(409, "key_reused");
    assert_eq!(running.client.query(GET).await.json(), json!({"value": 5}));

    let refused = [("idempotency-key", "refused")];
    let first = running.client.apply_with(&refused, r#"{"add":{}}"#).await;
    let again = running.client.apply_with(&refused, r#"{"add":{}}"#).await;
    assert_eq!((first.status.as_u16(), &first.body), (422, &again.body));
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_command_that_times_out_is_504_with_an_unknown_outcome() {
    let running = Running::start(Guest::Faulty).await;
    // Using up the fuel of one command takes far longer than this timeout.
    let soon = [("oarlock-timeout-ms", "30")];
    // On a busy machine the node may have to be elected again first.
    let response = loop {
        let response = running.client.apply_with(&soon, r#"{"spin":{}}"#).await;
        if response.status != 503 {
            break response;
        }
    };
    response.assert_error(504, "timeout");
    assert!(
        response.json()["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("unknown"))
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn without_a_leader_only_stale_queries_succeed() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = without_majority(Guest::Counter, dir.path()).await;
    let running = Running::start_in(dir, settings).await.expect("it starts");
    let soon = [("oarlock-timeout-ms", "100")];
    let write = running.client.apply_with(&soon, ADD).await;
    write.assert_error(503, "no_leader");
    assert_eq!(write.header("retry-after"), "1");
    running
        .client
        .send("POST", "/v1/query", &soon, GET)
        .await
        .assert_error(503, "no_leader");
    // The error comes after two election timeouts, however long the timeout of the request is.
    let long = [("oarlock-timeout-ms", "600000")];
    running
        .client
        .apply_with(&long, ADD)
        .await
        .assert_error(503, "no_leader");
    running
        .client
        .send("POST", "/v1/query", &long, GET)
        .await
        .assert_error(503, "no_leader");
    let ready = running.client.get("/readyz").await;
    ready.assert_error(503, "no_leader");
    assert_eq!(ready.header("retry-after"), "1");
    assert_eq!(running.client.get("/healthz").await.status, 200);
    let stale = running
        .client
        .send("POST", "/v1/query?consistency=stale", &[], GET)
        .await;
    assert_eq!(
        (stale.status.as_u16(), stale.json()),
        (200, json!({"value": 0}))
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_body_over_the_body_budget_is_429() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.http.body_budget_bytes = 10;
    })
    .await;
    let response = running.client.apply(ADD).await;
    response.assert_error(429, "overloaded");
    assert_eq!(response.header("retry-after"), "1");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_guest_is_woken_at_the_requested_time() {
    let running = Running::start(Guest::Faulty).await;
    assert_eq!(
        running
            .client
            .apply(r#"{"wake_at":{"time_ms":1}}"#)
            .await
            .status,
        200
    );
    let mut status = running.node.app().raft.watch_status();
    // A wake-up publishes an event and adds 1.
    let woken = status.wait_for(|_| running.node.app().machine.get().counts.events == 1);
    woken.await.expect("it runs");
    assert_eq!(running.client.query(GET).await.json(), json!({"value": 1}));
    running.node.shutdown().await;
}
