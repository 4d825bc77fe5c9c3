//! Peers that are added, moved and removed.

use super::support::*;
use crate::node::frame::decode_response;
use crate::node::hello::{Handshake, HelloRefusalReason};
use crate::node::{NetworkConfig, NetworkEvent, PeerCheck};

#[tokio::test]
async fn a_node_that_is_refused_is_connected_once_it_becomes_a_peer() {
    let (a, b) = (socket("a"), socket("b"));
    let (at_a, at_b) = (a.address.clone(), b.address.clone());
    let mut b = start(b, &[]);
    let (log, guard) = CapturedLog::begin();
    let mut a = start(a, &[&at_b]);
    // Both nodes log the reason.
    soon(async {
        while a.net.stats().failed_dials() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let lines = log.take_warnings();
    let has_reason = |line: &&String| line.contains("node a is not among the peers of node b");
    assert_eq!(
        lines
            .iter()
            .filter(has_reason)
            .filter(|line| line.contains("remote="))
            .count(),
        1,
        "{lines:?}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(has_reason)
            .filter(|line| line.contains("peer=b"))
            .count(),
        1,
        "{lines:?}"
    );
    drop(guard);
    b.net.set_peers(vec![at_a]);
    b.connected_to("a").await;
    a.connected_to("b").await;
    a.send("b", request(1));
    assert_eq!(b.message().await, ("a".into(), request(1).into()));
}

#[tokio::test]
async fn a_removed_peer_is_disconnected_and_refused_afterwards() {
    let (a, mut b) = pair().await;
    b.net.set_peers(vec![]);
    assert_eq!(b.next().await, NetworkEvent::Disconnected("a".into()));
    assert!(!b.net.is_connected(&a.id));
    assert_eq!(b.net.peer_client_addr(&a.id), None);
    let (raw, handshake) = RawPeer::send_hello(b.addr(), "a", "b").await;
    assert_eq!(refusal(handshake).reason, HelloRefusalReason::UnknownNode);
    raw.closed().await;
    b.send("a", request(1));
    b.send("a", response(1));
    assert_eq!(
        (
            b.net.stats().dropped_requests(),
            b.net.stats().dropped_responses()
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn unchanged_peers_keep_their_connections() {
    let (mut a, mut b) = pair().await;
    let c = socket("c");
    let (at_a, at_b, at_c) = (address(&a), address(&b), c.address.clone());
    let mut c = start(c, &[&at_a, &at_b]);
    a.net.set_peers(vec![at_b.clone(), at_c.clone()]);
    b.net.set_peers(vec![at_a, at_c]);
    a.connected_to("c").await;
    b.connected_to("c").await;
    for _ in 0..2 {
        assert!(matches!(c.next().await, NetworkEvent::Connected(_)));
    }
    assert_eq!(
        (
            a.net.stats().connections_out(),
            b.net.stats().connections_out()
        ),
        (2, 2)
    );
    assert_eq!(
        (
            a.net.stats().lost_connections(),
            b.net.stats().lost_connections()
        ),
        (0, 0)
    );
    a.send("c", request(1));
    assert_eq!(c.message().await, ("a".into(), request(1).into()));
}

#[tokio::test]
async fn a_peer_with_a_new_address_is_connected_there() {
    let (mut a, b) = pair().await;
    let moved = socket("b");
    let at_new = moved.address.clone();
    let mut moved = start(moved, &[&address(&a)]);
    a.net.set_peers(vec![at_new]);
    // The end of the old connection is reported before the start of the new one.
    assert_eq!(a.next().await, NetworkEvent::Disconnected("b".into()));
    assert_eq!(a.next().await, NetworkEvent::Connected("b".into()));
    a.send("b", request(3));
    assert_eq!(moved.message().await, ("a".into(), request(3).into()));
    b.net.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_is_removed_and_added_again_is_reconnected() {
    let (mut a, mut b) = pair().await;
    let at_b = address(&b);
    a.net.set_peers(vec![]);
    a.net.set_peers(vec![at_b]);
    assert_eq!(a.next().await, NetworkEvent::Disconnected("b".into()));
    assert_eq!(a.next().await, NetworkEvent::Connected("b".into()));
    a.send("b", request(4));
    assert_eq!(b.message().await, ("a".into(), request(4).into()));
}

/// The network keeps the name, not an address that it stood for once.
#[tokio::test]
async fn a_peer_whose_address_is_a_name_is_found_by_it_at_each_connection() {
    let (a, b) = (socket("a"), socket("b"));
    let (at_a, mut at_b) = (a.address.clone(), b.address.clone());
    at_b.host = "localhost".to_owned();
    let mut a = start(a, &[&at_b]);
    let mut b = start(b, &[&at_a]);
    for number in 5..8 {
        a.connected_to("b").await;
        a.send("b", request(number));
        assert_eq!(b.message().await, ("a".into(), request(number).into()));
        a.net.set_peers(vec![]);
        assert_eq!(a.next().await, NetworkEvent::Disconnected("b".into()));
        a.net.set_peers(vec![at_b.clone()]);
    }
}

#[tokio::test]
async fn an_unlisted_node_of_the_cluster_is_accepted_if_so_configured() {
    let mut b = start_with(NetworkConfig {
        peer_check: PeerCheck::Cluster,
        ..config(socket("b"), &[])
    });
    let mut raw = RawPeer::connect_as(b.addr(), "newcomer", "b").await;
    raw.request(&request(1)).await;
    assert_eq!(b.message().await, ("newcomer".into(), request(1).into()));
    b.send("newcomer", response(1));
    assert_eq!(decode_response(&raw.frame().await).unwrap(), response(1));
    let Handshake::Hello(mut hello) = hello_of("newcomer", "b") else {
        unreachable!("it is a hello")
    };
    hello.cluster_id = "other".into();
    let mut other = RawPeer::connect(b.addr()).await;
    other.write(&Handshake::Hello(hello).encode()).await;
    let refusal = refusal(Handshake::decode(&other.frame().await).unwrap());
    assert_eq!(refusal.reason, HelloRefusalReason::OtherCluster);
}

fn address(node: &NetworkNode) -> crate::address::PeerAddress {
    format!("{}@{}", node.id, node.addr()).parse().unwrap()
}

#[tokio::test]
async fn a_peer_that_has_moved_is_connected_at_the_address_in_its_hello() {
    let (a, b) = (socket("a"), socket("b"));
    let (at_a, moved) = (a.address.clone(), absent("b"));
    let mut a = start(a, &[&moved]);
    let mut config = config(b, &[&at_a]);
    config.peer_addr = config.listener.local_addr().unwrap().to_string();
    let mut b = start_with(config);
    b.connected_to("a").await;
    a.connected_to("b").await;
    a.send("b", request(1));
    assert_eq!(b.message().await, ("a".into(), request(1).into()));
}

#[tokio::test]
async fn a_configured_address_that_works_is_preferred_to_the_announced_one() {
    let (a, b) = (socket("a"), socket("b"));
    let (at_a, at_b) = (a.address.clone(), b.address.clone());
    let mut a = start(a, &[&at_b]);
    let mut config = config(b, &[&at_a]);
    // Nothing listens there: a node behind a port mapping does not know how others see it.
    config.peer_addr = absent("b").host_port();
    let mut b = start_with(config);
    b.connected_to("a").await;
    a.connected_to("b").await;
    a.send("b", request(1));
    assert_eq!(b.message().await, ("a".into(), request(1).into()));
}
