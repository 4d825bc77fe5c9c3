//! Status, metrics, module and dashboard.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::{Guest, Running, alone};

#[tokio::test]
async fn the_status_has_every_field_of_the_contract() {
    let running = Running::start(Guest::Counter).await;
    running.client.apply(r#"{"add":{"by":5}}"#).await;
    let response = running.client.get("/v1/status").await;
    assert_eq!(response.header("content-type"), "application/json");
    let status = response.json();
    assert_eq!(status["node_id"], "node1");
    assert_eq!(status["role"], "leader");
    assert_eq!(status["leader_id"], "node1");
    let number = |field: &str| {
        status[field]
            .as_u64()
            .unwrap_or_else(|| panic!("no {field}: {status:#}"))
    };
    assert!(number("term") >= 1);
    assert!(number("applied_index") <= number("commit_index"));
    assert!(number("commit_index") <= number("last_log_index"));
    assert_eq!(
        (number("first_log_index"), number("snapshot_index")),
        (1, 0)
    );
    number("uptime_ms");
    assert_eq!(status["state_hash"].as_str().map(str::len), Some(64));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let machine = &status["state_machine"];
    assert_eq!(
        (&machine["name"], &machine["version"]),
        (&"counter".into(), &1.into())
    );
    assert_eq!(machine["sha256"].as_str().map(str::len), Some(64));
    let member = &status["members"][0];
    assert_eq!(member["node_id"], "node1");
    assert_eq!(member["peer_addr"], running.node.peer_addr().to_string());
    assert_eq!(
        member["client_addr"],
        running.node.client_addr().to_string()
    );
    assert_eq!(member["voter"], true);
    running.node.shutdown().await;
}

/// Takes a snapshot, and returns the status in which it contains everything that was applied. An audit of the new cluster may
/// add entries meanwhile. Without one, the existing snapshot is sufficient for the second request.
async fn status_of_a_snapshot(running: &Running) -> Value {
    loop {
        let taken = running.client.send("POST", "/v1/snapshot", &[], "").await;
        assert_eq!(taken.status, 200, "{taken:?}");
        let again = running.client.send("POST", "/v1/snapshot", &[], "").await;
        let status = running.client.get("/v1/status").await.json();
        let index = &taken.json()["snapshot_index"];
        if status["applied_index"] == *index {
            assert_eq!(again.json()["snapshot_index"], *index);
            assert_eq!(status["snapshot_index"], *index);
            return status;
        }
    }
}

#[tokio::test]
async fn the_state_hash_is_the_same_after_a_snapshot_and_a_restart() {
    let mut running = Running::start(Guest::Counter).await;
    for _ in 0..3 {
        running.client.apply(r#"{"add":{"by":5}}"#).await;
    }
    loop {
        let before = status_of_a_snapshot(&running).await;
        let snapshot = before["snapshot_index"].as_u64().expect("an index");
        assert!(snapshot >= 4, "{before:#}");
        let Running { node, dir, .. } = running;
        node.shutdown().await;
        let settings = alone(Guest::Counter, dir.path()).await;
        running = Running::start_in(dir, settings)
            .await
            .expect("it starts again");
        let after = running.client.get("/v1/status").await.json();
        // The first entry of a new leader has no commands, so the hash does not cover it. An audit after it is in the hash: then
        // the next start shows it.
        let applied = after["applied_index"].as_u64().expect("an index");
        if applied <= snapshot + 1 {
            assert_eq!(after["state_hash"], before["state_hash"]);
            return running.node.shutdown().await;
        }
    }
}

#[tokio::test]
async fn the_active_module_is_returned_unchanged() {
    let running = Running::start(Guest::Counter).await;
    let response = running.client.get("/v1/state-machine").await;
    assert_eq!(response.header("content-type"), "application/wasm");
    assert_eq!(
        response.body,
        std::fs::read(Guest::Counter.path()).expect("a file")
    );
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_has_caught_up_is_ready() {
    let running = Running::start(Guest::Counter).await;
    assert_eq!(running.client.get("/readyz").await.status, 200);
    assert_eq!(running.client.get("/healthz").await.status, 200);
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_metrics_count_commands_and_requests() {
    let running = Running::start(Guest::Counter).await;
    running.client.apply(r#"{"add":{"by":5}}"#).await;
    running.client.apply(r#"{"add":{}}"#).await;
    let response = running.client.get("/metrics").await;
    assert!(
        response.header("content-type").starts_with("text/plain"),
        "{response:?}"
    );
    let text = String::from_utf8_lossy(&response.body);
    for line in [
        "oarlock_proposals_total 2",
        "oarlock_refusals_total 1",
        "oarlock_raft_role{role=\"leader\"} 1",
        "oarlock_raft_role{role=\"follower\"} 0",
        "oarlock_http_requests_total{route=\"/v1/apply\",status=\"200\"} 1",
        "oarlock_http_requests_total{route=\"/v1/apply\",status=\"422\"} 1",
        "oarlock_http_request_seconds_count{route=\"/v1/apply\"} 2",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line:?} in\n{text}"
        );
    }
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_documentation_lists_exactly_the_metrics_of_a_node() {
    let running = Running::start(Guest::Faulty).await;
    // Metrics with labels appear with their first value.
    running.client.apply(r#"{"trap":{}}"#).await;
    let metrics = running.client.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body);
    let found: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let documented = include_str!("../../../../docs/metrics.md");
    let documented: BTreeSet<&str> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .collect();
    // Only a leader with followers has this metric.
    let mut expected = found;
    expected.insert("oarlock_raft_peer_lag_entries");
    // Only a node with TLS has this one.
    expected.insert("oarlock_cert_expiry_seconds");
    assert_eq!(documented, expected);
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_dashboard_is_one_page_that_loads_nothing_from_other_hosts() {
    let running = Running::start(Guest::Counter).await;
    let response = running.client.get("/").await;
    assert_eq!(response.header("content-type"), "text/html; charset=utf-8");
    let page = String::from_utf8_lossy(&response.body);
    assert!(
        page.contains("fetch(\"/v1/status\")"),
        "the page polls its node"
    );
    for foreign in ["src=", "@import", "url(", "<link"] {
        assert!(!page.contains(foreign), "the page contains {foreign}");
    }
    assert!(
        response
            .header("content-security-policy")
            .contains("default-src 'none'")
    );
    running.node.shutdown().await;
}
