//! A node whose state diverges is quarantined and reinstalled.

use std::time::Duration;

use oarlock_wasm::AuditVerdict;
use serde_json::json;

use super::support::{Client, Guest, Running};
use super::upgrades::Three;

const ADD: &str = r#"{"add":{"by":5}}"#;

/// Three nodes. The last one has a lower limit and rejects commands as long as [`ADD`], so that its state diverges.
async fn with_a_diverging_node() -> Three {
    Three::start_with(|at, settings| {
        settings.audit_interval = Duration::from_millis(50);
        settings.proposes_no_settings = true;
        if at == 2 {
            settings.limits.command_bytes = ADD.len() as u64 - 1;
        }
    })
    .await
}

/// Sends [`ADD`] to the first node until it is applied.
async fn add(three: &Three) {
    loop {
        // The diverging node may lead until it is quarantined.
        let response = three.client(0).apply(ADD).await;
        if response.status == 200 {
            break;
        }
        assert!(
            [413, 500, 503, 504].contains(&response.status.as_u16()),
            "{response:?}"
        );
    }
}

async fn metrics(client: &Client) -> String {
    let metrics = client.get("/metrics").await.body;
    String::from_utf8_lossy(&metrics).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_diverges_installs_a_snapshot_of_the_leader_and_serves_again() {
    let three = with_a_diverging_node().await;
    add(&three).await;
    let auditor = &three.node(2).app().auditor;
    auditor.quarantined().await;
    auditor.serving().await;
    let diverged = three.client(2);
    let response = diverged.query(r#"{"get":{}}"#).await;
    assert_eq!(response.json(), json!({"value": 5}), "{response:?}");
    // A command within its limit.
    let response = diverged.apply(r#"{"a":1}"#).await;
    assert_eq!(response.status, 422, "{response:?}");
    let status = diverged.get("/v1/status").await.json();
    assert_eq!(status["audit"]["reinstalls"], 1, "{status:#}");
    assert_eq!(status["audit"]["quarantined"], false, "{status:#}");
    assert!(
        metrics(&diverged)
            .await
            .contains("oarlock_reinstalls_total 1")
    );
    // The next audit finds no difference.
    let mut changes = auditor.watch();
    let agreed = changes.wait_for(|verdict| {
        let findings = verdict.findings();
        findings.agreeing == 3 && findings.differing.is_empty()
    });
    agreed.await.expect("it runs");
    let kept = three.data_dir(2).join("quarantine");
    let kept = std::fs::read_dir(kept).expect("the diverged state is kept");
    assert_eq!(kept.count(), 1);
    three.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_diverges_again_and_again_stays_in_quarantine() {
    let mut three = with_a_diverging_node().await;
    for time in 1..=4 {
        add(&three).await;
        let auditor = &three.node(2).app().auditor;
        auditor.quarantined().await;
        if time < 4 {
            auditor.serving().await;
        } else {
            auditor.given_up().await;
        }
    }
    for at in [0, 1] {
        let auditor = &three.node(at).app().auditor;
        auditor.found_differing(&["node3"]).await;
        assert!(!auditor.is_quarantined());
    }
    let (one, diverged) = (three.client(0), three.client(2));
    diverged
        .query(r#"{"get":{}}"#)
        .await
        .assert_error(503, "quarantined");
    diverged
        .apply(r#"{"a":1}"#)
        .await
        .assert_error(503, "quarantined");
    diverged
        .get("/readyz")
        .await
        .assert_error(503, "quarantined");
    let status = diverged.get("/v1/status").await.json();
    assert_eq!(status["audit"]["quarantined"], true, "{status:#}");
    assert_eq!(status["audit"]["given_up"], true, "{status:#}");
    assert_eq!(status["audit"]["reinstalls"], 3, "{status:#}");
    assert_eq!(status["audit"]["differing"], json!(["node3"]));
    for (client, metric) in [
        (&diverged, "oarlock_quarantined 1"),
        (&diverged, "oarlock_quarantine_given_up 1"),
        (&one, "oarlock_audit_differing_nodes 1"),
    ] {
        let metrics = metrics(client).await;
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    assert_eq!(serves(&one).await, 200, "two of three nodes serve");

    // Also after a restart.
    three.restart(2).await;
    three.node(2).app().auditor.given_up().await;
    let diverged = three.client(2);
    diverged
        .get("/readyz")
        .await
        .assert_error(503, "quarantined");
    three.shutdown().await;
}

async fn serves(client: &Client) -> u16 {
    loop {
        let response = client.apply(ADD).await;
        if response.status != 503 {
            return response.status.as_u16();
        }
    }
}

#[tokio::test]
async fn an_audit_follows_a_command() {
    let running = Running::start_with(Guest::Counter, |settings| {
        settings.audit_interval = Duration::from_millis(5);
    })
    .await;
    let response = running.client.apply(ADD).await;
    let index: u64 = response.header("oarlock-index").parse().expect("a number");
    let app = running.node.app();
    let compared = |audit: &oarlock_wasm::Audit| {
        let later = audit
            .requested_at
            .is_some_and(|requested| requested.0 > index);
        later && audit.reports.get("node1") == audit.own.as_ref()
    };
    let requested = app.upgrades.find(|_| {
        let audit = app.machine.audit();
        compared(&audit).then_some(audit.requested_at)
    });
    let requested = requested
        .await
        .expect("it runs")
        .map(|requested| requested.0);
    let mut changes = app.auditor.watch();
    // The findings are updated after the hashes are in the log.
    let found = changes.wait_for(|verdict| {
        let findings = verdict.findings();
        findings.agreeing == 1 && findings.index.map(|index| index.0) >= requested
    });
    found.await.expect("it runs");
    let status = running.client.get("/v1/status").await.json();
    assert_eq!(status["audit"]["quarantined"], false, "{status:#}");
    running.node.shutdown().await;
}

/// A command within the limits of all nodes.
const SHORT: &str = "{}";

/// Three nodes that have executed one command in three ways, and know it: no node accepts commands.
async fn without_a_majority() -> Three {
    let three = Three::start_with(|at, settings| {
        settings.audit_interval = Duration::from_millis(50);
        settings.proposes_no_settings = true;
        match at {
            1 => settings.limits.command_bytes = ADD.len() as u64 - 1,
            2 => settings.limits.fuel_per_command = 1,
            _ => {}
        }
    })
    .await;
    add(&three).await;
    for at in 0..3 {
        let auditor = &three.node(at).app().auditor;
        let mut changes = auditor.watch();
        let stopped = changes.wait_for(AuditVerdict::are_writes_stopped);
        drop(stopped.await.expect("it runs"));
        assert!(
            !auditor.is_quarantined(),
            "no node knows which state is right"
        );
        // It is recorded a moment later.
        while !three.data_dir(at).join("writes-stopped").exists() {
            tokio::task::yield_now().await;
        }
    }
    three
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_nodes_without_a_majority_acknowledges_no_command() {
    let mut three = without_a_majority().await;
    for _ in 0..2 {
        for at in 0..3 {
            three.stop(at).await;
        }
        for at in 0..3 {
            three.start_again(at).await;
            let refused = three.client(at).apply(SHORT).await;
            refused.assert_error(503, "states_differ");
        }
        // Also once a leader has audited again.
        let leader = three.leader(0).await;
        let mut changes = three.node(leader).app().auditor.watch();
        let audited = changes.wait_for(|verdict| verdict.findings().undecided);
        drop(audited.await.expect("it runs"));
        for at in 0..3 {
            let refused = three.client(at).apply(SHORT).await;
            refused.assert_error(503, "states_differ");
        }
    }
    three.shutdown().await;
}

/// A metric without labels.
async fn metric(client: &Client, name: &str) -> u64 {
    let metrics = metrics(client).await;
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value).expect("the metric")
}

/// The time is counted in messages between the nodes. At rest a node sends 10 heartbeats a second to each of two others, and gets as
/// many responses: 40 messages in the longest election timeout, which is a second. Elections need more of them.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_states_differ_keep_their_leader() {
    const MESSAGES_PER_TIMEOUT: u64 = 40;
    const TIMEOUTS: u64 = 8;
    // A busy machine may lose a leader. Before there were pauses, there was an election at every twelfth message.
    const MOST_TERMS: u64 = TIMEOUTS / 2;
    let three = without_a_majority().await;
    let sum = async |name: &str| {
        let mut sum = 0;
        for at in 0..3 {
            sum += metric(&three.client(at), name).await;
        }
        sum
    };
    let messages = "oarlock_peer_frames_sent_total";
    let term = metric(&three.client(0), "oarlock_raft_term").await;
    let end = sum(messages).await + MESSAGES_PER_TIMEOUT * TIMEOUTS;
    while sum(messages).await < end {
        tokio::task::yield_now().await;
    }
    for at in 0..3 {
        let now = metric(&three.client(at), "oarlock_raft_term").await;
        assert!(now <= term + MOST_TERMS, "term {term} became {now}");
        three
            .client(at)
            .apply(SHORT)
            .await
            .assert_error(503, "states_differ");
    }
    three.shutdown().await;
}

/// As where a snapshot has replaced the part of the log with the reports that ended it on the others. No new entry makes an audit due
/// for the leader.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_alone_refuses_commands_asks_for_the_audit_that_ends_it() {
    let mut three = Three::start_with(|_, settings| {
        settings.audit_interval = Duration::from_millis(50);
    })
    .await;
    add(&three).await;
    let leader = three.leader(0).await;
    let machine = three.node(leader).app().machine.clone();
    let upgrades = three.node(leader).app().upgrades.clone();
    let audited = upgrades.find(|_| {
        let audit = machine.audit();
        let is_complete = !audit.is_due && audit.reports.len() == 3;
        audit.requested_at.filter(|_| is_complete)
    });
    let audited = audited.await.expect("it runs").0;
    let follower = (leader + 1) % 3;
    three.stop(follower).await;
    std::fs::write(
        three.data_dir(follower).join("writes-stopped"),
        (audited + 1).to_string(),
    )
    .expect("writable");
    three.start_again(follower).await;
    let auditor = three.node(follower).app().auditor.clone();
    assert!(auditor.are_writes_stopped());
    let mut changes = auditor.watch();
    let ended = changes.wait_for(|verdict| !verdict.are_writes_stopped());
    drop(ended.await.expect("it runs"));
    assert_eq!(three.client(follower).apply(ADD).await.status, 200);
    three.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_majority_agrees_commands_are_refused_until_an_operator_accepts_a_state() {
    let three = without_a_majority().await;
    let intact = three.client(0);
    intact.apply(ADD).await.assert_error(503, "states_differ");
    let value = intact.query("{\"get\":{}}").await.json();
    assert_eq!(value, json!({"value": 5}), "queries are served");
    let metrics = metrics(&intact).await;
    assert!(metrics.contains("oarlock_writes_stopped 1"), "{metrics}");

    let body = json!({"node": "node1"}).to_string();
    loop {
        let accepted = intact
            .send("POST", "/v1/audit/accept", &[], body.clone())
            .await;
        if accepted.status == 200 && accepted.json()["accepted"].is_string() {
            break;
        }
    }
    // The others install the accepted state, whichever node led before.
    for at in [1, 2] {
        let mut status = three.node(at).app().raft.watch_status();
        let reinstalled = status.wait_for(|status| status.reinstalled > 0).await;
        drop(reinstalled.expect("it runs"));
    }
    let value = intact.query("{\"get\":{}}").await.json();
    assert_eq!(value, json!({"value": 5}));
    three.shutdown().await;
}
