//! A running node: the network and three threads.
//!
//! The disk's thread writes, and the state machine's thread applies. Both run their tasks one after another, in the order in
//! which they were queued. The driver decides, on whichever thread has an event for it (see [`shared_driver`](super::shared_driver)); its own
//! thread does so where several threads have events at once, and at deadlines.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use super::channels::{DriverEvent, Publisher};
use super::config::ConfigError;
use super::environment::ThreadEnvironment;
use super::error::StartError;
use super::inbox::Inbox;
use super::node_config::NodeConfig;
use super::open::{OnCorruption, OpenRules, open};
use super::shared_driver::{DRIVER, RunningDriver};
use super::stored_cluster::{ConfiguredCluster, start_members};
use super::threads;
use super::wall_clock::WallClock;
use crate::address::PeerAddress;
use crate::disk::DiskStats;
use crate::driver::Driver;
use crate::node::{Network, NetworkConfig, NetworkLimits, PeerCheck};
use crate::raft::{Core, CoreConfig};
use crate::random::random_u64;
use crate::state_machine::ReplicatedStateMachine;

/// A node that was built, and not started. Errors in the settings are reported at the start.
pub(super) struct Prepared<M: ReplicatedStateMachine> {
    pub(super) config: Result<NodeConfig, ConfigError>,
    pub(super) machine: M,
    /// `None`: the node binds its own address.
    pub(super) listener: Option<TcpListener>,
    pub(super) wall_clock: WallClock,
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
            wall_clock,
            publisher,
            epoch,
        } = prepared;
        let config = config?;
        let listener = listen(listener, &config).await?;
        let peer_addr = listener
            .local_addr()
            .map_err(|source| cannot_listen(&config.address, source))?;
        let cluster = ConfiguredCluster {
            id: config.cluster_id.clone(),
            only_if_new: config.cluster_id_only_if_new,
            joins: config.join,
        };
        let data_dir = config.data_dir.clone();
        let rules = OpenRules {
            on_corruption: on_corruption(&config),
            accept_copy: config.accept_copy,
            longest_lease: config.core.longest_lease(),
        };
        let node_id = config.address.id.clone();
        let opening = move || open(data_dir, &node_id, &cluster, rules, machine);
        let opened = tokio::task::spawn_blocking(opening)
            .await
            .map_err(|error| StartError::Thread(std::io::Error::other(error)))??;
        let voters = start_members(&config.address.id, config.core.voters, &opened.stored);
        let core = Core::new(
            CoreConfig {
                voters,
                ..config.core
            },
            &opened.stored,
            opened.snapshot,
            opened.last_time_ms,
            epoch.elapsed(),
        );
        let peer_addr_text = if config.is_bare_id {
            peer_addr.to_string()
        } else {
            config.address.host_port()
        };
        let network_config = NetworkConfig {
            peer_addr: peer_addr_text,
            identity: core.identity(),
            cluster_id: opened.cluster_id,
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
            security: config.peer_security,
        };
        let network = Arc::new(Network::start(network_config, inbox.clone())?);
        inbox.accept_clients();
        let stats = opened.disk.stats();
        let (disk, disk_tasks) = mpsc::channel();
        let (machine, machine_tasks) = mpsc::channel();
        let env = ThreadEnvironment::new(
            disk,
            machine,
            Arc::clone(&network),
            wall_clock,
            config.peers,
        );
        let driver = Driver::new(core, env, config.driver, random_u64());
        let session = driver.session();
        // The settings may name other members than the log.
        publisher.publish(driver.snapshot_failures(), driver.core());
        inbox.start_driver(RunningDriver::new(driver, publisher, epoch));
        let threads = [
            // First: it ends the others if one can't be started.
            threads::spawn(DRIVER, inbox, Inbox::run_driver),
            threads::spawn("raft-disk", inbox, move |inbox| {
                threads::run_disk(opened.disk, &disk_tasks, inbox);
            }),
            threads::spawn("raft-apply", inbox, move |inbox| {
                threads::run_machine(opened.applier, session, &machine_tasks, inbox);
            }),
        ];
        let threads = threads
            .into_iter()
            .collect::<Result<_, _>>()
            .inspect_err(|_| inbox.notify(DriverEvent::Stop))
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
    let may_be_alone = config.peers.is_empty() && (!config.join || config.may_be_alone);
    match (config.repair, may_be_alone) {
        (false, _) => OnCorruption::Refuse,
        (true, false) => OnCorruption::SetAside,
        (true, true) => OnCorruption::NoPeers,
    }
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
