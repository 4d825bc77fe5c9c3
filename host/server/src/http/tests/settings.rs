//! Replicated settings over HTTP.

use serde_json::json;

use super::support::{Guest, Running, alone};

const ADD: &str = r#"{"add":{"by":5}}"#;
const GET: &str = r#"{"get":{}}"#;

#[tokio::test]
async fn settings_are_shown_and_changed_and_stay_after_a_restart_with_other_limits() {
    let running = Running::start(Guest::Counter).await;
    let client = &running.client;
    let shown = client.get("/v1/settings").await.json();
    assert_eq!(shown["level"], 1, "{shown}");
    assert_eq!(shown["settings"]["command_bytes"], 1 << 20, "{shown}");
    assert_eq!(shown["differing"], json!([]), "{shown}");
    client.apply(ADD).await;

    let change = json!({"set": {"command_bytes": 15, "keys": 7}}).to_string();
    let changed = client.send("POST", "/v1/settings", &[], change).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json()["settings"]["keys"], 7);
    client.apply(ADD).await.assert_error(413, "too_large");
    assert_eq!(client.apply(r#"{"a":1}"#).await.status, 422);

    let mut settings = alone(Guest::Counter, running.dir.path()).await;
    settings.limits.command_bytes = 500;
    settings.limits.fuel_per_command = 1;
    let running = running.restart(settings).await;
    let client = &running.client;
    let shown = client.get("/v1/settings").await.json();
    assert_eq!(shown["settings"]["command_bytes"], 15, "{shown}");
    let differing = shown["differing"].as_array().expect("a list").iter();
    let names: Vec<_> = differing
        .map(|differing| differing["name"].clone())
        .collect();
    assert_eq!(
        names,
        ["command_bytes", "fuel_per_command", "keys"],
        "{shown}"
    );
    assert_eq!(client.query(GET).await.json(), json!({"value": 5}));
    let back = json!({"set": {"command_bytes": 1000}}).to_string();
    client.send("POST", "/v1/settings", &[], back).await;
    assert_eq!(client.apply(ADD).await.json(), json!({"value": 10}));
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_refused_change_names_the_reason_and_changes_nothing() {
    let running = Running::start(Guest::Counter).await;
    let client = &running.client;
    let before = client.get("/v1/settings").await.json();
    for (set, status, code) in [
        (json!({"no_such": 1}), 400, "malformed"),
        (json!({"command_bytes": 0}), 400, "malformed"),
        (
            json!({"keys": 5, "snapshot_bytes": 1}),
            409,
            "setting_refused",
        ),
        (json!({}), 400, "malformed"),
    ] {
        let body = json!({"set": set}).to_string();
        let response = client.send("POST", "/v1/settings", &[], body).await;
        response.assert_error(status, code);
    }
    assert_eq!(client.get("/v1/settings").await.json(), before);
    // The level can't be raised further, which is no error.
    let raised = client
        .send("POST", "/v1/settings/raise-level", &[], "")
        .await;
    assert_eq!(raised.status, 200, "{raised:?}");
    assert_eq!(raised.json()["level"], 1);
    running.node.shutdown().await;
}

#[tokio::test]
async fn the_state_of_a_node_is_accepted_only_where_no_majority_agrees() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.audit_interval = std::time::Duration::from_millis(5);
    })
    .await;
    let client = &running.client;
    client.apply(ADD).await;
    let app = running.node.app();
    let reported = app.upgrades.find(|_| {
        let audit = app.machine.audit();
        audit.reports.contains_key("node1").then_some(())
    });
    reported.await.expect("it runs");
    let body = json!({"node": "node2"}).to_string();
    let other = client.send("POST", "/v1/audit/accept", &[], body).await;
    other.assert_error(409, "states_agree");
    // A node alone may be accepted: it ends its quarantine.
    app.auditor.give_up();
    client.apply(ADD).await.assert_error(503, "quarantined");
    let body = json!({"node": "node1", "by": "ann"}).to_string();
    // Audits follow each other so quickly here that the next one may begin before the acceptance is in the log.
    loop {
        let response = client
            .send("POST", "/v1/audit/accept", &[], body.clone())
            .await;
        if response.status == 200 {
            break;
        }
        // The node has not reported for the latest audit yet.
        assert_eq!(response.status, 409, "{response:?}");
    }
    app.auditor.serving().await;
    assert_eq!(client.apply(ADD).await.json(), json!({"value": 10}));
    running.node.shutdown().await;
}
