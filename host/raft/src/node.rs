//! The peers of a node, and the connections to them.
//!
//! A node opens one TCP connection to each of its peers. Its requests travel on that one, and the responses to them
//! back on the same one; so two nodes that both have something to ask hold two connections. Each begins with a
//! [hello] of both ends and goes on with [frames](frame).
//!
//! The network may lose messages, and so may this module: a message that finds no connection, or a full queue, is
//! dropped and counted. Raft asks again (Raft paper §5.5). What this module promises: a message arrives whole or not
//! at all, in the order of its connection, from a node that named itself and this node's cluster. There is no
//! authentication: peers belong on a network of their own.
//!
//! | module | what it does |
//! |---|---|
//! | [`address`] | how a peer is written |
//! | [`frame`] | bytes of a message |
//! | [`hello`] | bytes of an introduction |
//! | `queue` | messages that wait for a connection |
//! | `peers` | whom we talk to, by which queues |
//! | `connection` | frames in and out of a socket |
//! | `link` | the connection to a peer |
//! | `listener` | the connections from peers |
//! | `limits`, `stats`, `task` | bounds, counters, owned tasks |

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
use crate::message::Message;
use crate::types::NodeId;

pub use self::config::{NetworkConfig, NetworkStartError, PeerCheck};
pub use self::event::{MessageSink, NetworkEvent};
pub use self::limits::NetworkLimits;
pub use self::stats::NetworkStats;

mod config;
mod connection;
mod event;
pub mod frame;
pub mod hello;
mod limits;
mod link;
mod listener;
mod peers;
mod queue;
mod stats;
mod task;
#[cfg(test)]
mod tests;

/// A node's end of all connections to its peers. Its clones are the same network; it ends with the last of them.
#[derive(Clone)]
pub struct Network {
    context: Arc<NetworkContext>,
    tasks: Arc<NetworkTasks>,
    local_addr: SocketAddr,
}

/// What runs for a network. Owned apart from [`NetworkContext`], which the tasks themselves hold.
struct NetworkTasks {
    running: Mutex<RunningTasks>,
    spawn_link: Box<SpawnLink>,
}

/// Makes a node a peer, and starts the link to it in place of a previous one.
type SpawnLink = dyn Fn(PeerAddress, Option<OwnedTask>) -> OwnedTask + Send + Sync;

struct RunningTasks {
    /// None once it is shut down.
    listener: Option<PeerListener>,
    links: HashMap<NodeId, OwnedTask>,
    /// Links whose peer was removed, until they have ended.
    ending: HashMap<NodeId, OwnedTask>,
}

impl Network {
    /// Accepts connections on `config.listener` and dials all peers, on the tokio runtime that this is called in.
    ///
    /// # Errors
    /// No runtime, a socket that isn't listening, or a configuration that breaks a rule that the error names.
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
        // Before the listener, so that no peer finds itself unknown. Of two with one id the last one counts.
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

    /// Queues `message` for the node `to`: a request on our connection to it, a response on its latest to us.
    /// Never waits. What can't be queued is dropped and counted.
    pub fn send(&self, to: &NodeId, message: Message) {
        self.context.send(to, message);
    }

    /// Replaces the peers: dials new ones, leaves those alone whose address stays, ends the connections of the rest.
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

    /// Where the node `id` serves clients, if it has said so.
    #[must_use]
    pub fn peer_client_addr(&self, id: &NodeId) -> Option<String> {
        self.context.client_addr(id)
    }

    /// Name of the cluster; empty as long as it is not known.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.context.cluster_id()
    }

    /// Whether requests to `id` have a connection.
    #[must_use]
    pub fn is_connected(&self, id: &NodeId) -> bool {
        self.context.is_connected(id)
    }

    /// Where peers connect to this node.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What has been counted since the start.
    #[must_use]
    pub fn stats(&self) -> &NetworkStats {
        &self.context.stats
    }

    /// Writes what is queued, for at most [`NetworkLimits::shutdown_grace`], and closes everything.
    /// When it returns, the port is free and no event follows.
    pub async fn shutdown(&self) {
        let deadline = Instant::now() + self.context.limits.shutdown_grace;
        for mut task in self.stop() {
            task.ended_by(deadline).await;
        }
    }

    /// Tells all tasks to end, and hands them over.
    fn stop(&self) -> Vec<OwnedTask> {
        let mut running = self.tasks.lock();
        // The listener first: after this, a connection that says hello closes its queue by itself.
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
        // No code that can panic runs under the lock, and each field is right on its own.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn others(own: &NodeId, peers: Vec<PeerAddress>) -> impl Iterator<Item = (NodeId, PeerAddress)> {
    peers
        .into_iter()
        .filter(move |peer| peer.id != *own)
        .map(|peer| (peer.id.clone(), peer))
}
