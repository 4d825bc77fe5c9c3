//! A probe tells which node answers at an address, and changes nothing there.

use super::support::*;
use crate::address::PeerAddress;
use crate::node::{PeerCheck, ProbeError};

/// This id at the address of a node.
fn at(id: &str, of: &NetworkNode) -> PeerAddress {
    let text = format!("{id}@{}", of.net.local_addr());
    text.parse().expect("an address")
}

#[tokio::test]
async fn a_probe_tells_the_node_at_an_address_from_another_one_and_from_none() {
    let (a, b) = pair().await;
    assert_eq!(a.net.probe(&at("b", &b)).await, Ok(()));
    let other = a.net.probe(&at("c", &b)).await;
    assert_eq!(other, Err(ProbeError::OtherNode("it is node b".to_owned())));
    let none = a.net.probe(&absent("c")).await;
    assert!(matches!(none, Err(ProbeError::NoAnswer(_))), "{none:?}");
    let itself = a.net.probe(&at("a", &a)).await;
    assert_eq!(itself, Ok(()));
}

#[tokio::test]
async fn a_probe_neither_replaces_a_connection_nor_counts_as_a_refused_one() {
    let (mut a, mut b) = pair().await;
    assert_eq!(a.net.probe(&at("b", &b)).await, Ok(()));
    assert_eq!(b.net.stats().refused_connections(), 0);
    a.send("b", request(1));
    assert_eq!(b.message().await, ("a".into(), request(1).into()));
    b.send("a", response(1));
    assert_eq!(a.message().await, ("b".into(), response(1).into()));
    assert_eq!(b.net.stats().connections_in(), 1);
}

#[tokio::test]
async fn a_node_without_a_cluster_answers_a_probe_and_joins_nothing() {
    let (a, waiting) = (socket("a"), socket("d"));
    let a = start(a, &[]);
    let mut config = config(waiting, &[]);
    config.cluster_id = String::new();
    config.peer_check = PeerCheck::Join;
    let waiting = start_with(config);
    assert_eq!(a.net.probe(&at("d", &waiting)).await, Ok(()));
    assert_eq!(waiting.net.cluster_id(), "");
}
