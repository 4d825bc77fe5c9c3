//! What `POST /v1/members` refuses before anything is changed.

use serde_json::json;

use super::support::*;

async fn add(running: &Running, node_id: &str, peer_addr: &str) -> ReceivedResponse {
    let body = json!({"node_id": node_id, "peer_addr": peer_addr}).to_string();
    running.client.send("POST", "/v1/members", &[], body).await
}

fn members(running: &Running) -> usize {
    let status = running.node.app().raft.status();
    status.membership.members().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_an_id_and_an_address_of_its_operator_takes_no_members() {
    let unnamed = Running::start_with(Guest::Counter, |settings| {
        settings.start.takes_members = false;
    })
    .await;
    let refused = add(&unnamed, "node2", "127.0.0.1:1").await;
    refused.assert_error(409, "no_peer_address");
    for flag in ["--node-id", "--peer-addr"] {
        let hint = refused.json()["error"]["hint"].to_string();
        assert!(hint.contains(flag), "{hint}");
    }
    assert_eq!(members(&unnamed), 1);
    unnamed.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_member_is_refused_for_another_node() {
    let running = Running::start(Guest::Counter).await;
    let own = running.node.peer_addr().to_string();
    add(&running, "node2", &own)
        .await
        .assert_error(409, "address_in_use");
    assert_eq!(members(&running), 1);
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_moved_to_an_address_at_which_it_does_not_answer() {
    let running = Running::start(Guest::Counter).await;
    // A listener that answers nothing is closed before it is asked.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nowhere = closed.local_addr().expect("bound").to_string();
    drop(closed);
    add(&running, "node2", &nowhere).await;
    assert_eq!(members(&running), 2, "a new node may be started later");
    let before = running.node.app().raft.status().membership;
    let refused = add(&running, "node2", "127.0.0.1:1").await;
    refused.assert_error(409, "no_answer");
    let text = refused.json()["error"]["message"].to_string();
    assert!(
        text.contains(&nowhere) && text.contains("127.0.0.1:1"),
        "{text}"
    );
    assert_eq!(running.node.app().raft.status().membership, before);
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_at_which_another_node_answers_is_refused() {
    let running = Running::start(Guest::Counter).await;
    let other = Running::start(Guest::Counter).await;
    let address = other.node.peer_addr().to_string();
    let refused = add(&running, "node2", &address).await;
    refused.assert_error(409, "wrong_node");
    assert_eq!(members(&running), 1);
    // It is node1 itself that answers at its own address.
    let own = running.node.peer_addr().to_string();
    assert_eq!(add(&running, "node1", &own).await.status, 200);
    other.node.shutdown().await;
    running.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_remove_an_unknown_node_is_an_error() {
    let running = Running::start(Guest::Counter).await;
    let refused = running
        .client
        .send("DELETE", "/v1/members/typo", &[], "")
        .await;
    refused.assert_error(404, "unknown_node");
    running.node.shutdown().await;
}
