//! The table of peers, their queues and connections. Links, listener and [`Network`](super::Network) share it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::config::{NetworkConfig, PeerCheck};
use super::connection::WireMessage;
use super::hello::{
    Hello, HelloExtension, HelloRefusal, HelloRefusalReason, PROTOCOL_WITHOUT_IDENTITY,
};
use super::limits::NetworkLimits;
use super::queue::{NotQueued, SendQueue};
use super::security::{PeerSecurity, PeerStream};
use super::stats::NetworkStats;
use crate::address::PeerAddress;
use crate::identity::NodeIdentity;
use crate::ids::NodeId;
use crate::message::{Message, RaftRequest, RaftResponse};

/// The state that all tasks of a network share.
pub(super) struct NetworkContext {
    /// Empty until a node that joins has learned the id of its cluster.
    cluster_id: OnceLock<String>,
    pub(super) node_id: NodeId,
    pub(super) client_addr: String,
    peer_addr: String,
    /// Changes rarely: with the first entry of the log, and where the store is outdated.
    identity: Mutex<NodeIdentity>,
    pub(super) peer_check: PeerCheck,
    pub(super) limits: NetworkLimits,
    security: Option<Arc<dyn PeerSecurity>>,
    pub(super) stats: NetworkStats,
    table: Mutex<HashMap<NodeId, PeerSlot>>,
    next_connection: AtomicU64,
}

/// One node in the table. Without an outbox it is not a peer; it is removed when its connection closes.
#[derive(Default)]
struct PeerSlot {
    outbox: Option<Arc<Outbox>>,
    inbound: Option<InboundConnection>,
    client_addr: String,
    peer_addr: String,
}

/// The latest connection that a node has opened to this one.
struct InboundConnection {
    connection: u64,
    /// Version of the protocol.
    protocol: u16,
    responses: Arc<SendQueue<RaftResponse>>,
}

/// The queue of requests to a peer, and the state of the link that sends them.
pub(super) struct Outbox {
    pub(super) address: PeerAddress,
    pub(super) requests: SendQueue<RaftRequest>,
    /// Notified when the link should dial at once instead of waiting for its backoff.
    pub(super) wake: Notify,
    pub(super) connected: AtomicBool,
}

impl NetworkContext {
    pub(super) fn new(config: &NetworkConfig) -> Self {
        Self {
            cluster_id: match config.cluster_id.as_str() {
                "" => OnceLock::new(),
                id => OnceLock::from(id.to_owned()),
            },
            node_id: config.node_id.clone(),
            client_addr: config.client_addr.clone(),
            peer_addr: config.peer_addr.clone(),
            identity: Mutex::new(config.identity.clone()),
            peer_check: config.peer_check,
            limits: config.limits.clone(),
            security: config.security.clone(),
            stats: NetworkStats::default(),
            table: Mutex::new(HashMap::new()),
            next_connection: AtomicU64::new(1),
        }
    }

    /// The hello of this node to `peer_id`, in this version of the protocol.
    pub(super) fn hello(&self, peer_id: &NodeId, protocol: u16) -> Hello {
        let extension = || HelloExtension {
            identity: self.identity().clone(),
            peer_addr: self.peer_addr.clone(),
        };
        Hello {
            cluster_id: self.cluster_id().to_owned(),
            node_id: self.node_id.clone(),
            peer_id: peer_id.clone(),
            client_addr: self.client_addr.clone(),
            extension: (protocol > PROTOCOL_WITHOUT_IDENTITY).then(extension),
        }
    }

    fn identity(&self) -> MutexGuard<'_, NodeIdentity> {
        // No code under the lock can panic.
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what the hellos of this node contain from now on.
    pub(super) fn set_identity(&self, identity: NodeIdentity) {
        *self.identity() = identity;
    }

    /// Whether this node accepts level and lineage of a hello.
    pub(super) fn check_identity(&self, hello: &Hello) -> Result<(), HelloRefusal> {
        hello.check_identity(&self.node_id, &self.identity())
    }

    /// Closes the connections that peers have opened: they get the new hello with the next ones. With `old_protocol`, only those
    /// of a version without identity.
    pub(super) fn close_inbound(&self, old_protocol: bool) {
        for slot in self.table().values() {
            let closing = slot
                .inbound
                .as_ref()
                .filter(|inbound| !old_protocol || inbound.protocol == PROTOCOL_WITHOUT_IDENTITY);
            if let Some(inbound) = closing {
                inbound.responses.close();
            }
        }
    }

