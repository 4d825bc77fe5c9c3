//! One running node: a guest, Raft around it, and HTTP before it. `oarlock serve` runs one, `oarlock demo` several.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use oarlock_wasm::{GuestModule, MachineFailure, WasmMachine};
use task_queue_raft::driver::DriverLimits;
use task_queue_raft::handle::Fault;
use task_queue_raft::raft::Limits;
use task_queue_raft::storage::StorageError;
use task_queue_raft::{Raft, RaftConfig, StartError as RaftStartError};
use thiserror::Error;
use tokio::net::TcpSocket;
use tokio::task::AbortHandle;

use crate::audit::{self, Auditor};
use crate::compiled::CompiledDir;
use crate::deferred::Deferred;
use crate::events::Events;
use crate::guest::{self, GuestError};
use crate::http::{self, App, Server};
use crate::metrics::Metrics;
use crate::quarantine::{self, Record, RecordError};
use crate::readiness::{self, Readiness};
use crate::settings::cluster::ClusterPeer;
use crate::settings::{HostPort, ServeSettings};
use crate::timekeeper::{self, Alarm};
use crate::upgrades::{self, Watched};

/// Connections that wait to be accepted: a thousand clients may come at once.
const BACKLOG: u32 = 4096;

/// Why a node did not start.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// There is no guest to run.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The guest can't be started.
    #[error(transparent)]
    Machine(#[from] MachineFailure),
    /// The system has no threads for questions.
    #[error("the system has no thread left ({0}); let the node have more of them")]
    Threads(std::io::Error),
    /// An address can't be listened on.
    #[error(
        "cannot listen for {whom} on {addr}: {source}; stop what uses that address, or choose another with --{flag}"
    )]
    Listen {
        /// Who would connect there.
        whom: &'static str,
        /// Where.
        addr: HostPort,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The data directory is another node's or another cluster's.
    #[error(
        "{0}; name this node's own with --data-dir, and the cluster that it belongs to with --cluster or --cluster-id"
    )]
    Foreign(#[source] RaftStartError),
    /// Raft did not start.
    #[error("the node can't start on {}: {source}", data_dir.display())]
    Raft {
        /// Where its data is.
        data_dir: std::path::PathBuf,
        /// Why.
        #[source]
        source: RaftStartError,
    },
    /// It is not known whether its state is the cluster's.
    #[error(transparent)]
    Quarantine(#[from] RecordError),
    /// The metrics can't be set up.
    #[error("the metrics can't be set up: {0}; this is a bug")]
    Metrics(#[from] prometheus::Error),
}

/// Sockets that are bound already. Those that are missing are bound by the node.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// For peers.
    pub(crate) peers: Option<std::net::TcpListener>,
    /// For clients.
    pub(crate) clients: Option<std::net::TcpListener>,
}

/// A running node. It stops with [`Node::shutdown`].
pub(crate) struct Node {
    app: Arc<App>,
    server: Server,
    peer_addr: SocketAddr,
    tasks: Vec<AbortHandle>,
}

impl Node {
    /// Starts a node: when this returns, it serves clients, though it may not have a leader yet.
    ///
    /// # Errors
    /// The guest is refused, an address is taken, or the data directory can't be used.
    pub(crate) async fn start(settings: ServeSettings) -> Result<Self, StartError> {
        Self::start_on(settings, Sockets::default()).await
    }

    /// The same, on sockets that are bound already.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub(crate) async fn start_on(
        settings: ServeSettings,
        sockets: Sockets,
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        // The guest first: one that is refused leaves nothing behind, not even a directory.
        let compiled = CompiledDir::new(settings.compiled_dir.clone());
        let module = guest::load(settings.guest.clone(), settings.limits, Some(compiled)).await?;
        let record = Record::read(&settings.data_dir)?;
        let peers = bind(sockets.peers, &settings.peer_addr, "peers", "peer-addr").await?;
        let clients = bind(
            sockets.clients,
            &settings.client_addr,
            "clients",
            "client-addr",
        )
        .await?;
        let (peer_addr, client_addr) = (
            local_addr(&peers, &settings)?,
            local_addr(&clients, &settings)?,
        );
        let members = members(&settings, peer_addr);
        let announced = announced(&settings, client_addr);

        let (alarm, deferred) = (Alarm::default(), Arc::new(Deferred::default()));
        let events = Arc::new(Events::default());
        let listener = effects_listener(alarm.clone(), Arc::clone(&deferred), Arc::clone(&events));
        let machine = WasmMachine::new(module.clone(), settings.limits, Some(listener))?;
        let machine = machine.with_preparation_spawner(Box::new(upgrades::on_a_thread));
        let machine = machine
            .with_query_threads(query_threads())
            .map_err(StartError::Threads)?;
        let status = machine.status();
        let watched = Watched::new(status.clone());
        let config = raft_config(&settings, peer_addr);
        let patience = config.election_timeout_max * 2;
        let raft = Raft::builder(config, machine)
            .cluster_id(settings.cluster_id.clone())
            .client_addr(announced.clone())
            .data_dir(&settings.data_dir)
            .repair(settings.repair)
            .driver_limits(DriverLimits {
                leader_patience: patience,
                ..DriverLimits::default()
            })
            .limits(Limits {
                snapshot_bytes_per_second: settings.replication.snapshot_bytes_per_second,
                ..Limits::default()
            })
            .listener(peers);
        let raft = match settings.replication.lease_drift_percent {
            Some(percent) => raft.leader_lease(percent),
            None => raft,
        };
        let raft = if settings.join { raft.join() } else { raft }.build();
        raft.start()
            .await
            .map_err(|source| start_error(source, &settings))?;

        let leadership = raft.watch_leadership();
        let (readiness, auditor) = (
            Readiness::default(),
            Auditor::starting(record.is_quarantined()),
        );
        let tasks = vec![
            tokio::spawn(timekeeper::run(
                raft.clone(),
                status.clone(),
                alarm,
                leadership.clone(),
            ))
            .abort_handle(),
            tokio::spawn(audit::run(
                raft.clone(),
                status.clone(),
                watched.clone(),
                leadership.clone(),
                auditor.clone(),
                settings.audit_interval,
            ))
            .abort_handle(),
            tokio::spawn(quarantine::run(
                raft.clone(),
                auditor.clone(),
                leadership.clone(),
                record,
            ))
            .abort_handle(),
            tokio::spawn(upgrades::run(
                raft.clone(),
                watched.clone(),
                leadership.clone(),
            ))
            .abort_handle(),
            tokio::spawn(readiness::run(
                raft.clone(),
                module.sha256(),
                readiness.clone(),
                leadership,
            ))
            .abort_handle(),
        ];
        let app = Arc::new(App {
            metrics: Metrics::new()?,
            raft,
            machine: status,
            upgrades: watched,
            events,
            auditor,
            members,
            client_addr: announced,
            limits: settings.limits,
            http: settings.http.clone(),
            leader_patience: patience,
            started,
            readiness,
            deferred,
            bodies: http::BodyBudget::new(settings.http.body_budget_bytes),
        });
        let server = Server::start(clients, Arc::clone(&app))
            .map_err(|source| cannot_serve(source, settings.client_addr))?;
        Ok(Self {
            app,
            server,
            peer_addr,
            tasks,
        })
    }

    /// Where it serves clients.
    pub(crate) fn client_addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Where it listens for peers.
    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// The cluster that it is in, and the names of its members as far as this node knows.
    pub(crate) fn cluster(&self) -> (String, Vec<String>) {
        let members = self.app.raft.status().membership;
        let names = members.members().keys().map(ToString::to_string).collect();
        (self.app.cluster_id(), names)
    }

    /// The guest that it runs.
    pub(crate) fn module(&self) -> GuestModule {
        self.app.machine.module()
    }

    /// What its requests reach.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Waits until the node can't go on, and says why.
    pub(crate) async fn failed(&self) -> Fault {
        self.app.raft.failed().await
    }

    /// Stops it: no new connections, requests under way are answered within the grace period, then Raft ends.
    /// When this returns, addresses and data directory are free.
    pub(crate) async fn shutdown(self) {
        // Those who listen would listen for ever.
        self.app.events.close();
        self.server.stop().await;
        self.tasks.iter().for_each(AbortHandle::abort);
        self.app.raft.shutdown().await;
    }
}

