//! A node that comes to another state than the others is found out.

use std::time::Duration;

use serde_json::json;

use super::support::{Client, Guest, Running};
use super::upgrades::Three;

const ADD: &str = r#"{"add":{"by":5}}"#;

/// Three nodes, of which the last takes no command of the length of [`ADD`], which the others do: the outcomes differ.
async fn with_an_odd_one() -> Three {
    Three::start_with(|at, settings| {
        settings.audit_interval = Duration::from_millis(50);
        if at == 2 {
            settings.limits.command_bytes = ADD.len() as u64 - 1;
        }
    })
    .await
}

/// Adds, by way of a node that agrees with the others.
async fn add(three: &Three) {
    loop {
        // The odd one may lead until it is found out, and is then followed by another one.
        let answer = three.client(0).apply(ADD).await;
        if answer.status == 200 {
            break;
        }
        assert!(
            [413, 500, 503, 504].contains(&answer.status.as_u16()),
            "{answer:?}"
        );
    }
}

async fn metrics(client: &Client) -> String {
    let metrics = client.get("/metrics").await.body;
    String::from_utf8_lossy(&metrics).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_differs_gets_a_leaders_state_in_place_of_its_own_and_serves_again() {
    let three = with_an_odd_one().await;
    add(&three).await;
    let auditor = &three.node(2).app().auditor;
    auditor.quarantined().await;
    auditor.lifted().await;
    let odd = three.client(2);
    let answer = odd.query(r#"{"get":{}}"#).await;
    assert_eq!(answer.json(), json!({"value": 5}), "{answer:?}");
    // A command that it takes as the others do.
    let answer = odd.apply(r#"{"a":1}"#).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    let status = odd.get("/v1/status").await.json();
    assert_eq!(status["audit"]["reinstalls"], 1, "{status:#}");
    assert_eq!(status["audit"]["quarantined"], false, "{status:#}");
    assert!(metrics(&odd).await.contains("oarlock_reinstalls_total 1"));
    // The next comparison finds all of one mind.
    let mut changes = auditor.watch();
    let agreed =
        changes.wait_for(|findings| findings.agreeing == 3 && findings.differing.is_empty());
    agreed.await.expect("it runs");
    let kept = three.data_dir(2).join("quarantine");
    let kept = std::fs::read_dir(kept).expect("its own state is kept");
    assert_eq!(kept.count(), 1);
    three.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_differs_again_and_again_stays_in_quarantine_and_serves_nobody() {
    let mut three = with_an_odd_one().await;
    for time in 1..=4 {
        add(&three).await;
        let auditor = &three.node(2).app().auditor;
        auditor.quarantined().await;
        if time < 4 {
            auditor.lifted().await;
        } else {
            auditor.given_up().await;
        }
    }
    for at in [0, 1] {
        let auditor = &three.node(at).app().auditor;
        auditor.found_differing(&["node3"]).await;
        assert!(!auditor.is_quarantined());
    }
    let (one, odd) = (three.client(0), three.client(2));
    odd.query(r#"{"get":{}}"#)
        .await
        .assert_error(503, "quarantined");
    odd.apply(r#"{"a":1}"#)
        .await
        .assert_error(503, "quarantined");
    odd.get("/readyz").await.assert_error(503, "quarantined");
    let status = odd.get("/v1/status").await.json();
    assert_eq!(status["audit"]["quarantined"], true, "{status:#}");
    assert_eq!(status["audit"]["given_up"], true, "{status:#}");
    assert_eq!(status["audit"]["reinstalls"], 3, "{status:#}");
    assert_eq!(status["audit"]["differing"], json!(["node3"]));
    for (client, metric) in [
        (&odd, "oarlock_quarantined 1"),
        (&odd, "oarlock_quarantine_given_up 1"),
        (&one, "oarlock_audit_differing_nodes 1"),
    ] {
        let metrics = metrics(client).await;
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    assert_eq!(serves(&one).await, 200, "two of three go on");

    // It is still so after a restart.
    three.restart(2).await;
    three.node(2).app().auditor.given_up().await;
    let odd = three.client(2);
    odd.get("/readyz").await.assert_error(503, "quarantined");
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
        let later = audit.requested_at.is_some_and(|asked| asked.0 > worked);
        later && audit.reports.get("node1") == audit.own.as_ref()
    };
    let asked = app.upgrades.find(|_| {
        let audit = app.machine.audit();
        compared(&audit).then_some(audit.requested_at)
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
