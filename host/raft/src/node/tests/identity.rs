//! Versions of the protocol, and what a hello shows of its sender's store.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::support::*;
use crate::identity::{History, NodeIdentity, PeerHello, RunHistory};
use crate::ids::{Lineage, NodeId, StoreId};
use crate::message::*;
use crate::node::NetworkEvent;
use crate::node::hello::{Handshake, Hello, HelloExtension, HelloRefusal, HelloRefusalReason};
use crate::node::security::{PeerIdentity, PeerSecurity, SecuredPeer, Securing};

fn identity(store_id: u64) -> NodeIdentity {
    NodeIdentity {
        store_id: StoreId(store_id),
        runs: RunHistory {
            number: 1,
            recent: vec![store_id + 100],
        },
        known_level: 1,
        ..NodeIdentity::default()
    }
}

fn start_as(socket: BoundSocket, peer: &crate::address::PeerAddress, own: u64) -> NetworkNode {
    start_with(crate::node::NetworkConfig {
        identity: identity(own),
        ..config(socket, &[peer])
    })
}

/// Two peers with the stores 1 and 2.
fn identified() -> (NetworkNode, NetworkNode) {
    let (a, b) = (socket("a"), socket("b"));
    let (at_a, at_b) = (a.address.clone(), b.address.clone());
    (start_as(a, &at_b, 1), start_as(b, &at_a, 2))
}

fn replaced() -> RaftRequest {
    RaftRequest::StoreReplaced(StoreReplaced {
        store_id: StoreId(1),
        run: 1,
    })
}

/// Waits for a message, with its sender.
async fn received(node: &mut NetworkNode) -> (NodeId, StoreId, u64, Message) {
    loop {
        if let NetworkEvent::Message { from, message, .. } = node.next().await {
            return (from.id, from.store_id, from.run, message);
        }
    }
}

/// Waits for the hello of this store.
async fn hello_of_store(node: &mut NetworkNode, store_id: u64) -> PeerHello {
    loop {
        let hello = node.hello().await;
        if hello.store_id == StoreId(store_id) {
            return hello;
        }
    }
}

#[tokio::test]
async fn messages_show_the_store_and_the_run_of_their_sender() {
    let (a, mut b) = identified();
    let hello = b.hello().await;
    assert_eq!((hello.protocol, hello.store_id), (2, StoreId(1)));
    assert_eq!(hello.known_level, 1);
    assert_eq!(hello.peer_addr, a.addr().to_string());
    a.send("b", replaced());
    let expected = ("a".into(), StoreId(1), 101, replaced().into());
    assert_eq!(received(&mut b).await, expected);
    assert_eq!(b.net.peer_addr(&"a".into()), Some(a.addr().to_string()));
}

#[tokio::test]
async fn a_new_store_opens_all_connections_again() {
    let (a, mut b) = identified();
    hello_of_store(&mut b, 1).await;
    a.net.set_identity(identity(7), true);
    a.send("b", replaced());
    hello_of_store(&mut b, 7).await;
    let expected = ("a".into(), StoreId(7), 107, replaced().into());
    assert_eq!(received(&mut b).await, expected);
}

/// Acts as a node of the release before: it refuses version 2, and uses version 1.
#[tokio::test]
async fn a_peer_of_the_release_before_is_reached_with_version_1() {
    let (a, b) = (socket("a"), socket("b"));
    let mut a = start_as(a, &b.address, 1);
    b.listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(b.listener).unwrap();
    let mut first = RawPeer(soon(listener.accept()).await.unwrap().0);
    let Ok(Handshake::Hello(hello)) = Handshake::decode(&first.frame().await) else {
        panic!("not a hello")
    };
    assert_eq!(hello.protocol(), 2);
    let refusal = HelloRefusal::new(HelloRefusalReason::Version, "an older release");
    first.write(&Handshake::Refusal(refusal).encode()).await;
    let mut second = RawPeer(soon(listener.accept()).await.unwrap().0);
    let Ok(Handshake::Hello(hello)) = Handshake::decode(&second.frame().await) else {
        panic!("not a hello")
    };
    assert_eq!(hello.protocol(), 1);
    second.write(&hello_of("b", "a").encode()).await;
    let hello = a.hello().await;
    assert_eq!((hello.protocol, hello.known_level), (1, 0));
    // A message that version 1 does not have is dropped, the next one arrives.
    a.send("b", replaced());
    a.send("b", request(5));
    let frame = second.frame().await;
    let sent = crate::node::frame::decode_request(&frame).unwrap();
    assert_eq!(sent, request(5));
    assert_eq!(a.net.stats().dropped_requests(), 1);
}

