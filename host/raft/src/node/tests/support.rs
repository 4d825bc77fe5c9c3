//! Test nodes, and raw connections that act as a node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata, Subscriber, span};

use std::io;

use super::super::*;
use crate::entry::{ClusterState, Command, SnapshotMeta};
use crate::identity::{NodeIdentity, PeerHello};
use crate::ids::{LogId, Term};
use crate::message::*;
use crate::node::frame::{LENGTH_BYTES, encode_request};
use crate::node::hello::{Handshake, Hello, HelloRefusal};

pub(super) const CLUSTER: &str = "test-cluster";

/// A test that hangs fails after this time. It is not a measurement.
const HANG: Duration = Duration::from_secs(60);

/// Waits for something that must happen.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(HANG, what)
        .await
        .expect("it did not happen in time")
}

#[derive(Clone)]
pub(super) struct EventSender(mpsc::Sender<NetworkEvent>);

impl From<mpsc::Sender<NetworkEvent>> for EventSender {
    fn from(sender: mpsc::Sender<NetworkEvent>) -> Self {
        Self(sender)
    }
}

impl MessageSink for EventSender {
    async fn deliver(&self, event: NetworkEvent) -> bool {
        self.0.send(event).await.is_ok()
    }
}

/// A bound socket for a node that has not started yet.
pub(super) struct BoundSocket {
    pub(super) address: PeerAddress,
    pub(super) listener: TcpListener,
}