    /// The cluster id; empty until a node that joins has learned it.
    pub(super) fn cluster_id(&self) -> &str {
        self.cluster_id.get().map_or("", String::as_str)
    }

    /// Proof of identity and encryption of connections, if they have them.
    pub(super) fn security(&self) -> Option<&dyn PeerSecurity> {
        self.security.as_deref()
    }

    /// Whether this node accepts `hello` on a connection. A node without a cluster id adopts the sender's.
    pub(super) fn check(&self, stream: &PeerStream, hello: &Hello) -> Result<(), HelloRefusal> {
        self.check_proven(stream, hello)?;
        self.check_cluster(hello)?;
        self.check_identity(hello)
    }

    /// Whether a hello has the names that the peer has proved to have.
    pub(super) fn check_proven(
        &self,
        stream: &PeerStream,
        hello: &Hello,
    ) -> Result<(), HelloRefusal> {
        let (cluster_id, node_id) = (&hello.cluster_id, &hello.node_id);
        if stream.may_be(cluster_id, node_id) {
            return Ok(());
        }
        let detail = format!(
            "a hello of node {node_id} of cluster {cluster_id:?} came over a connection whose certificate is that of another node: give each node the certificate with its own id and cluster"
        );
        Err(HelloRefusal::new(HelloRefusalReason::WrongNode, detail))
    }

    fn check_cluster(&self, hello: &Hello) -> Result<(), HelloRefusal> {
        if self.cluster_id().is_empty() && !hello.cluster_id.is_empty() {
            self.check_in(&hello.cluster_id, hello)?;
            let joined = self.cluster_id.get_or_init(|| hello.cluster_id.clone());
            tracing::info!(cluster = %joined, by = %hello.node_id, "joined a cluster");
        }
        self.check_in(self.cluster_id(), hello)
    }

    fn check_in(&self, cluster_id: &str, hello: &Hello) -> Result<(), HelloRefusal> {
        hello.check(cluster_id, &self.node_id, |id| match self.peer_check {
            PeerCheck::Cluster | PeerCheck::Join => true,
            PeerCheck::Listed => self.is_member(id),
        })
    }

    /// The refusal of a probe. The sender's own text is about two nodes, and a probe names one only.
    pub(super) fn probe_refusal(&self, refusal: HelloRefusal) -> HelloRefusal {
        match refusal.reason {
            HelloRefusalReason::WrongNode => {
                HelloRefusal::new(refusal.reason, format!("it is node {}", self.node_id))
            }
            _ => refusal,
        }
    }

    /// Adds a peer, or replaces it; returns the outbox for its link.
    pub(super) fn add_peer(&self, address: PeerAddress) -> Arc<Outbox> {
        let id = address.id.clone();
        let outbox = Arc::new(Outbox {
            address,
            requests: self.queue(),
            wake: Notify::new(),
            connected: AtomicBool::new(false),
        });
        let previous = self
            .table()
            .entry(id)
            .or_default()
            .outbox
            .replace(Arc::clone(&outbox));
        if let Some(previous) = previous {
            previous.requests.close();
        }
        outbox
    }

    /// Removes a peer and closes its connections.
    pub(super) fn remove_peer(&self, id: &NodeId) {
        if let Some(entry) = self.table().remove(id) {
            entry.close();
        }
    }

    /// Whether a node is among the peers.
    pub(super) fn is_member(&self, id: &NodeId) -> bool {
        let table = self.table();
        table.get(id).is_some_and(|entry| entry.outbox.is_some())
    }

    /// The addresses of all peers.
    pub(super) fn addresses(&self) -> Vec<PeerAddress> {
        let table = self.table();
        table
            .values()
            .filter_map(|entry| entry.outbox.as_ref())
            .map(|outbox| outbox.address.clone())
            .collect()
    }

    /// Closes every queue. Each connection writes its queued messages, then it closes.
    pub(super) fn close(&self) {
        self.table().values().for_each(PeerSlot::close);
    }

