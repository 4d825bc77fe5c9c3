use super::support::{NO_LEADER, ScriptedNode, Turn, client, unreachable_node};
use crate::{NodeRole, RequestError};

/// A status with a field and a role that a later version may add.
const LATER: &str = r#"{"node_id":"n1","role":"observer","term":3,"leader_id":null,"commit_index":9,"applied_index":9,
    "first_log_index":1,"last_log_index":9,"snapshot_index":0,"state_hash":"00ff",
    "members":[{"node_id":"n1","peer_addr":"127.0.0.1:1","client_addr":null,"voter":true}],
    "state_machine":{"name":"kv","version":1,"sha256":"ab"},"uptime_ms":5,"version":"0.1.0","alarm":"none"}"#;

/// A leader of an old term, and one of a new term.
const OLD: &str = r#"{"node_id":"old","role":"leader","term":1,"leader_id":"old","commit_index":1,"applied_index":1,
    "first_log_index":1,"last_log_index":1,"snapshot_index":0,"state_hash":"","members":[],
    "state_machine":{"name":"kv","version":1,"sha256":""},"uptime_ms":5,"version":"0.1.0"}"#;
const NEW: &str = r#"{"node_id":"new","role":"leader","term":2,"leader_id":"new","commit_index":1,"applied_index":1,
    "first_log_index":1,"last_log_index":1,"snapshot_index":0,"state_hash":"","members":[],
    "state_machine":{"name":"kv","version":1,"sha256":""},"uptime_ms":5,"version":"0.1.0"}"#;

#[tokio::test]
async fn unknown_fields_and_roles_of_a_status_are_kept() {
    let node = ScriptedNode::start([Turn::WithoutIndex(200, LATER)]).await;
    let status = client(&[&node.endpoint]).status().await.unwrap();
    assert_eq!(
        (status.role, status.term, status.leader_id.as_deref()),
        (NodeRole::Unknown, 3, None)
    );
    assert_eq!(status.other.get("alarm").unwrap(), "none");
    assert_eq!(node.seen()[0].line, "GET /v1/status");
}

#[tokio::test]
async fn a_response_that_is_not_a_status_is_an_error_with_the_endpoint() {
    let node = ScriptedNode::start([Turn::WithoutIndex(200, "[]")]).await;
    let error = client(&[&node.endpoint])
        .status_of(&node.endpoint)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RequestError::Malformed { endpoint, .. } if *endpoint == node.endpoint),
        "{error:?}"
    );
}

#[tokio::test]
async fn every_node_has_its_own_status_or_error() {
    let (_socket, unreachable) = unreachable_node();
    let node = ScriptedNode::start([Turn::WithoutIndex(200, LATER)]).await;
    let statuses = client(&[&unreachable, &node.endpoint])
        .status_of_all()
        .await;
    assert_eq!(statuses[0].0, unreachable);
    assert!(
        matches!(statuses[0].1, Err(RequestError::Unreachable { .. })),
        "{statuses:?}"
    );
    assert_eq!(statuses[1].1.as_ref().unwrap().node_id, "n1");
}

#[tokio::test]
async fn the_leader_of_the_latest_term_is_preferred() {
    let old = ScriptedNode::start([Turn::WithoutIndex(200, OLD)]).await;
    let new = ScriptedNode::start([Turn::WithoutIndex(200, NEW)]).await;
    let client = client(&[&old.endpoint, &new.endpoint]);
    assert_eq!(client.prefer_leader().await.unwrap(), new.endpoint);
    assert_eq!(client.status().await.unwrap().node_id, "new");
}

#[tokio::test]
async fn readiness_is_the_status_of_readyz() {
    for (turn, ready) in [
        (Turn::WithoutIndex(200, "ready"), true),
        (NO_LEADER, false),
        (Turn::WithoutIndex(503, "no"), false),
    ] {
        let node = ScriptedNode::start([turn]).await;
        assert_eq!(
            client(&[&node.endpoint]).is_ready(&node.endpoint).await,
            Ok(ready)
        );
    }
    let (_socket, unreachable) = unreachable_node();
    assert!(matches!(
        client(&[&unreachable]).is_ready(&unreachable).await,
        Err(RequestError::Unreachable { .. })
    ));
}

#[tokio::test]
async fn snapshot_and_module_have_their_routes() {
    let node = ScriptedNode::start([
        Turn::WithoutIndex(200, "{}"),
        Turn::WithoutIndex(200, "\0asm"),
    ])
    .await;
    let client = client(&[&node.endpoint]);
    assert_eq!(client.snapshot(&node.endpoint).await.unwrap(), "{}");
    assert_eq!(client.state_machine().await.unwrap(), "\0asm");
    let lines: Vec<_> = node.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["POST /v1/snapshot", "GET /v1/state-machine"]);
}
