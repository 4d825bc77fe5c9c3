//! The network of a node: TCP connections to its peers.
//!
//! A node opens one TCP connection to each peer. Its requests and the responses to them use that connection. If both
//! nodes send requests, there are two connections between them. Each connection begins with a [handshake](hello),
//! then carries [frames](frame).
//!
//! Messages can be lost: a message without a connection, or for a full queue, is dropped and counted. Raft sends it
//! again (Raft paper §5.5). Guarantees: a message arrives intact or not at all, in the order of its connection, from
//! a node that sent its own node id and the id of this cluster. With [`security`], the node has proved both. Without it there is
//! no authentication: run peer traffic in a private network.
//!
//! | module | what it does |
//! |---|---|
//! | [`address`](crate::address) | the notation of a peer's address |
//! | `config`, `limits` | settings and their validation |
//! | `event` | events that the network delivers to its node |
//! | [`frame`] | bytes of a message |
//! | [`hello`] | bytes of the handshake |
//! | `queue` | messages that wait for a connection |
//! | `peers` | the table of peers, their queues and connections |
//! | `connection` | frames in and out of a socket |
//! | `link` | the connection that this node opens to a peer |
//! | `listener` | the connections that peers open to this node |
//! | `probe` | which node answers at an address |
//! | `contact` | whether a member looks for this node, before it begins a cluster |
//! | [`security`] | proof of identity and encryption, which the user of the library provides |
//! | `other_connections` | connections of others than members, which must not keep a member out |
//! | `stats`, `task` | counters, owned tasks |

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::time::Instant;

use self::link::PeerLink;
use self::listener::PeerListener;
use self::peers::NetworkContext;
use self::task::OwnedTask;
use crate::address::PeerAddress;
use crate::identity::NodeIdentity;
use crate::ids::NodeId;
use crate::message::Message;

pub use self::config::{NetworkConfig, NetworkStartError, PeerCheck};
pub use self::contact::{Contact, contact_time, first_contact};
pub use self::event::{MessageSink, NetworkEvent};
pub use self::limits::NetworkLimits;
pub use self::probe::ProbeError;
pub use self::stats::NetworkStats;

mod config;
mod connection;
mod contact;
mod event;
pub mod frame;
pub mod hello;
mod limits;
mod link;
mod listener;
mod other_connections;
mod peers;
mod probe;
mod queue;
pub mod security;
mod stats;
mod task;
#[cfg(test)]
mod tests;

/// The handle of a node's network. Clones share one network; dropping the last clone aborts all of its tasks.
#[derive(Clone)]
pub struct Network {
    context: Arc<NetworkContext>,
    tasks: Arc<NetworkTasks>,
    local_addr: SocketAddr,
}

/// The tasks of a network. Not part of [`NetworkContext`], because the tasks hold that one: a cycle would keep them alive.
struct NetworkTasks {
    running: Mutex<RunningTasks>,
    spawn_link: Box<SpawnLink>,
}

/// Adds a peer and starts the link to it, once the previous link to it has ended.
type SpawnLink = dyn Fn(PeerAddress, Option<OwnedTask>) -> OwnedTask + Send + Sync;

struct RunningTasks {
    /// `None` after shutdown.
    listener: Option<PeerListener>,
    links: HashMap<NodeId, OwnedTask>,
    /// Links of removed peers that still run.
    ending: HashMap<NodeId, OwnedTask>,
}

impl Network {
    /// Accepts connections on `config.listener` and dials all peers. Runs on the caller's tokio runtime.
    ///
    /// # Errors
    /// There is no runtime, the socket isn't listening, or a setting is not valid.
    pub fn start<I: MessageSink>(
        config: NetworkConfig,
        inbox: I,
    ) -> Result<Self, NetworkStartError> {
        config.check()?;
        let runtime = Handle::try_current()?;
        let context = Arc::new(NetworkContext::new(&config));
        config
            .listener
            .set_nonblocking(true)
            .map_err(NetworkStartError::Listener)?;
        let local_addr = config
            .listener
            .local_addr()
            .map_err(NetworkStartError::Listener)?;
        let socket = tokio::net::TcpListener::from_std(config.listener)
            .map_err(NetworkStartError::Listener)?;
        let spawn_link = {
            let (context, runtime, inbox) = (Arc::clone(&context), runtime.clone(), inbox.clone());
            move |peer, previous| {
                let outbox = context.add_peer(peer);
                PeerLink::spawn(
                    &runtime,
                    Arc::clone(&context),
                    outbox,
                    inbox.clone(),
                    previous,
                )
            }
        };
        // Before the listener starts, so that it refuses no peer. If an id is listed twice, the last address counts.
        let peers: HashMap<_, _> = others(&config.node_id, config.peers).collect();
        let links = peers
            .into_iter()
            .map(|(id, peer)| (id, spawn_link(peer, None)))
            .collect();
        let listener = Some(PeerListener::spawn(
            &runtime,
            Arc::clone(&context),
            socket,
            inbox,
        ));
        let running = Mutex::new(RunningTasks {
            listener,
            links,
            ending: HashMap::new(),
        });
        let tasks = Arc::new(NetworkTasks {
            running,
            spawn_link: Box::new(spawn_link),
        });
        Ok(Self {
            context,
            tasks,
            local_addr,
        })
    }