/// What the machine tells after an entry: what the guest published, deferred commands that now have their answer, and when to wake the guest.
fn effects_listener(
    alarm: Alarm,
    deferred: Arc<Deferred>,
    events: Arc<Events>,
) -> oarlock_wasm::EffectsListener {
    Box::new(move |at, effects, events_before| {
        events.publish(at.index, &effects.events, events_before);
        deferred.complete(at.index, &effects.completions);
        if effects.wake_at_ms.is_some() {
            alarm.changed();
        }
    })
}

fn start_error(source: RaftStartError, settings: &ServeSettings) -> StartError {
    match source {
        RaftStartError::Storage(StorageError::Foreign { .. }) => StartError::Foreign(source),
        source => StartError::Raft {
            data_dir: settings.data_dir.clone(),
            source,
        },
    }
}

/// Threads for questions: as many as there are processors, within reason.
fn query_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().min(4))
}

/// The settings of Raft with the names and addresses of all nodes.
fn raft_config(settings: &ServeSettings, peer_addr: SocketAddr) -> RaftConfig {
    let others = settings
        .cluster
        .members()
        .iter()
        .filter(|member| member.node_id != settings.node_id);
    RaftConfig {
        node_id: format!("{}@{}", settings.node_id, own_addr(settings, peer_addr)),
        peers: others
            .map(|ClusterPeer { node_id, addr }| format!("{node_id}@{addr}"))
            .collect(),
        ..settings.raft.clone()
    }
}