pub(super) fn socket(id: &str) -> BoundSocket {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("{id}@{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    BoundSocket { address, listener }
}

/// An address without a listener: the port was free a moment ago.
pub(super) fn absent(id: &str) -> PeerAddress {
    socket(id).address
}

pub(super) struct NetworkNode {
    pub(super) id: NodeId,
    pub(super) net: Network,
    pub(super) events: mpsc::Receiver<NetworkEvent>,
}

/// Timeouts for a test on one machine.
pub(super) fn limits() -> NetworkLimits {
    let ms = Duration::from_millis;
    NetworkLimits {
        backoff_min: ms(1),
        backoff_max: ms(20),
        backoff_refused: ms(20),
        ..NetworkLimits::default()
    }
}

pub(super) fn config(socket: BoundSocket, peers: &[&PeerAddress]) -> NetworkConfig {
    NetworkConfig {
        peer_addr: socket.address.host_port(),
        identity: NodeIdentity::default(),
        cluster_id: CLUSTER.into(),
        client_addr: format!("{}.example:8101", socket.address.id),
        node_id: socket.address.id,
        listener: socket.listener,
        peers: peers.iter().copied().cloned().collect(),
        peer_check: PeerCheck::Listed,
        limits: limits(),
        security: None,
    }
}

pub(super) fn start_with(config: NetworkConfig) -> NetworkNode {
    let (sender, events) = mpsc::channel(64);
    let id = config.node_id.clone();
    NetworkNode {
        id,
        net: Network::start(config, EventSender(sender)).unwrap(),
        events,
    }
}

pub(super) fn start(socket: BoundSocket, peers: &[&PeerAddress]) -> NetworkNode {
    start_with(config(socket, peers))
}

/// Two peers, connected in both directions.
pub(super) async fn pair() -> (NetworkNode, NetworkNode) {
    let (a, b) = (socket("a"), socket("b"));
    let (at_a, at_b) = (a.address.clone(), b.address.clone());
    let (mut a, mut b) = (start(a, &[&at_b]), start(b, &[&at_a]));
    a.connected_to("b").await;
    b.connected_to("a").await;
    (a, b)
}

impl NetworkNode {
    /// The next event that is not a hello.
    pub(super) async fn next(&mut self) -> NetworkEvent {
        loop {
            match self.next_of_all().await {
                NetworkEvent::PeerHello(_) => {}
                event => return event,
            }
        }
    }

    async fn next_of_all(&mut self) -> NetworkEvent {
        soon(self.events.recv()).await.expect("the network ended")
    }

    /// The next hello of a peer; skips other events.
    pub(super) async fn hello(&mut self) -> PeerHello {
        loop {
            if let NetworkEvent::PeerHello(hello) = self.next_of_all().await {
                return hello;
            }
        }
    }

    /// Waits for the event that the peer is connected. It must be the next event.
    pub(super) async fn connected_to(&mut self, id: &str) {
        assert_eq!(self.next().await, NetworkEvent::Connected(id.into()));
    }

    /// Waits for a message and skips events about connections.
    pub(super) async fn message(&mut self) -> (String, Message) {
        loop {
            if let NetworkEvent::Message {
                from,
                message,
                bytes,
            } = self.next().await
            {
                assert!(bytes > LENGTH_BYTES);
                return (from.id.to_string(), message);
            }
        }
    }

    pub(super) fn send(&self, to: &str, message: impl Into<Message>) {
        self.net.send(&to.into(), message.into());
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.net.local_addr()
    }
}

impl From<RaftRequest> for Message {
    fn from(request: RaftRequest) -> Self {
        Self::Request(request)
    }
}

impl From<RaftResponse> for Message {
    fn from(response: RaftResponse) -> Self {
        Self::Response(response)
    }
}

/// A small request, identified by `id`.
pub(super) fn request(id: u64) -> RaftRequest {
    RaftRequest::ReadIndex(ReadIndex { term: Term(1), id })
}

/// The response to it.
pub(super) fn response(id: u64) -> RaftResponse {
    RaftResponse::ReadIndex(ReadIndexResponse {
        term: Term(1),
        id,
        index: None,
    })
}

/// A request of approximately `length` bytes.
pub(super) fn chunk(length: usize) -> RaftRequest {
    let data = (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>();
    let meta = SnapshotMeta {
        last: LogId::default(),
        time_ms: 0,
        length: length as u64,
        checksum: 0,
        membership: None,
        cluster: ClusterState::default(),
    };
    let install = InstallSnapshot {
        term: Term(1),
        leader_id: "a".into(),
        meta,
        offset: 0,
        data: Bytes::from(data),
    };
    RaftRequest::InstallSnapshot(install)
}

pub(super) fn forward(data: &'static [u8]) -> RaftRequest {
    let command = Command {
        session: 1,
        sequence: 1,
        data: Bytes::from_static(data),
    };
    RaftRequest::Forward(Forward {
        term: Term(1),
        commands: vec![command],
    })
}

/// A raw connection that acts as a node.
pub(super) struct RawPeer(pub(super) TcpStream);

impl RawPeer {
    pub(super) async fn connect(to: SocketAddr) -> Self {
        Self(soon(TcpStream::connect(to)).await.unwrap())
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        soon(self.0.write_all(bytes)).await.unwrap();
    }

    pub(super) async fn request(&mut self, request: &RaftRequest) {
        let mut frame = Vec::new();
        encode_request(request, usize::MAX, &mut frame).unwrap();
        self.write(&frame).await;
    }

    /// The bytes of the next frame, without its length prefix.
    pub(super) async fn frame(&mut self) -> Vec<u8> {
        let mut prefix = [0; LENGTH_BYTES];
        soon(self.0.read_exact(&mut prefix)).await.unwrap();
        let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
        soon(self.0.read_exact(&mut body)).await.unwrap();
        body
    }

    /// Sends a hello as `id` and reads the response.
    pub(super) async fn send_hello(to: SocketAddr, id: &str, peer: &str) -> (Self, Handshake) {
        let mut raw = Self::connect(to).await;
        raw.write(&hello_of(id, peer).encode()).await;
        let handshake = Handshake::decode(&raw.frame().await).unwrap();
        (raw, handshake)
    }

    /// Sends a hello as the peer `id`, and expects to be accepted.
    pub(super) async fn connect_as(to: SocketAddr, id: &str, peer: &str) -> Self {
        let (raw, handshake) = Self::send_hello(to, id, peer).await;
        assert!(
            matches!(&handshake, Handshake::Hello(hello) if hello.node_id.as_str() == peer),
            "{handshake:?}"
        );
        raw
    }

    /// Reads until the node closes the connection.
    pub(super) async fn closed(mut self) {
        let mut rest = Vec::new();
        // If the node closes with unread bytes, the result is a reset.
        match soon(self.0.read_to_end(&mut rest)).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

pub(super) fn hello_of(id: &str, peer: &str) -> Handshake {
    Handshake::Hello(Hello {
        cluster_id: CLUSTER.into(),
        node_id: id.into(),
        peer_id: peer.into(),
        client_addr: String::new(),
        extension: None,
    })
}

pub(super) fn refusal(handshake: Handshake) -> HelloRefusal {
    match handshake {
        Handshake::Refusal(refusal) => refusal,
        Handshake::Hello(hello) => panic!("not refused: {hello:?}"),
    }
}

/// Captures the log lines of this thread, from level INFO up.
#[derive(Clone, Default)]
pub(super) struct CapturedLog(Arc<Mutex<Vec<(Level, String)>>>);

impl CapturedLog {
    /// Captures log lines until the guard is dropped.
    pub(super) fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let guard = tracing::subscriber::set_default(log.clone());
        (log, guard)
    }

    /// Takes the captured warnings and errors.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        lines
            .into_iter()
            .filter(|(level, _)| *level <= Level::WARN)
            .map(|(_, line)| line)
            .collect()
    }

    /// Takes all captured lines.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
            .into_iter()
            .map(|(_, line)| line)
            .collect()
    }
}

impl Subscriber for CapturedLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("task_queue_raft")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = LineFields::default();
        event.record(&mut fields);
        let mut line = String::new();
        for (name, value) in fields.0 {
            write!(line, "{name}={value} ").unwrap();
        }
        self.0
            .lock()
            .unwrap()
            .push((*event.metadata().level(), line));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct LineFields(BTreeMap<&'static str, String>);

impl Visit for LineFields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.0.insert(field.name(), value.to_string());
    }
}