    /// Queues `message` for the node `to`: a request on this node's connection to it, a response on the latest
    /// connection from it. Never blocks. A message that can't be queued is dropped and counted.
    pub fn send(&self, to: &NodeId, message: Message) {
        self.context.send(to, message);
    }

    /// Replaces the list of peers: dials new peers, keeps the connections of unchanged ones, closes the others.
    /// Does nothing after [`Self::shutdown`].
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        let mut running = self.tasks.lock();
        let running = &mut *running;
        if running.listener.is_none() {
            return;
        }
        let mut wanted: HashMap<_, _> = others(&self.context.node_id, peers).collect();
        for present in self.context.addresses() {
            match wanted.get(&present.id) {
                Some(same) if *same == present => {
                    wanted.remove(&present.id);
                    continue;
                }
                Some(_) => {}
                None => self.context.remove_peer(&present.id),
            }
            running
                .ending
                .extend(running.links.remove_entry(&present.id));
        }
        running.ending.retain(|_, link| !link.is_finished());
        for (id, peer) in wanted {
            let previous = running.ending.remove(&id);
            running
                .links
                .insert(id, (self.tasks.spawn_link)(peer, previous));
        }
    }

    /// Replaces what the hellos of this node contain, and opens the connections for requests again, so that each later message
    /// belongs to a connection with the new hello. With `new_store`, the connections that peers have opened are closed
    /// as well, because responses on them would show the old store. Does nothing after [`Self::shutdown`].
    pub fn set_identity(&self, identity: NodeIdentity, new_store: bool) {
        let old_protocol_ends = identity.cluster_level > 0;
        self.context.set_identity(identity);
        if new_store || old_protocol_ends {
            self.context.close_inbound(!new_store);
        }
        let mut running = self.tasks.lock();
        if running.listener.is_none() {
            return;
        }
        for peer in self.context.addresses() {
            let previous = running.links.remove(&peer.id);
            let id = peer.id.clone();
            let link = (self.tasks.spawn_link)(peer, previous);
            running.links.insert(id, link);
        }
    }

    /// The address that peers reach the node `id` at, as it sent it in its latest hello. `None` if it sent none.
    #[must_use]
    pub fn peer_addr(&self, id: &NodeId) -> Option<String> {
        self.context.peer_addr(id)
    }

    /// The address that the node `id` serves clients on, as it sent it in its latest hello. `None` if it sent none.
    #[must_use]
    pub fn peer_client_addr(&self, id: &NodeId) -> Option<String> {
        self.context.client_addr(id)
    }

    /// The cluster id; empty until a node that joins has learned it.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.context.cluster_id()
    }

    /// Whether the connection for requests to `id` is open.
    #[must_use]
    pub fn is_connected(&self, id: &NodeId) -> bool {
        self.context.is_connected(id)
    }

    /// Checks that the node `address.id` of this cluster answers at `address`.
    ///
    /// # Errors
    /// No node or another one answers, within the timeouts of a connection and of a hello.
    pub async fn probe(&self, address: &PeerAddress) -> Result<(), ProbeError> {
        probe::probe(&self.context, address).await
    }

    /// The address that peers connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> &NetworkStats {
        &self.context.stats
    }

    /// Writes the queued messages, for at most [`NetworkLimits::shutdown_grace`], then closes all connections.
    /// After it returns, the port is free and no more events are delivered.
    pub async fn shutdown(&self) {
        let deadline = Instant::now() + self.context.limits.shutdown_grace;
        for mut task in self.stop() {
            task.ended_by(deadline).await;
        }
    }

    /// Requests all tasks to end and returns them.
    fn stop(&self) -> Vec<OwnedTask> {
        let mut running = self.tasks.lock();
        // The listener first: a connection that finishes its handshake later then closes its own queue.
        let listener = running
            .listener
            .take()
            .map(PeerListener::into_stopping_task);
        self.context.close();
        let RunningTasks { links, ending, .. } = &mut *running;
        listener
            .into_iter()
            .chain(links.drain().chain(ending.drain()).map(|(_, link)| link))
            .collect()
    }
}

impl NetworkTasks {
    fn lock(&self) -> MutexGuard<'_, RunningTasks> {
        // No code under the lock can panic, and no invariant spans two fields.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn others(own: &NodeId, peers: Vec<PeerAddress>) -> impl Iterator<Item = (NodeId, PeerAddress)> {
    peers
        .into_iter()
        .filter(move |peer| peer.id != *own)
        .map(|peer| (peer.id.clone(), peer))
}