/// Where this node's peers reach it: as the cluster's list has it, since it may listen everywhere.
fn own_addr(settings: &ServeSettings, peer_addr: SocketAddr) -> String {
    members(settings, peer_addr)
        .into_iter()
        .find(|member| member.node_id == settings.node_id)
        .map_or_else(|| peer_addr.to_string(), |member| member.addr.to_string())
}

/// All nodes; where this one's port was left to the operating system, the one that it got.
fn members(settings: &ServeSettings, peer_addr: SocketAddr) -> Vec<ClusterPeer> {
    let mut members = settings.cluster.members().to_vec();
    for member in members
        .iter_mut()
        .filter(|member| member.node_id == settings.node_id && member.addr.port == 0)
    {
        member.addr.port = peer_addr.port();
    }
    members
}

/// Where clients reach this node, as others are told. A node that listens everywhere is reached where its peers
/// reach it.
fn announced(settings: &ServeSettings, client_addr: SocketAddr) -> String {
    let host = match settings.cluster.address_of(&settings.node_id) {
        Some(addr) if client_addr.ip().is_unspecified() => addr.host.clone(),
        _ => settings.client_addr.host.clone(),
    };
    HostPort {
        host,
        port: client_addr.port(),
    }
    .to_string()
}

async fn bind(
    given: Option<std::net::TcpListener>,
    addr: &HostPort,
    whom: &'static str,
    flag: &'static str,
) -> Result<std::net::TcpListener, StartError> {
    if let Some(listener) = given {
        return Ok(listener);
    }
    let failed = |source| StartError::Listen {
        whom,
        addr: addr.clone(),
        source,
        flag,
    };
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
    for resolved in tokio::net::lookup_host((addr.host.as_str(), addr.port))
        .await
        .map_err(failed)?
    {
        match listen(resolved) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn listen(addr: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections of a former run may linger; they are no reason not to start.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?.into_std()
}

fn local_addr(
    listener: &std::net::TcpListener,
    settings: &ServeSettings,
) -> Result<SocketAddr, StartError> {
    listener
        .local_addr()
        .map_err(|source| cannot_serve(source, settings.client_addr.clone()))
}

fn cannot_serve(source: std::io::Error, addr: HostPort) -> StartError {
    StartError::Listen {
        whom: "clients",
        addr,
        source,
        flag: "client-addr",
    }
}
