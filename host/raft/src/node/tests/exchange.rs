//! Messages between correct nodes.

use std::net::TcpListener;

use super::support::*;
use crate::identity::NodeIdentity;
use crate::message::{Message, RaftRequest};
use crate::node::frame::{KEEP_ALIVE, decode_response};
use crate::node::hello::{Handshake, HelloExtension};
use crate::node::{Network, NetworkEvent, NetworkLimits, NetworkStartError};

#[tokio::test]
async fn requests_and_responses_are_exchanged_in_both_directions() {
    let (mut a, mut b) = pair().await;
    a.send("b", request(1));
    b.send("a", request(2));
    assert_eq!(b.message().await, ("a".into(), request(1).into()));
    assert_eq!(a.message().await, ("b".into(), request(2).into()));
    b.send("a", response(1));
    a.send("b", response(2));
    assert_eq!(a.message().await, ("b".into(), response(1).into()));
    assert_eq!(b.message().await, ("a".into(), response(2).into()));
    let stats = a.net.stats();
    assert_eq!((stats.frames_in(), stats.frames_out()), (2, 2));
    assert_eq!((stats.connections_in(), stats.connections_out()), (1, 1));
    assert_eq!(
        (stats.dropped_requests(), stats.dropped_responses()),
        (0, 0)
    );
    assert_eq!(stats.bytes_out(), b.net.stats().bytes_in());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_all_reach_each_other() {
    let sockets = ["a", "b", "c"].map(socket);
    let addresses: Vec<_> = sockets
        .iter()
        .map(|socket| socket.address.clone())
        .collect();
    let peers: Vec<_> = addresses.iter().collect();
    // Each node has all three as peers, including itself.
    let mut nodes = sockets.map(|socket| start(socket, &peers));
    for node in &mut nodes {
        for _ in 0..2 {
            assert!(matches!(node.next().await, NetworkEvent::Connected(_)));
        }
    }
    for (number, node) in nodes.iter().enumerate() {
        for address in addresses.iter().filter(|address| address.id != node.id) {
            node.send(address.id.as_str(), request(number as u64));
        }
    }
    for (number, node) in nodes.iter_mut().enumerate() {
        let mut senders = [node.message().await, node.message().await];
        senders.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [0, 1, 2].into_iter().filter(|n| *n != number);
        let expected: Vec<_> = expected
            .map(|n| {
                (
                    addresses[n].id.to_string(),
                    Message::from(request(n as u64)),
                )
            })
            .collect();
        assert_eq!(senders[..], expected);
    }
}

#[tokio::test]
async fn a_hello_contains_the_client_address() {
    let (a, b) = pair().await;
    assert_eq!(
        a.net.peer_client_addr(&b.id).as_deref(),
        Some("b.example:8101")
    );
    assert_eq!(
        b.net.peer_client_addr(&a.id).as_deref(),
        Some("a.example:8101")
    );
    assert_eq!(a.net.peer_client_addr(&"unknown".into()), None);
    assert!(a.net.is_connected(&b.id));
    assert!(!a.net.is_connected(&"unknown".into()));
}

#[tokio::test]
async fn messages_arrive_intact_and_in_order() {
    let (a, mut b) = pair().await;
    for id in 0..1000 {
        a.send("b", request(id));
    }
    a.send("b", chunk(9_000_000));
    for id in 0..1000 {
        assert_eq!(b.message().await.1, request(id).into());
    }
    assert_eq!(b.message().await.1, chunk(9_000_000).into());
    a.send("b", forward(b"after the large one"));
    assert_eq!(b.message().await.1, forward(b"after the large one").into());
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_messages_and_never_blocks() {
    let (a, b) = (socket("a"), socket("b"));
    let limits = NetworkLimits {
        queue_messages: 4,
        ..limits()
    };
    let (at_a, at_b) = (a.address.clone(), b.address.clone());
    let mut a = start_with(crate::node::NetworkConfig {
        limits,
        ..config(a, &[&at_b])
    });
    let mut b = start(b, &[&at_a]);
    a.connected_to("b").await;
    // This runtime has one thread, and it is busy here: no task runs in between.
    for id in 0..10 {
        a.send("b", request(id));
    }
    assert_eq!(a.net.stats().dropped_requests(), 6);
    for id in 0..4 {
        assert_eq!(b.message().await.1, request(id).into());
    }
    a.send("b", request(99));
    assert_eq!(b.message().await.1, request(99).into());
}

#[tokio::test]
async fn messages_without_a_destination_are_dropped_and_counted() {
    let a = start(socket("a"), &[&absent("b")]);
    a.send("unknown", request(1));
    a.send("b", response(1));
    a.send("unknown", response(2));
    assert_eq!(a.net.stats().dropped_requests(), 1);
    assert_eq!(a.net.stats().dropped_responses(), 2);
}

#[tokio::test]
async fn only_the_message_over_the_frame_limit_is_dropped() {
    let (a, b) = (socket("a"), socket("b"));
    let limits = NetworkLimits {
        max_frame_bytes: 4096,
        ..limits()
    };
    let (at_a, at_b) = (a.address.clone(), b.address.clone());
    let mut a = start_with(crate::node::NetworkConfig {
        limits,
        ..config(a, &[&at_b])
    });
    let mut b = start(b, &[&at_a]);
    a.connected_to("b").await;
    a.send("b", request(1));
    a.send("b", chunk(5000));
    a.send("b", request(2));
    assert_eq!(b.message().await.1, request(1).into());
    assert_eq!(b.message().await.1, request(2).into());
    assert_eq!(a.net.stats().dropped_requests(), 1);
    assert_eq!(a.net.stats().lost_connections(), 0);
}

#[tokio::test]
async fn a_peer_that_restarts_on_its_port_is_reconnected() {
    let (mut a, b) = pair().await;
    let (id, addr) = (b.id.clone(), b.addr());
    b.net.shutdown().await;
    assert_eq!(a.next().await, NetworkEvent::Disconnected(id.clone()));
    assert!(!a.net.is_connected(&id));
    let listener = TcpListener::bind(addr).unwrap();
    let at_a = format!("a@{}", a.addr()).parse().unwrap();
    let mut b = start(
        BoundSocket {
            address: format!("b@{addr}").parse().unwrap(),
            listener,
        },
        &[&at_a],
    );
    a.connected_to("b").await;
    b.connected_to("a").await;
    a.send("b", request(7));
    assert_eq!(b.message().await, ("a".into(), request(7).into()));
    b.send("a", response(7));
    assert_eq!(a.message().await, ("b".into(), response(7).into()));
}

#[tokio::test]
async fn a_shutdown_writes_queued_messages_and_frees_the_port() {
    let (a, mut b) = pair().await;
    for id in 0..50 {
        a.send("b", request(id));
    }
    a.net.shutdown().await;
    TcpListener::bind(a.addr()).expect("the port is free");
    for id in 0..50 {
        assert_eq!(b.message().await.1, request(id).into());
    }
    assert_eq!(b.next().await, NetworkEvent::Disconnected("a".into()));
    a.send("b", request(99));
    assert_eq!(a.net.stats().dropped_requests(), 1);
    a.net.shutdown().await;
}

#[tokio::test]
async fn a_network_ends_with_its_last_handle() {
    let (mut a, b) = pair().await;
    let (addr, mut events) = (b.addr(), b.events);
    let clone = b.net.clone();
    drop(b.net);
    a.send("b", request(1));
    assert!(matches!(
        soon(events.recv()).await,
        Some(NetworkEvent::Message { .. })
    ));
    drop(clone);
    assert_eq!(a.next().await, NetworkEvent::Disconnected("b".into()));
    // The event channel is dropped with its tasks.
    assert_eq!(soon(events.recv()).await, None);
    TcpListener::bind(addr).expect("the port is free");
}

#[tokio::test]
async fn a_slow_node_delays_only_messages_to_itself() {
    let (a, b, c) = (socket("a"), socket("b"), socket("c"));
    let all = [a.address.clone(), b.address.clone(), c.address.clone()];
    let all: Vec<_> = all.iter().collect();
    let (mut a, mut b, mut c) = (start(a, &all), start(b, &all), start(c, &all));
    for node in [&mut a, &mut b, &mut c] {
        node.next().await;
        node.next().await;
    }
    // More messages than the event channel of b holds, and b does not receive any.
    for id in 0..500 {
        a.send("b", request(id));
    }
    a.send("c", request(1));
    assert_eq!(c.message().await.1, request(1).into());
    for id in 0..500 {
        assert_eq!(b.message().await.1, request(id).into());
    }
}

#[tokio::test]
async fn a_node_that_accepts_no_more_events_closes_its_connections() {
    let (mut a, b) = pair().await;
    drop(b.events);
    a.send("b", request(1));
    assert_eq!(a.next().await, NetworkEvent::Disconnected("b".into()));
}

#[tokio::test]
async fn a_keep_alive_is_answered_with_a_keep_alive() {
    let b = start(socket("b"), &[&absent("a")]);
    let mut raw = RawPeer::connect_as(b.addr(), "a", "b").await;
    raw.write(&KEEP_ALIVE).await;
    assert_eq!(raw.frame().await, b"");
    assert_eq!(b.net.stats().frames_in(), 0);
}

#[tokio::test]
async fn a_silent_peer_gets_a_keep_alive_and_is_then_disconnected() {
    let (a, b) = (socket("a"), socket("b"));
    let ms = std::time::Duration::from_millis;
    let limits = NetworkLimits {
        keep_alive: ms(20),
        dead_after: ms(200),
        ..limits()
    };
    let mut a = start_with(crate::node::NetworkConfig {
        limits,
        ..config(a, &[&b.address])
    });
    b.listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(b.listener).unwrap();
    let mut raw = RawPeer(soon(listener.accept()).await.unwrap().0);
    assert_eq!(Handshake::decode(&raw.frame().await), {
        let Handshake::Hello(mut hello) = hello_of("a", "b") else {
            unreachable!("it is a hello")
        };
        hello.client_addr = "a.example:8101".into();
        hello.extension = Some(HelloExtension {
            identity: NodeIdentity::default(),
            peer_addr: a.addr().to_string(),
        });
        Ok(Handshake::Hello(hello))
    });
    raw.write(&hello_of("b", "a").encode()).await;
    a.connected_to("b").await;
    // Responds once, then no more.
    assert_eq!(raw.frame().await, b"");
    raw.write(&KEEP_ALIVE).await;
    assert_eq!(raw.frame().await, b"");
    assert_eq!(a.next().await, NetworkEvent::Disconnected("b".into()));
    raw.closed().await;
    assert_eq!(a.net.stats().lost_connections(), 1);
    // The node dials again.
    soon(listener.accept()).await.unwrap();
}

#[tokio::test]
async fn a_new_connection_of_a_peer_replaces_the_previous_one() {
    let mut b = start(socket("b"), &[&absent("a")]);
    let mut first = RawPeer::connect_as(b.addr(), "a", "b").await;
    first.request(&request(1)).await;
    assert_eq!(b.message().await.1, request(1).into());
    let mut second = RawPeer::connect_as(b.addr(), "a", "b").await;
    first.closed().await;
    second.request(&request(2)).await;
    assert_eq!(b.message().await.1, request(2).into());
    b.send("a", response(2));
    assert_eq!(decode_response(&second.frame().await).unwrap(), response(2));
}

#[tokio::test]
async fn an_invalid_setting_is_refused_by_name() {
    let (sender, _events) = tokio::sync::mpsc::channel(1);
    let start = |change: &dyn Fn(&mut crate::node::NetworkConfig)| {
        let mut config = config(socket("a"), &[]);
        change(&mut config);
        Network::start(config, EventSender::from(sender.clone()))
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(start(&|config| config.node_id = "a b".into()).contains("node id"));
    assert!(start(&|config| config.cluster_id.clear()).contains("cluster id"));
    assert!(start(&|config| config.client_addr = "x".repeat(513)).contains("client address"));
    assert!(start(&|config| config.limits.max_frame_bytes = 1 << 40).contains("max_frame_bytes"));
    assert!(
        start(&|config| config.limits.keep_alive = config.limits.dead_after).contains("keep_alive")
    );
    assert!(start(&|config| config.limits.max_connections = 0).contains("max_connections"));
}

#[test]
fn without_a_runtime_start_returns_an_error() {
    let (sender, _events) = tokio::sync::mpsc::channel(1);
    let error = Network::start(config(socket("a"), &[]), EventSender::from(sender))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, NetworkStartError::NoRuntime(_)), "{error}");
}

#[test]
fn a_queued_request_counts_with_its_size() {
    use crate::node::connection::WireMessage;
    assert!(chunk(1000).cost() >= 1000);
    assert!(forward(b"0123456789").cost() > RaftRequest::cost(&request(1)));
}
