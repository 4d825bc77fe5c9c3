//! Unknown nodes, broken peers and garbage: each costs one connection and one log line, nothing else.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::*;
use crate::ids::NodeId;
use crate::node::frame::LENGTH_BYTES;
use crate::node::hello::{Handshake, HelloRefusal, HelloRefusalReason};
use crate::node::security::{PeerIdentity, PeerSecurity, SecuredPeer, Securing};
use crate::node::{NetworkConfig, NetworkLimits, PeerCheck};

/// A connected pair whose connections must stay open, and the log since its start.
struct HealthyPair {
    a: NetworkNode,
    b: NetworkNode,
    log: CapturedLog,
    _guard: tracing::subscriber::DefaultGuard,
    exchanged: u64,
}

impl HealthyPair {
    async fn begin() -> Self {
        let (a, b) = pair_with_absent_c().await;
        let (log, guard) = CapturedLog::begin();
        Self {
            a,
            b,
            log,
            _guard: guard,
            exchanged: 0,
        }
    }

    /// Checks that the pair still exchanges messages, and that `what` was logged in one line with `text`.
    async fn unharmed(&mut self, what: &str, text: &str) {
        self.exchanged += 1;
        let id = self.exchanged;
        self.a.send("b", request(id));
        assert_eq!(
            self.b.message().await,
            ("a".into(), request(id).into()),
            "{what}"
        );
        self.b.send("a", response(id));
        assert_eq!(
            self.a.message().await,
            ("b".into(), response(id).into()),
            "{what}"
        );
        assert_eq!(self.b.net.stats().connections_out(), 1, "{what}");
        assert_eq!(self.a.net.stats().connections_out(), 1, "{what}");
        let lines: Vec<_> = self
            .log
            .take()
            .into_iter()
            .filter(|line| !line.contains("peer=c "))
            .collect();
        let [line] = &lines[..] else {
            panic!("{what}: {} lines: {lines:#?}", lines.len())
        };
        assert!(line.contains(text), "{what}: {line}");
    }

    async fn refused(&mut self, handshake: &[u8]) -> HelloRefusal {
        let mut raw = RawPeer::connect(self.b.addr()).await;
        raw.write(handshake).await;
        let refusal = refusal(Handshake::decode(&raw.frame().await).unwrap());
        raw.closed().await;
        refusal
    }
}

/// A pair where `b` has a second peer `c`. The tests act as `c`. It has no listener, so `b` dials it all the time.
async fn pair_with_absent_c() -> (NetworkNode, NetworkNode) {
    let (a, b) = (socket("a"), socket("b"));
    let (at_a, at_b) = (a.address.clone(), b.address.clone());
    let (mut a, mut b) = (start(a, &[&at_b]), start(b, &[&at_a, &absent("c")]));
    a.connected_to("b").await;
    b.connected_to("a").await;
    (a, b)
}

#[tokio::test]
async fn a_refused_connection_receives_the_reason() {
    let mut pair = HealthyPair::begin().await;
    let Handshake::Hello(good) = hello_of("c", "b") else {
        unreachable!("it is a hello")
    };

    let mut hello = good.clone();
    hello.cluster_id = "production".into();
    let refusal = pair.refused(&Handshake::Hello(hello).encode()).await;
    assert_eq!(refusal.reason, HelloRefusalReason::OtherCluster);
    pair.unharmed("another cluster", "production").await;

    let mut hello = good.clone();
    hello.node_id = "unlisted".into();
    let refusal = pair.refused(&Handshake::Hello(hello).encode()).await;
    assert_eq!(refusal.reason, HelloRefusalReason::UnknownNode);
    assert!(
        refusal
            .detail
            .contains("node unlisted is not among the peers of node b"),
        "{refusal}"
    );
    pair.unharmed("an unknown node", "unlisted").await;

    let mut hello = good.clone();
    hello.node_id = "b".into();
    hello.peer_id = "a".into();
    let refusal = pair.refused(&Handshake::Hello(hello).encode()).await;
    assert_eq!(refusal.reason, HelloRefusalReason::Oneself);
    pair.unharmed("itself", "both nodes have the id b").await;

    let mut hello = good.clone();
    hello.peer_id = "a".into();
    let refusal = pair.refused(&Handshake::Hello(hello).encode()).await;
    assert_eq!(refusal.reason, HelloRefusalReason::WrongNode);
    pair.unharmed("meant for another", "expected node a and reached node b")
        .await;

    let mut later = Handshake::Hello(good).encode();
    later[LENGTH_BYTES + 5] = 9;
    let refusal = pair.refused(&later).await;
    assert_eq!(refusal.reason, HelloRefusalReason::Version);
    pair.unharmed("another version", "version 9").await;

    assert_eq!(pair.b.net.stats().refused_connections(), 5);
}

