//! A node that comes to another state than the others is found out.

use std::time::Duration;

use serde_json::json;

use super::support::{Client, Guest, Running};
use super::upgrades::Three;

const ADD: &str = r#"{"add":{"by":5}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_differs_is_named_by_the_others_and_serves_nobody() {
    // It takes no command of this length, which the others do: the outcomes differ.
    let three = Three::start_with(|at, settings| {
        settings.audit_interval = Duration::from_millis(50);
        if at == 2 {
            settings.limits.command_bytes = ADD.len() as u64 - 1;
        }
    })
    .await;
    let (one, odd) = (three.client(0), three.client(2));
    loop {
        // It may lead until it is found out, and is then followed by another one.
        let answer = one.apply(ADD).await;
        if answer.status == 200 {
            break;
        }
        assert!(
            [413, 500, 503, 504].contains(&answer.status.as_u16()),
            "{answer:?}"
        );
    }
    three.node(2).app().auditor.quarantined().await;
    for at in [0, 1] {
        let auditor = &three.node(at).app().auditor;
        auditor.found_differing(&["node3"]).await;
        assert!(!auditor.is_quarantined());
    }
    odd.query(r#"{"get":{}}"#)
        .await
        .assert_error(503, "quarantined");
    odd.apply(r#"{"a":1}"#)
        .await
        .assert_error(503, "quarantined");
    odd.get("/readyz").await.assert_error(503, "quarantined");
    let status = odd.get("/v1/status").await.json();
    assert_eq!(status["audit"]["quarantined"], true, "{status:#}");
    assert_eq!(status["audit"]["differing"], json!(["node3"]));
    for (client, metric) in [
        (&odd, "oarlock_quarantined 1"),
        (&one, "oarlock_audit_differing_nodes 1"),
    ] {
        let metrics = client.get("/metrics").await.body;
        let metrics = String::from_utf8_lossy(&metrics);
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    assert_eq!(serves(&one).await, 200, "two of three go on");
    three.shutdown().await;
}

async fn serves(client: &Client) -> u16 {
    loop {
        let answer = client.apply(ADD).await;
        if answer.status != 503 {
            return answer.status.as_u16();
        }
    }
}

#[tokio::test]
async fn nodes_are_compared_after_work() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.audit_interval = Duration::from_millis(5);
    })
    .await;
    let answer = running.client.apply(ADD).await;
    let worked: u64 = answer.header("oarlock-index").parse().expect("a number");
    let app = running.node.app();
    let compared = |audit: &oarlock_wasm::Audit| {
        let later = audit.asked.is_some_and(|asked| asked.0 > worked);
        later && audit.heard.get("node1") == audit.own.as_ref()
    };
    let asked = app.upgrades.find(|_| {
        let audit = app.machine.audit();
        compared(&audit).then_some(audit.asked)
    });
    let asked = asked.await.expect("it runs").map(|asked| asked.0);
    let mut changes = app.auditor.watch();
    // It is in the log before it has been judged.
    let told = changes.wait_for(|findings| {
        findings.agreeing == 1 && findings.asked.map(|asked| asked.0) >= asked
    });
    told.await.expect("it runs");
    let status = running.client.get("/v1/status").await.json();
    assert_eq!(status["audit"]["quarantined"], false, "{status:#}");
    running.node.shutdown().await;
}
