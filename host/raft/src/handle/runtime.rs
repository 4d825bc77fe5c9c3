//! A running node: the network and three threads.
//!
//! The driver's thread decides; it waits for nothing but inputs and deadlines. The disk's thread writes, and the state
//! machine's thread applies. Both run their tasks one after another, in the order in which they were queued.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use super::channels::{DriverEvent, EventReceiver, Inbox, Publisher};
use super::config::ConfigError;
use super::environment::ThreadEnvironment;
use super::error::StartError;
use super::node_config::NodeConfig;
use super::open::{OnCorruption, open};
use super::threads;
use crate::address::PeerAddress;
use crate::disk::DiskStats;
use crate::driver::Driver;
use crate::node::{Network, NetworkConfig, NetworkLimits, PeerCheck};
use crate::raft::Core;
use crate::random::random_u64;
use crate::state_machine::ReplicatedStateMachine;
use crate::storage::redb::{Identity, RedbStore};
use crate::storage::repair::is_corrupt;

/// A node that was built, and not started. Errors in the settings are reported at the start.
pub(super) struct Prepared<M: ReplicatedStateMachine> {
    pub(super) config: Result<NodeConfig, ConfigError>,
    pub(super) machine: M,
    /// `None`: the node binds its own address.
    pub(super) listener: Option<TcpListener>,
    pub(super) events: EventReceiver<M>,
    pub(super) publisher: Publisher,
    /// Zero of the node's clock.
    pub(super) epoch: Instant,
}

/// The network and the threads of a running node.
pub(super) struct Runtime<M: ReplicatedStateMachine> {
    inbox: Inbox<M>,
    network: Arc<Network>,
    disk: Arc<DiskStats>,
    peer_addr: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl<M: ReplicatedStateMachine> Runtime<M> {
    pub(super) async fn start(prepared: Prepared<M>, inbox: &Inbox<M>) -> Result<Self, StartError> {
        let Prepared {
            config,
            machine,
            listener,
            events,
            publisher,
            epoch,
        } = prepared;
        let config = config?;
        let cluster_id = cluster_id(&config).await?;
        let listener = listen(listener, &config).await?;
        let peer_addr = listener
            .local_addr()
            .map_err(|source| cannot_listen(&config.address, source))?;
        let identity = Identity {
            node_id: config.address.id.clone(),
            cluster_id: cluster_id.clone(),
        };
        let (data_dir, on_corruption) = (config.data_dir.clone(), on_corruption(&config));
        let opening = move || open(data_dir, &identity, on_corruption, machine);
        let opened = tokio::task::spawn_blocking(opening)
            .await
            .map_err(|error| StartError::Thread(std::io::Error::other(error)))??;
        let core = Core::new(
            config.core,
            &opened.stored,
            opened.snapshot,
            opened.last_time_ms,
            epoch.elapsed(),
        );
        let network_config = NetworkConfig {
            cluster_id,
            node_id: config.address.id.clone(),
            listener,
            peers: config.peers.clone(),
            client_addr: config.client_addr,
            // A change of members may reach a follower from a leader that is not in its configuration yet.
            peer_check: if config.join {
                PeerCheck::Join
            } else {
                PeerCheck::Cluster
            },
            limits: NetworkLimits::default(),
        };
        let network = Arc::new(Network::start(network_config, inbox.clone())?);
        inbox.set_running(true);
        let stats = opened.disk.stats();
        let (disk, disk_tasks) = mpsc::channel();
        let (machine, machine_tasks) = mpsc::channel();
        let env = ThreadEnvironment::new(disk, machine, Arc::clone(&network), config.peers);
        let driver = Driver::new(core, env, config.driver, random_u64());
        let session = driver.session();
        let threads = [
            threads::spawn("raft-disk", inbox, move |inbox| {
                threads::run_disk(opened.disk, &disk_tasks, inbox);
            }),
            threads::spawn("raft-apply", inbox, move |inbox| {
                threads::run_machine(opened.applier, session, &machine_tasks, inbox);
            }),
            threads::spawn("raft-driver", inbox, move |inbox| {
                threads::run_driver(driver, &events, &publisher, epoch);
                inbox.set_running(false);
            }),
        ];
        let threads = threads
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(StartError::Thread)?;
        Ok(Self {
            inbox: inbox.clone(),
            network,
            disk: stats,
            peer_addr,
            threads,
        })
    }

    pub(super) fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    pub(super) fn network(&self) -> Arc<Network> {
        Arc::clone(&self.network)
    }

    pub(super) fn disk(&self) -> Arc<DiskStats> {
        Arc::clone(&self.disk)
    }

    /// Stops the driver and the network, and waits until all threads have ended.
    pub(super) async fn stop(mut self) {
        self.inbox.notify(DriverEvent::Stop);
        self.network.shutdown().await;
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            // A panic of a thread was reported as a fatal error already.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        if let Err(error) = joined.await {
            tracing::warn!(%error, "the node's threads could not be joined");
        }
    }
}

impl<M: ReplicatedStateMachine> Drop for Runtime<M> {
    fn drop(&mut self) {
        self.inbox.notify(DriverEvent::Stop);
    }
}

fn on_corruption(config: &NodeConfig) -> OnCorruption {
    match (config.repair, config.peers.is_empty() && !config.join) {
        (false, _) => OnCorruption::Refuse,
        (true, false) => OnCorruption::SetAside,
        (true, true) => OnCorruption::NoPeers,
    }
}

/// Name of the cluster. A node that joins without one has it in its store, from an earlier run, or does not know it yet.
async fn cluster_id(config: &NodeConfig) -> Result<String, StartError> {
    if !config.join || !config.cluster_id.is_empty() {
        return Ok(config.cluster_id.clone());
    }
    match stored_cluster_id(config.data_dir.as_deref()).await {
        // The store is set aside later, and the first node that connects brings the name.
        Err(StartError::Storage(error)) if config.repair && is_corrupt(&error) => Ok(String::new()),
        stored => stored,
    }
}

/// Name of the cluster in the store; empty if there is none.
async fn stored_cluster_id(data_dir: Option<&Path>) -> Result<String, StartError> {
    let Some(dir) = data_dir.map(Path::to_owned) else {
        return Ok(String::new());
    };
    let peeked = tokio::task::spawn_blocking(move || RedbStore::peek(&dir))
        .await
        .map_err(|error| StartError::Thread(std::io::Error::other(error)))?;
    Ok(peeked?.map_or_else(String::new, |identity| identity.cluster_id))
}

/// The socket for peers: the given one, or one on the address of the node. A bare id that is not the name of a host can't
/// be reached by other nodes anyway; such a node listens on a free port of loopback.
async fn listen(
    given: Option<TcpListener>,
    config: &NodeConfig,
) -> Result<TcpListener, StartError> {
    if let Some(listener) = given {
        return Ok(listener);
    }
    let own = &config.address;
    let resolved = tokio::net::lookup_host((own.host.as_str(), own.port)).await;
    let bound = match resolved {
        Err(error) if config.is_bare_id => {
            tracing::warn!(node = %own.id, %error, "the node's id is not the name of a host: listening on a free port of loopback");
            TcpListener::bind(("127.0.0.1", 0))
        }
        Err(error) => Err(error),
        Ok(addresses) => TcpListener::bind(addresses.collect::<Vec<_>>().as_slice()),
    };
    bound.map_err(|source| cannot_listen(own, source))
}

fn cannot_listen(own: &PeerAddress, source: std::io::Error) -> StartError {
    StartError::Listen {
        address: own.host_port(),
        source,
    }
}