    /// Registers the connection of `hello`; returns its number and its queue. Closes the node's previous connection.
    /// A node that connects is reachable, so a link that waits for its backoff dials now.
    /// Returns `None` if the node was removed from the peers after its hello was checked.
    pub(super) fn connection_opened(
        &self,
        hello: &Hello,
    ) -> Option<(u64, Arc<SendQueue<RaftResponse>>)> {
        let connection = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let responses = Arc::new(self.queue());
        let mut table = self.table();
        if self.peer_check == PeerCheck::Listed && !table.contains_key(&hello.node_id) {
            return None;
        }
        let entry = table.entry(hello.node_id.clone()).or_default();
        entry.learn_addrs(hello);
        let inbound = InboundConnection {
            connection,
            protocol: hello.protocol(),
            responses: Arc::clone(&responses),
        };
        if let Some(previous) = entry.inbound.replace(inbound) {
            previous.responses.close();
        }
        if let Some(outbox) = entry
            .outbox
            .as_ref()
            .filter(|outbox| !outbox.connected.load(Ordering::Relaxed))
        {
            outbox.wake.notify_one();
        }
        Some((connection, responses))
    }

    /// Removes a connection, unless a later one has replaced it.
    pub(super) fn connection_closed(&self, id: &NodeId, connection: u64) {
        let mut table = self.table();
        let Some(entry) = table.get_mut(id) else {
            return;
        };
        let Some(inbound) = entry
            .inbound
            .take_if(|inbound| inbound.connection == connection)
        else {
            return;
        };
        RaftResponse::count_dropped(&self.stats, inbound.responses.clear());
        if entry.outbox.is_none() {
            table.remove(id);
        }
    }

    /// Stores the addresses in a peer's hello.
    pub(super) fn learn_addrs(&self, hello: &Hello) {
        if let Some(entry) = self.table().get_mut(&hello.node_id) {
            entry.learn_addrs(hello);
        }
    }

    pub(super) fn peer_addr(&self, id: &NodeId) -> Option<String> {
        let table = self.table();
        table
            .get(id)
            .map(|entry| entry.peer_addr.clone())
            .filter(|addr| !addr.is_empty())
    }

    pub(super) fn client_addr(&self, id: &NodeId) -> Option<String> {
        let table = self.table();
        table
            .get(id)
            .map(|entry| entry.client_addr.clone())
            .filter(|addr| !addr.is_empty())
    }

    pub(super) fn is_connected(&self, id: &NodeId) -> bool {
        let table = self.table();
        let outbox = table.get(id).and_then(|entry| entry.outbox.as_ref());
        outbox.is_some_and(|outbox| outbox.connected.load(Ordering::Relaxed))
    }

    /// Queues `message` for `to`. If that is not possible, drops and counts it.
    pub(super) fn send(&self, to: &NodeId, message: Message) {
        let table = self.table();
        let entry = table.get(to);
        match message {
            Message::Request(request) => {
                let outbox = entry.and_then(|entry| entry.outbox.as_ref());
                // These two are rare, and an election is blocked on them.
                let urgent = matches!(
                    request,
                    RaftRequest::RequestVote(_) | RaftRequest::TimeoutNow(_)
                );
                self.queue_or_drop(outbox.map(|outbox| &outbox.requests), request);
                if let Some(outbox) =
                    outbox.filter(|o| urgent && !o.connected.load(Ordering::Relaxed))
                {
                    outbox.wake.notify_one();
                }
            }
            Message::Response(response) => {
                let inbound = entry.and_then(|entry| entry.inbound.as_ref());
                self.queue_or_drop(inbound.map(|inbound| &*inbound.responses), response);
            }
        }
    }

    fn queue_or_drop<T: WireMessage>(&self, queue: Option<&SendQueue<T>>, message: T) {
        let cost = message.cost();
        let pushed = queue.map_or(Err(NotQueued::Closed), |queue| queue.push(message, cost));
        if pushed.is_err() {
            T::count_dropped(&self.stats, 1);
        }
    }

    fn queue<T>(&self) -> SendQueue<T> {
        SendQueue::new(self.limits.queue_messages, self.limits.queue_bytes)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<NodeId, PeerSlot>> {
        // No code under the lock can panic, and no invariant spans two slots.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerSlot {
    fn learn_addrs(&mut self, hello: &Hello) {
        self.client_addr.clone_from(&hello.client_addr);
        if let Some(extension) = &hello.extension {
            self.peer_addr.clone_from(&extension.peer_addr);
        }
    }

    fn close(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.requests.close();
        }
        if let Some(inbound) = &self.inbound {
            inbound.responses.close();
        }
    }
}
