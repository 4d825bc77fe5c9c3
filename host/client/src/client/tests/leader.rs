//! Which node is tried, and when: `Retry-After`, and the leader first.

use std::time::{Duration, Instant};

use super::support::{SHORT, ScriptedNode, Turn, client, client_with};
use crate::{ApplyError, ApplyOptions, ClientOptions, RequestError};

const OK: Turn = Turn::Respond(200, "done");
const BUSY: &str = r#"{"error":{"code":"overloaded","message":"busy","hint":""}}"#;

fn with_timeout(timeout: Duration) -> ApplyOptions {
    ApplyOptions {
        timeout,
        ..ApplyOptions::default()
    }
}

#[tokio::test]
async fn a_node_is_not_tried_before_its_retry_after_is_over() {
    let node = ScriptedNode::start([Turn::RetryAfter(429, BUSY, 1), OK]).await;
    let begun = Instant::now();
    let applied = client(&[&node.endpoint])
        .apply("x", &ApplyOptions::default())
        .await
        .unwrap();
    assert_eq!(applied.reply, "done");
    assert_eq!(node.seen().len(), 2);
    // A timer never fires early.
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_retry_after_that_is_longer_than_the_timeout_ends_the_request() {
    let patient = ScriptedNode::start([Turn::RetryAfter(429, BUSY, 3600)]).await;
    let error = client(&[&patient.endpoint])
        .apply("x", &with_timeout(SHORT))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ApplyError::NotApplied(RequestError::Overloaded { .. })
        ),
        "{error:?}"
    );
    assert_eq!(patient.seen().len(), 1);
    // Without the header it is tried again.
    let hasty = ScriptedNode::start([Turn::WithoutIndex(429, BUSY)]).await;
    client(&[&hasty.endpoint])
        .apply("x", &with_timeout(SHORT))
        .await
        .unwrap_err();
    assert!(hasty.seen().len() > 1);
}

#[tokio::test]
async fn other_nodes_are_tried_meanwhile() {
    let busy = ScriptedNode::start([Turn::RetryAfter(429, BUSY, 3600)]).await;
    let other = ScriptedNode::start([
        Turn::WithoutIndex(429, BUSY),
        Turn::WithoutIndex(429, BUSY),
        OK,
    ])
    .await;
    let applied = client(&[&busy.endpoint, &other.endpoint])
        .apply("x", &ApplyOptions::default())
        .await
        .unwrap();
    assert_eq!(applied.reply, "done");
    assert_eq!((busy.seen().len(), other.seen().len()), (1, 3));
}

#[tokio::test]
async fn requests_are_sent_to_the_leader_once_it_is_known() {
    let leader = ScriptedNode::start([OK]).await;
    let status = format!(
        r#"{{"node_id":"n1","role":"follower","term":3,"leader_id":"n2","commit_index":9,"applied_index":9,
        "first_log_index":1,"last_log_index":9,"snapshot_index":0,"state_hash":"00ff",
        "members":[{{"node_id":"n2","peer_addr":"127.0.0.1:1","client_addr":"{}","voter":true}}],
        "state_machine":{{"name":"kv","version":1,"sha256":"ab"}},"uptime_ms":5,"version":"0.1.0"}}"#,
        leader.endpoint
    );
    let follower = ScriptedNode::start([Turn::WithStatus(status.leak())]).await;
    let client = client_with(
        &[&follower.endpoint, &leader.endpoint],
        ClientOptions::default(),
    );
    client
        .apply("first", &ApplyOptions::default())
        .await
        .unwrap();
    // The leader is looked up in the background.
    while leader.seen().is_empty() {
        client.apply("x", &ApplyOptions::default()).await.unwrap();
    }
    let to_follower = follower.seen().len();
    for _ in 0..3 {
        client.apply("y", &ApplyOptions::default()).await.unwrap();
    }
    assert_eq!(follower.seen().len(), to_follower);
    let lookups = follower.seen();
    let lookups = lookups.iter().filter(|seen| seen.line == "GET /v1/status");
    assert_eq!(lookups.count(), 1);
}