#[tokio::test]
async fn garbage_instead_of_a_hello_closes_only_that_connection() {
    let mut pair = HealthyPair::begin().await;
    let corrupt = {
        let mut hello = hello_of("c", "b").encode();
        hello[LENGTH_BYTES + 8] ^= 1;
        hello
    };
    let cases: [(&str, &[u8], &str); 5] = [
        (
            "http",
            b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
            "not an Oarlock node",
        ),
        ("a huge length", &[0xff; 64], "not an Oarlock node"),
        (
            "a frame of zeros",
            &[
                0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            "OARL",
        ),
        ("a keep-alive", &[0, 0, 0, 0], "not an Oarlock node"),
        ("a corrupt hello", &corrupt, "checksum"),
    ];
    for (what, bytes, text) in cases {
        let mut raw = RawPeer::connect(pair.b.addr()).await;
        raw.write(bytes).await;
        raw.closed().await;
        pair.unharmed(what, text).await;
    }
    assert_eq!(pair.b.net.stats().refused_connections(), 5);
}

#[tokio::test]
async fn a_connection_that_ends_before_its_hello_is_logged_once() {
    let mut pair = HealthyPair::begin().await;
    let mut raw = RawPeer::connect(pair.b.addr()).await;
    raw.write(&hello_of("c", "b").encode()[..9]).await;
    raw.0.shutdown().await.unwrap();
    raw.closed().await;
    pair.unharmed("a cut hello", "before the hello was complete")
        .await;
}

#[tokio::test]
async fn a_connection_without_a_hello_is_closed_after_the_timeout() {
    let hello_timeout = std::time::Duration::from_millis(20);
    let limits = NetworkLimits {
        hello_timeout,
        ..limits()
    };
    let b = start_with(NetworkConfig {
        limits,
        ..config(socket("b"), &[])
    });
    let (log, _guard) = CapturedLog::begin();
    RawPeer::connect(b.addr()).await.closed().await;
    let lines = log.take();
    assert!(
        matches!(&lines[..], [line] if line.contains("no hello within 20 ms")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn garbage_after_a_hello_closes_only_that_connection() {
    let (mut a, mut b) = pair_with_absent_c().await;
    let (log, _guard) = CapturedLog::begin();
    let over_long = u32::MAX.to_be_bytes();
    let too_short = [0, 0, 0, 3, 1, 2, 3];
    let random = [0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let cases: [(&[u8], &str); 3] = [
        (&over_long, "lost"),
        (&too_short, "lost"),
        (&random, "lost"),
    ];
    for (number, (bytes, text)) in cases.into_iter().enumerate() {
        let mut raw = RawPeer::connect_as(b.addr(), "c", "b").await;
        raw.request(&request(77)).await;
        assert_eq!(b.message().await, ("c".into(), request(77).into()));
        log.take();
        raw.write(bytes).await;
        raw.closed().await;
        a.send("b", request(number as u64));
        assert_eq!(
            b.message().await,
            ("a".into(), request(number as u64).into())
        );
        let lines = log.take_warnings();
        let lines: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("remote="))
            .collect();
        assert!(
            matches!(&lines[..], [line] if line.contains(text) && line.contains("not valid")),
            "{lines:?}"
        );
    }
    assert_eq!(b.net.stats().lost_connections(), 3);
    assert_eq!(a.net.stats().connections_out(), 1);
    b.send("a", response(5));
    assert_eq!(a.message().await, ("b".into(), response(5).into()));
}

#[tokio::test]
async fn a_half_closed_connection_is_dropped() {
    let (a, mut b) = pair_with_absent_c().await;
    for frame_bytes in [0, 3, 7] {
        let mut raw = RawPeer::connect_as(b.addr(), "c", "b").await;
        raw.write(&[0, 0, 0, 9, 1, 2, 3][..frame_bytes]).await;
        raw.0.shutdown().await.unwrap();
        raw.closed().await;
    }
    a.send("b", request(1));
    assert_eq!(b.message().await, ("a".into(), request(1).into()));
    assert_eq!(b.net.stats().lost_connections(), 3);
}

#[tokio::test]
async fn connections_over_the_limit_are_refused_until_one_closes() {
    let limits = NetworkLimits {
        max_connections: 2,
        ..limits()
    };
    let b = start_with(NetworkConfig {
        limits,
        ..config(socket("b"), &[&absent("c"), &absent("d")])
    });
    let first = RawPeer::connect_as(b.addr(), "c", "b").await;
    let _second = RawPeer::connect_as(b.addr(), "d", "b").await;
    let mut third = RawPeer::connect(b.addr()).await;
    let refusal = refusal(Handshake::decode(&third.frame().await).unwrap());
    assert_eq!(refusal.reason, HelloRefusalReason::TooManyConnections);
    third.closed().await;
    drop(first);
    // The node detects the end of the first connection at some later time; until then it refuses.
    soon(async {
        loop {
            let mut raw = RawPeer::connect(b.addr()).await;
            let sent = raw.0.write_all(&hello_of("c", "b").encode()).await.is_ok();
            let mut frame = [0; LENGTH_BYTES + 7];
            let read = raw.0.read_exact(&mut frame).await.is_ok();
            if sent && read && frame[LENGTH_BYTES + 6] == 0 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn connections_without_a_hello_never_keep_a_member_out() {
    let limits = NetworkLimits {
        max_connections: 4,
        // None of them ends by itself within the test.
        hello_timeout: std::time::Duration::from_secs(3600),
        ..limits()
    };
    let mut b = start_with(NetworkConfig {
        limits,
        ..config(socket("b"), &[&absent("c"), &absent("d")])
    });
    let mut first = RawPeer::connect_as(b.addr(), "c", "b").await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(RawPeer::connect(b.addr()).await);
    }
    let _member = RawPeer::connect_as(b.addr(), "d", "b").await;
    silent.swap_remove(0).closed().await;
    // The identified peer was not touched.
    first.request(&request(1)).await;
    assert_eq!(b.message().await, ("c".into(), request(1).into()));
}

/// A node with 4 places, whose members `c` and `d` are not connected yet.
fn with_few_places(security: Option<Arc<dyn PeerSecurity>>) -> NetworkNode {
    let limits = NetworkLimits {
        max_connections: 4,
        // No connection ends by itself within the test.
        hello_timeout: std::time::Duration::from_secs(3600),
        ..limits()
    };
    start_with(NetworkConfig {
        limits,
        peer_check: PeerCheck::Cluster,
        security,
        ..config(socket("b"), &[&absent("c"), &absent("d")])
    })
}

#[tokio::test]
async fn connections_with_invented_ids_never_keep_a_member_out() {
    let mut b = with_few_places(None);
    let mut first = RawPeer::connect_as(b.addr(), "c", "b").await;
    let mut invented = Vec::new();
    for number in 0..20 {
        let id = format!("invented{number}");
        invented.push(RawPeer::connect_as(b.addr(), &id, "b").await);
    }
    let mut member = RawPeer::connect_as(b.addr(), "d", "b").await;
    invented.swap_remove(0).closed().await;
    // The members were not touched.
    for (id, peer) in [("c", &mut first), ("d", &mut member)] {
        peer.request(&request(1)).await;
        assert_eq!(b.message().await, (id.into(), request(1).into()));
    }
}

/// Proves who a peer is by its first line, as a certificate would.
#[derive(Debug)]
struct ProofByLine;

impl PeerSecurity for ProofByLine {
    fn connect(&self, _: TcpStream, _: &NodeId) -> Securing {
        Box::pin(async { Err(std::io::ErrorKind::Unsupported.into()) })
    }

    fn accept(&self, mut stream: TcpStream) -> Securing {
        Box::pin(async move {
            let mut id = Vec::new();
            loop {
                match stream.read_u8().await? {
                    b'\n' => break,
                    byte => id.push(byte),
                }
            }
            Ok(SecuredPeer {
                stream: Box::new(stream),
                identity: PeerIdentity {
                    cluster_id: CLUSTER.to_owned(),
                    node_id: String::from_utf8_lossy(&id).as_ref().into(),
                },
                distrusted: Box::pin(std::future::pending()),
            })
        })
    }
}

#[tokio::test]
async fn on_secured_connections_nodes_that_are_no_members_never_keep_a_member_out() {
    let mut b = with_few_places(Some(Arc::new(ProofByLine)));
    let connect = async |id: &str| {
        let mut raw = RawPeer::connect(b.addr()).await;
        raw.write(format!("{id}\n").as_bytes()).await;
        raw.write(&hello_of(id, "b").encode()).await;
        raw.frame().await;
        raw
    };
    let mut first = connect("c").await;
    let mut others = Vec::new();
    for number in 0..20 {
        // Some prove nothing, the others have certificates of nodes that are no members.
        others.push(RawPeer::connect(b.addr()).await);
        others.push(connect(&format!("removed{number}")).await);
    }
    let mut member = connect("d").await;
    others.swap_remove(0).closed().await;
    for (id, peer) in [("c", &mut first), ("d", &mut member)] {
        peer.request(&request(1)).await;
        assert_eq!(b.message().await, (id.into(), request(1).into()));
    }
}

#[tokio::test]
async fn a_peer_that_responds_with_garbage_is_dialled_again() {
    let (a, b) = (socket("a"), socket("b"));
    let at_b = b.address.clone();
    b.listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(b.listener).unwrap();
    let mut a = start(a, &[&at_b]);
    for garbage in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &hello_of("z", "a").encode(),
        &[0; 8],
        b"",
    ] {
        let mut raw = RawPeer(soon(listener.accept()).await.unwrap().0);
        raw.frame().await;
        raw.write(garbage).await;
        if garbage.is_empty() {
            drop(raw);
        } else {
            raw.closed().await;
        }
    }
    let mut raw = RawPeer(soon(listener.accept()).await.unwrap().0);
    raw.frame().await;
    raw.write(&hello_of("b", "a").encode()).await;
    a.connected_to("b").await;
    assert_eq!(a.net.stats().failed_dials(), 4);
    assert_eq!(a.net.stats().connections_out(), 1);
}