#[tokio::test]
async fn a_hello_of_version_1_gets_one_of_version_1_in_response() {
    let (a, b) = (socket("a"), socket("b"));
    let a = start_as(a, &b.address, 1);
    let mut raw = RawPeer::connect(a.addr()).await;
    raw.write(&hello_of("b", "a").encode()).await;
    let Ok(Handshake::Hello(hello)) = Handshake::decode(&raw.frame().await) else {
        panic!("refused")
    };
    assert_eq!(hello.extension, None);
}

#[tokio::test]
async fn above_level_0_version_1_is_refused_and_the_text_names_the_level() {
    let (a, b) = (socket("a"), socket("b"));
    let a = start_with(crate::node::NetworkConfig {
        identity: NodeIdentity {
            cluster_level: 1,
            ..identity(1)
        },
        ..config(a, &[&b.address])
    });
    let mut raw = RawPeer::connect(a.addr()).await;
    raw.write(&hello_of("b", "a").encode()).await;
    let refused = refusal(Handshake::decode(&raw.frame().await).unwrap());
    assert_eq!(refused.reason, HelloRefusalReason::Version);
    assert!(refused.detail.contains("level 1"), "{refused}");
}

#[tokio::test]
async fn nodes_of_two_lineages_refuse_each_other_and_name_both() {
    let (a, b) = (socket("a"), socket("b"));
    let of = |lineage| History {
        lineage: Lineage(lineage),
        has_log: true,
    };
    let a = start_with(crate::node::NetworkConfig {
        identity: NodeIdentity {
            history: of(0x11),
            ..identity(1)
        },
        ..config(a, &[&b.address])
    });
    let mut raw = RawPeer::connect(a.addr()).await;
    let hello = Hello {
        cluster_id: CLUSTER.into(),
        node_id: "b".into(),
        peer_id: "a".into(),
        client_addr: String::new(),
        extension: Some(HelloExtension {
            identity: NodeIdentity {
                history: of(0x13),
                ..identity(2)
            },
            peer_addr: String::new(),
        }),
    };
    raw.write(&Handshake::Hello(hello).encode()).await;
    let refused = refusal(Handshake::decode(&raw.frame().await).unwrap());
    assert_eq!(refused.reason, HelloRefusalReason::OtherLineage);
    for lineage in [Lineage(0x11), Lineage(0x13)] {
        let name = lineage.to_string();
        assert!(refused.detail.contains(&name), "{refused}");
    }
    assert!(refused.detail.contains("Keep both"), "{refused}");
}

/// Every connection has proved to be of this node.
#[derive(Debug)]
struct ProvenNode(&'static str);

impl ProvenNode {
    fn secured(&self, stream: TcpStream) -> Securing {
        let identity = PeerIdentity {
            cluster_id: CLUSTER.to_owned(),
            node_id: self.0.into(),
        };
        Box::pin(async move {
            Ok(SecuredPeer {
                stream: Box::new(stream),
                identity,
                distrusted: Box::pin(std::future::pending()),
            })
        })
    }
}

impl PeerSecurity for ProvenNode {
    fn connect(&self, stream: TcpStream, _peer: &NodeId) -> Securing {
        self.secured(stream)
    }

    fn accept(&self, stream: TcpStream) -> Securing {
        self.secured(stream)
    }
}

#[tokio::test]
async fn a_hello_with_another_name_than_the_proven_one_is_refused() {
    let (a, b, c) = (socket("a"), absent("b"), absent("c"));
    let a = start_with(crate::node::NetworkConfig {
        security: Some(Arc::new(ProvenNode("c"))),
        ..config(a, &[&b, &c])
    });
    let (raw, handshake) = RawPeer::send_hello(a.addr(), "b", "a").await;
    let refused = refusal(handshake);
    assert_eq!(refused.reason, HelloRefusalReason::WrongNode);
    assert!(refused.to_string().contains("certificate"), "{refused}");
    raw.closed().await;
    RawPeer::connect_as(a.addr(), "c", "a").await;
}

/// The node that was dialled has proved to be another one than its hello says.
#[tokio::test]
async fn a_response_with_another_name_than_the_proven_one_is_not_used() {
    let (a, b) = (socket("a"), socket("b"));
    let mut a = start_with(crate::node::NetworkConfig {
        security: Some(Arc::new(ProvenNode("c"))),
        ..config(a, &[&b.address])
    });
    b.listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(b.listener).unwrap();
    for _ in 0..2 {
        let mut raw = RawPeer(soon(listener.accept()).await.unwrap().0);
        raw.frame().await;
        raw.write(&hello_of("b", "a").encode()).await;
        raw.closed().await;
    }
    assert!(a.events.try_recv().is_err(), "it has used the connection");
}
