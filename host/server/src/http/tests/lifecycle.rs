//! Failed starts, restarts, and a cluster of three nodes.

use serde_json::json;

use super::support::{Client, Guest, Running, alone, anywhere};
use crate::node::{Node, NodeStartError, Sockets};
use crate::settings::cluster::ClusterPeer;
use crate::settings::{ClusterSpec, GuestSource, ServeSettings};

const ADD: &str = r#"{"add":{"by":5}}"#;
const GET: &str = r#"{"get":{}}"#;

async fn start_error(settings: ServeSettings) -> String {
    match Node::start(settings).await {
        Err(error) => error.to_string(),
        Ok(node) => {
            node.shutdown().await;
            panic!("it started");
        }
    }
}

#[tokio::test]
async fn acknowledged_commands_and_keys_survive_a_restart() {
    let running = Running::start(Guest::Counter).await;
    let key = [("idempotency-key", "once")];
    running.client.apply_with(&key, ADD).await;
    let settings = alone(Guest::Counter, running.dir.path()).await;
    let running = running.restart(settings).await;
    assert_eq!(running.client.query(GET).await.json(), json!({"value": 5}));
    assert_eq!(
        running.client.apply_with(&key, ADD).await.json(),
        json!({"value": 5})
    );
    running
        .client
        .apply_with(&key, r#"{"add":{"by":6}}"#)
        .await
        .assert_error(409, "key_reused");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_data_directory_in_use_or_of_another_node_or_cluster_is_an_error() {
    let running = Running::start(Guest::Counter).await;
    let in_use = start_error(alone(Guest::Counter, running.dir.path()).await).await;
    assert!(in_use.contains("in use"), "{in_use}");
    let Running { node, dir, .. } = running;
    node.shutdown().await;

    let mut other_cluster = alone(Guest::Counter, dir.path()).await;
    other_cluster.cluster_id = "another".to_owned();
    let message = start_error(other_cluster).await;
    assert!(
        message.contains("another") && message.contains("test") && message.contains("--data-dir"),
        "{message}"
    );

    let cluster = ClusterSpec::alone("node2", anywhere());
    let guest = Guest::Counter.load().await;
    let mut other_node =
        ServeSettings::of_cluster(cluster, "node2", anywhere(), dir.path().to_owned(), guest)
            .expect("a node of its cluster");
    other_node.cluster_id = "test".to_owned();
    let message = start_error(other_node).await;
    assert!(
        message.contains("node1") && message.contains("node2"),
        "{message}"
    );
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("bound").to_string();
    let dir = tempfile::tempdir().expect("a directory");
    for flag in ["--client-addr", "--peer-addr"] {
        let mut settings = alone(Guest::Counter, &dir.path().join("data")).await;
        match flag {
            "--client-addr" => settings.client_addr = addr.parse().expect("an address"),
            _ => settings.peer_addr = addr.parse().expect("an address"),
        }
        let message = start_error(settings).await;
        assert!(
            message.contains(&addr) && message.contains(flag),
            "{message}"
        );
    }
    assert!(
        !dir.path().join("data").exists(),
        "a failed start creates no directory"
    );
}

#[tokio::test]
async fn an_invalid_guest_is_an_error_with_every_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("guest.wat");
    let wrong = br#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance (export "now" (func (result u64))))))"#;
    for (bytes, reasons) in [
        (
            &wrong[..],
            &["wasi:http/outgoing-handler@0.2.0", "machine"][..],
        ),
        (b"", &["empty"]),
        (b"#!/bin/sh", &["neither WebAssembly nor its text"]),
    ] {
        std::fs::write(&file, bytes).expect("writable");
        let mut settings = alone(Guest::Counter, &dir.path().join("data")).await;
        settings.guest = GuestSource::File(file.clone());
        let message = start_error(settings).await;
        for reason in reasons {
            assert!(message.contains(reason), "{message}");
        }
        assert!(message.contains("guest.wat"), "{message}");
    }
    let mut settings = alone(Guest::Counter, &dir.path().join("data")).await;
    settings.guest = GuestSource::File(dir.path().join("not-there.wasm"));
    let message = start_error(settings).await;
    assert!(message.contains("not-there.wasm"), "{message}");
    assert!(
        !dir.path().join("data").exists(),
        "a failed start creates no directory"
    );
}

#[tokio::test]
async fn a_file_in_place_of_the_data_directory_is_named_as_such() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("written");
    let message = start_error(alone(Guest::Counter, &file).await).await;
    assert!(
        message.contains("is not a directory") && message.contains("--data-dir"),
        "{message}"
    );
    assert_eq!(std::fs::read(&file).expect("a file"), b"x");
}

#[tokio::test]
async fn invalid_limits_are_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = alone(Guest::Counter, &dir.path().join("data")).await;
    settings.limits.memory_bytes = 0;
    assert!(matches!(
        Node::start(settings).await,
        Err(NodeStartError::Machine(_))
    ));
}

/// Three nodes on ports that the operating system has chosen.
async fn three(dir: &std::path::Path) -> Vec<Node> {
    let sockets: Vec<std::net::TcpListener> = (0..3)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let members = sockets.iter().enumerate().map(|(at, socket)| ClusterPeer {
        node_id: format!("node{}", at + 1),
        addr: socket
            .local_addr()
            .expect("bound")
            .to_string()
            .parse()
            .expect("an address"),
    });
    let cluster = ClusterSpec::new(members.collect()).expect("a cluster");
    let mut nodes = Vec::new();
    for (at, socket) in sockets.into_iter().enumerate() {
        let (id, guest) = (format!("node{}", at + 1), Guest::Counter.load().await);
        let settings =
            ServeSettings::of_cluster(cluster.clone(), &id, anywhere(), dir.join(&id), guest);
        let sockets = Sockets {
            peers: Some(socket),
            clients: None,
        };
        nodes.push(
            Node::start_on(settings.expect("a node of its cluster"), sockets)
                .await
                .expect("it starts"),
        );
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_return_the_same_results_and_list_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let nodes = three(dir.path()).await;
    for node in &nodes {
        node.app().readiness.caught_up().await;
    }
    for (at, node) in nodes.iter().enumerate() {
        let client = Client(node.client_addr().to_string());
        assert_eq!(
            client.apply(ADD).await.json(),
            json!({"value": 5 * (at + 1)})
        );
    }
    let mut hashes = Vec::new();
    for node in &nodes {
        let client = Client(node.client_addr().to_string());
        assert_eq!(
            client.query(GET).await.json(),
            json!({"value": 15}),
            "linearizable on each node"
        );
        let status = client.get("/v1/status").await.json();
        hashes.push((
            status["applied_index"].clone(),
            status["state_hash"].clone(),
        ));
        for (member, known) in status["members"]
            .as_array()
            .expect("a list")
            .iter()
            .zip(&nodes)
        {
            assert_eq!(
                member["client_addr"],
                known.client_addr().to_string(),
                "{status:#}"
            );
        }
    }
    assert!(
        hashes.windows(2).all(|pair| pair[0] == pair[1]),
        "{hashes:#?}"
    );
    for node in nodes {
        node.shutdown().await;
    }
}
