//! A running node: the guest, its replication with Raft, background tasks and the HTTP server. `oarlock serve` runs one
//! node, `oarlock demo` several.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use oarlock_wasm::{
    EntryDecision, GuestModule, MachineFailure, QueryThreads, SettingsFault, StatusHandle,
    WasmMachine,
};
use task_queue_raft::handle::FatalError;
use task_queue_raft::raft::Role;
use task_queue_raft::storage::StorageError;
use task_queue_raft::{
    Raft, RaftBuilder, RaftConfig, ReplicatedStateMachine, StartError as RaftStartError,
};
use thiserror::Error;
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use crate::archive_streams::ArchiveStreams;
use crate::audit::stopped::StoppedRecord;
use crate::audit::{self, AuditTask, Auditor};
use crate::decisions::{Decisions, DecisionsError};
use crate::deferred::DeferredReplies;
use crate::events::Events;
use crate::file_writes::FileWrites;
use crate::first_start::{self, BootstrapConflict};
use crate::guest::{self, CodeSettings, GuestError};
use crate::http::{
    App, BodyBudget, ConnectionTable, QueryGate, Server, StreamTurns, note_counters,
};
use crate::log_module;
use crate::memory;
use crate::metrics::Metrics;
use crate::node_log::NodeLog;
use crate::observations::{self, Observations};
use crate::own_hosts::{OwnHosts, host_name};
use crate::private_files;
use crate::quarantine;
use crate::quarantine::record::{QuarantineRecord, QuarantineRecordError};
use crate::readiness::{self, Readiness, RecordedModule};
use crate::resource_limits;
use crate::settings::cluster::ClusterPeer;
use crate::settings::{FirstStart, GuestSource, HostPort, ServeSettings};
use crate::signers::{ModuleSigners, SignersError, UnsignedModule, read_signature, signature_path};
use crate::start_limits::{self, StartLimits};
use crate::start_notices::{self, StoredCluster};
use crate::state_audit;
use crate::timekeeper::{self, Alarm};
use crate::tls;
use crate::upgrades::{self, CheckQueue, UpgradeWatch};

/// Most connections that wait for `accept`. Sized for thousands of clients that connect at the same time.
const BACKLOG: u32 = 4096;

/// Most backups that a node sends at the same time.
const MAX_BACKUPS: usize = 2;

/// Why a node could not start.
#[derive(Debug, Error)]
pub(crate) enum NodeStartError {
    /// The guest can't be loaded.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The module of `--state-machine` is not signed.
    #[error("cannot use the state machine {}: {error}; sign it with `oarlock sign-module`, and keep the signature in {}", file.display(), signature_path(file).display())]
    Unsigned {
        /// The file.
        file: std::path::PathBuf,
        /// Why its signature is not accepted.
        error: UnsignedModule,
    },
    /// The signature of the module of `--state-machine` can't be read.
    #[error(transparent)]
    Signature(#[from] SignersError),
    /// The path of the data directory is something else.
    #[error(
        "{} is not a directory, so it is no data directory: set --data-dir to the directory of this node",
        _0.display()
    )]
    NotADirectory(std::path::PathBuf),
    /// The data directory can't be read.
    #[error("cannot read {}: {source}; check that this user may read it", data_dir.display())]
    DataDir {
        /// The data directory.
        data_dir: std::path::PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// This program can't apply the settings of the cluster.
    #[error(transparent)]
    Settings(#[from] SettingsFault),
    /// The guest can't be instantiated.
    #[error(transparent)]
    Machine(#[from] MachineFailure),
    /// The threads for queries can't be started.
    #[error(
        "cannot start the threads for queries: {0}; raise the limit of threads of this process"
    )]
    Threads(std::io::Error),
    /// The node can't listen on an address.
    #[error(
        "cannot listen for {whom} on {addr}: {source}; stop the process that uses this address, or set another one with --{flag}"
    )]
    Listen {
        /// `peers` or `clients`.
        whom: &'static str,
        /// The address.
        addr: HostPort,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
        /// The flag that sets the address.
        flag: &'static str,
    },
    /// The data directory belongs to another node or another cluster.
    #[error(
        "{0}; set --data-dir to the directory of this node, and --node-id and --cluster-id to those in the directory"
    )]
    Foreign(#[source] RaftStartError),
    /// `--bootstrap` contradicts another flag.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapConflict),
    /// Raft could not start.
    #[error("cannot start the node on {}: {source}", data_dir.display())]
    Raft {
        /// The data directory.
        data_dir: std::path::PathBuf,
        /// The cause.
        #[source]
        source: RaftStartError,
    },
    /// The record of quarantines can't be read.
    #[error(transparent)]
    Quarantine(#[from] QuarantineRecordError),
    /// The decisions about entries can't be followed.
    #[error(transparent)]
    Decisions(#[from] DecisionsError),
    /// The data directory belongs to another cluster than the certificate.
    #[error(
        "the data directory belongs to the cluster {stored:?}, and the certificate to {certified:?}; create certificates for the \
         cluster with `oarlock cert ca --cluster-id`, and start the node with them"
    )]
    OtherCluster {
        /// The cluster of the data directory.
        stored: String,
        /// The cluster of the certificate.
        certified: String,
    },
    /// A metric can't be registered.
    #[error("cannot register the metrics: {0}; this is a bug, please report it")]
    Metrics(#[from] prometheus::Error),
}

/// Sockets that the caller has bound. The node binds those that are missing.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// For connections from peers.
    pub(crate) peers: Option<std::net::TcpListener>,
    /// For connections from clients.
    pub(crate) clients: Option<std::net::TcpListener>,
}

/// A running node. Stop it with [`Node::shutdown`].
pub(crate) struct Node {
    app: Arc<App>,
    server: Server,
    peer_addr: SocketAddr,
    tasks: Vec<AbortHandle>,
    writes: FileWrites,
}

impl Node {
    /// Starts a node. It accepts clients when this function returns, but may not have a leader yet.
    ///
    /// # Errors
    /// The guest is invalid, an address is in use, or the data directory can't be used.
    pub(crate) async fn start(settings: ServeSettings) -> Result<Self, NodeStartError> {
        Self::start_on(settings, Sockets::default()).await
    }

    /// The same, on sockets that the caller has bound.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub(crate) async fn start_on(
        settings: ServeSettings,
        sockets: Sockets,
    ) -> Result<Self, NodeStartError> {
        let started = Instant::now();
        if std::fs::metadata(&settings.data_dir).is_ok_and(|found| !found.is_dir()) {
            return Err(NodeStartError::NotADirectory(settings.data_dir));
        }
        // First of all, so that an invalid guest does not create a data directory.
        let code = CodeSettings {
            compiled_dir: Some(settings.compiled_dir.clone()),
            check: settings.module_check.clone(),
        };
        let source = log_module::source(&settings).map_err(|source| NodeStartError::DataDir {
            data_dir: settings.data_dir.clone(),
            source,
        })?;
        let is_new = first_start::is_new(&settings.data_dir)
            .map_err(|error| start_error(error.into(), &settings))?;
        let limits = StartLimits::read(&settings.data_dir, &settings.limits, is_new)?;
        let file = match &source {
            GuestSource::File(path) => Some(path.clone()),
            _ => None,
        };
        let module = guest::load(source, limits.load, code).await?;
        if let Some(file) = file {
            check_signature(settings.module_signers.as_ref(), &file, &module)?;
        }
        first_start::check(&settings, is_new)?;
        let record = QuarantineRecord::read(&settings.data_dir)?;
        let stopped =
            StoppedRecord::read(&settings.data_dir).map_err(|source| NodeStartError::DataDir {
                data_dir: settings.data_dir.clone(),
                source,
            })?;
        let peers = bind(sockets.peers, &settings.peer_addr, "peers", "peer-addr").await?;
        let clients = bind(
            sockets.clients,
            &settings.client_addr,
            "clients",
            "client-addr",
        )
        .await?;
        let settings = first_start::settle(settings, is_new, &peers).await;
        let (peer_addr, client_addr) = (
            local_addr(&peers, &settings)?,
            local_addr(&clients, &settings)?,
        );
        let members = members(&settings, peer_addr);
        let announced = announced(&settings, client_addr);

        let (alarm, deferred) = (Alarm::default(), Arc::new(DeferredReplies::default()));
        let events = Arc::new(Events::default());
        let listener = effects_listener(alarm.clone(), Arc::clone(&deferred), Arc::clone(&events));
        let decisions = decisions(&settings, &module).await?;
        let machine = WasmMachine::new(module.clone(), limits.machine, Some(listener))?;
        let machine = machine.with_decisions(decisions);
        let machine = machine.with_preparation_spawner(Box::new(upgrades::spawn_preparation));
        let machine = machine
            .with_query_threads(query_threads())
            .map_err(NodeStartError::Threads)?;
        let follows_log = log_module::follows_log(&settings);
        let machine = if follows_log {
            machine.following_the_log()
        } else {
            machine
        };
        let status = machine.status();
        let watched = UpgradeWatch::new(status.clone());
        let config = raft_config(&settings, peer_addr);
        let leader_timeout = config.election_timeout_max * 2;
        let raft = raft_builder(&settings, config, machine)
            .client_addr(announced.clone())
            .listener(peers)
            .build();
        raft.start()
            .await
            .map_err(|source| start_error(source, &settings))?;
        if let Err(error) = private_files::restrict(&settings.data_dir) {
            let data_dir = settings.data_dir.display();
            tracing::warn!(%error, %data_dir, "other users may be able to read the data directory: set its mode to 0700");
        }
        if let Err(mismatch) = check_cluster(&settings, &raft) {
            raft.shutdown().await;
            return Err(mismatch);
        }
        log_notices(&settings, &raft, is_new);

        let app = Arc::new(App {
            metrics: Metrics::new()?,
            raft,
            machine: status,
            upgrades: watched,
            events,
            log: NodeLog::of_process(),
            streams: watch::Sender::new(true),
            auditor: Auditor::starting(record.is_quarantined(), stopped.stopped_by()),
            members,
            takes_members: settings.start.takes_members,
            hosts: OwnHosts::new(
                host_name(&announced).unwrap_or_default(),
                &settings.allowed_hosts,
            ),
            tls: settings.tls.clone(),
            signers: settings.module_signers.clone(),
            client_addr: announced,
            limits: settings.limits,
            http: settings.http.clone(),
            leader_timeout,
            started,
            readiness: Readiness::default(),
            deferred,
            checks: CheckQueue::default(),
            observations: Arc::new(Observations::new(&settings, &settings.data_dir)),
            data_dir: settings.data_dir.clone(),
            backups: Arc::new(Semaphore::new(MAX_BACKUPS)),
            archives: ArchiveStreams::default(),
            bodies: BodyBudget::new(settings.http.body_budget_bytes),
            connections: ConnectionTable::new(settings.http.waiting),
            query_gate: QueryGate::new(query_threads().count),
            stream_places: Arc::new(Semaphore::new(settings.http.stream_places())),
            stream_turns: StreamTurns::default(),
        });
        let writes = FileWrites::default();
        let tasks = spawn_tasks(
            &app,
            alarm,
            (record, stopped),
            StartedWith {
                module,
                follows_log,
                limits,
            },
            &settings,
            &writes,
        );
        let server = Server::start(clients, Arc::clone(&app))
            .map_err(|source| cannot_serve(source, settings.client_addr))?;
        Ok(Self {
            app,
            server,
            peer_addr,
            tasks,
            writes,
        })
    }

    /// The address on which the node listens for clients.
    pub(crate) fn client_addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The address on which the node listens for peers.
    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// The name of the cluster, and the ids of its members in this node's log.
    pub(crate) fn cluster(&self) -> (String, Vec<String>) {
        let members = self.app.raft.status().membership;
        let names = members.members().keys().map(ToString::to_string).collect();
        (self.app.cluster_id(), names)
    }

    /// `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.app.tls.is_some() {
            "https"
        } else {
            "http"
        }
    }

    /// The active module.
    pub(crate) fn module(&self) -> GuestModule {
        self.app.machine.module()
    }

    /// The state of the request handlers.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Waits until the node fails, and returns the cause.
    pub(crate) async fn failed(&self) -> FatalError {
        self.app.raft.failed().await
    }

    /// Waits until the data directory is removed or replaced, and returns its path. What the node writes then is lost with its end.
    pub(crate) async fn data_dir_lost(&self) -> String {
        let observations = &self.app.observations;
        observations.directory_lost().await;
        observations.directory.path().display().to_string()
    }

    /// Stops the node as planned: another voter leads before it stops to serve, so that no request has to wait for an election.
    pub(crate) async fn stop(self) {
        self.app.streams.send_replace(false);
        let status = self.app.raft.status();
        if status.role == Role::Leader && status.voters.len() > 1 {
            let timeout = self.app.leader_timeout;
            match self.app.raft.transfer_leadership(None, timeout).await {
                Ok(_) => tracing::info!("leadership was transferred to another voter"),
                Err(error) => {
                    tracing::warn!(%error, "leadership was not transferred: the other voters elect a leader after this node has stopped");
                }
            }
        }
        self.shutdown().await;
    }

    /// Stops the node: it accepts no more connections, waits up to `HttpSettings::shutdown_grace` for requests in
    /// flight, and then stops Raft. Addresses and data directory are free when this function returns.
    pub(crate) async fn shutdown(self) {
        // Event streams would otherwise stay open until the grace period ends.
        self.app.streams.send_replace(false);
        let app = Arc::clone(&self.app);
        let end_requests = async move {
            app.deferred.close();
            app.raft.shutdown().await;
        };
        self.server.stop(end_requests).await;
        self.tasks.iter().for_each(AbortHandle::abort);
        self.app.raft.shutdown().await;
        self.writes.finish().await;
    }
}

/// The module and the limits with which the node was started.
struct StartedWith {
    module: GuestModule,
    /// The node runs whatever module its log has.
    follows_log: bool,
    limits: StartLimits,
}

impl StartedWith {
    /// The module that the node records in the log: the one that it was started with, or, if it follows the log, the
    /// one that runs.
    fn record(&self, machine: StatusHandle) -> RecordedModule {
        if self.follows_log {
            RecordedModule::Active(machine)
        } else {
            RecordedModule::Started(self.module.sha256())
        }
    }
}

/// Checks the signature of the module that the node was started with. It is in a file next to the module.
fn check_signature(
    signers: Option<&ModuleSigners>,
    file: &std::path::Path,
    module: &GuestModule,
) -> Result<(), NodeStartError> {
    if signers.is_none() {
        return Ok(());
    }
    let signature = read_signature(&signature_path(file))?;
    let checked = upgrades::check_signature(signers, module.sha256(), signature.as_deref());
    checked.map_err(|error| NodeStartError::Unsigned {
        file: file.to_owned(),
        error,
    })
}

/// Starts the background tasks. Each runs until it is aborted, or until Raft stops.
fn spawn_tasks(
    app: &Arc<App>,
    alarm: Alarm,
    (quarantined, stopped): (QuarantineRecord, StoppedRecord),
    started_with: StartedWith,
    settings: &ServeSettings,
    writes: &FileWrites,
) -> Vec<AbortHandle> {
    let (raft, machine) = (&app.raft, &app.machine);
    let leadership = raft.watch_leadership();
    let timekeeper = timekeeper::run(
        raft.clone(),
        machine.clone(),
        alarm,
        app.auditor.clone(),
        leadership.clone(),
    );
    let task = AuditTask {
        raft: raft.clone(),
        machine: machine.clone(),
        watched: app.upgrades.clone(),
        leadership: leadership.clone(),
        auditor: app.auditor.clone(),
    };
    let audit = audit::run(task.clone(), settings.audit_interval);
    let state_audit = state_audit::run(task, settings.state_audit_interval);
    let quarantine = quarantine::run(
        raft.clone(),
        app.auditor.clone(),
        leadership.clone(),
        quarantined,
        writes.clone(),
    );
    let stopped = audit::stopped::run(app.auditor.clone(), stopped, writes.clone());
    let upgrades = upgrades::run(
        raft.clone(),
        app.upgrades.clone(),
        leadership.clone(),
        settings.module_signers.clone(),
    );
    let memory = memory::run(
        raft.clone(),
        machine.clone(),
        app.upgrades.clone(),
        leadership.clone(),
    );
    let readiness = readiness::run(
        raft.clone(),
        started_with.record(machine.clone()),
        app.readiness.clone(),
        leadership,
    );
    let data_dir = settings.data_dir.clone();
    let overridden = (!started_with.follows_log).then(|| {
        log_module::tell_overridden(
            app.readiness.clone(),
            machine.clone(),
            started_with.module.clone(),
        )
    });
    let keep = log_module::run(
        app.upgrades.clone(),
        started_with.module,
        data_dir,
        writes.clone(),
    );
    let limits = start_limits::run(
        machine.clone(),
        app.upgrades.clone(),
        started_with.limits,
        settings.limits,
        settings.given_limits.clone(),
        writes.clone(),
    );
    let mut tasks: Vec<AbortHandle> = overridden
        .into_iter()
        .map(|overridden| tokio::spawn(overridden).abort_handle())
        .collect();
    let elections =
        observations::count_elections(Arc::clone(&app.observations), raft.watch_leadership());
    tasks.extend([
        tokio::spawn(elections).abort_handle(),
        tokio::spawn(note_counters(Arc::clone(app))).abort_handle(),
    ]);
    let reload = settings.tls.clone().map(tls::reload::run);
    tasks.extend(reload.map(|reload| tokio::spawn(reload).abort_handle()));
    tasks.extend([
        tokio::spawn(limits).abort_handle(),
        tokio::spawn(keep).abort_handle(),
        tokio::spawn(timekeeper).abort_handle(),
        tokio::spawn(audit).abort_handle(),
        tokio::spawn(state_audit).abort_handle(),
        tokio::spawn(quarantine).abort_handle(),
        tokio::spawn(stopped).abort_handle(),
        tokio::spawn(upgrades).abort_handle(),
        tokio::spawn(memory).abort_handle(),
        tokio::spawn(readiness).abort_handle(),
    ]);
    tasks
}

/// Receives the effects of each applied entry: events, completed replies of deferred commands, and the time of the next
/// wake-up.
fn effects_listener(
    alarm: Alarm,
    deferred: Arc<DeferredReplies>,
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

/// The cluster of the data directory must be that of the certificate: peers accept no other.
fn check_cluster(settings: &ServeSettings, raft: &Raft<WasmMachine>) -> Result<(), NodeStartError> {
    let (Some(tls), Some(network)) = (&settings.tls, raft.network()) else {
        return Ok(());
    };
    let current = tls.current();
    let (stored, certified) = (network.cluster_id(), &current.identity().cluster);
    if stored.is_empty() || stored == certified {
        return Ok(());
    }
    Err(NodeStartError::OtherCluster {
        stored: stored.to_owned(),
        certified: certified.clone(),
    })
}

fn log_notices(settings: &ServeSettings, raft: &Raft<WasmMachine>, is_new: bool) {
    let status = raft.status();
    let network = raft.network();
    let stored = StoredCluster {
        has_data: !is_new,
        id: network.as_ref().map_or("", |network| network.cluster_id()),
        members: &status.membership,
    };
    start_notices::log(settings, stored);
}

fn start_error(source: RaftStartError, settings: &ServeSettings) -> NodeStartError {
    match source {
        RaftStartError::Storage(StorageError::Foreign { .. }) => NodeStartError::Foreign(source),
        source => NodeStartError::Raft {
            data_dir: settings.data_dir.clone(),
            source,
        },
    }
}

/// Threads for queries: one per processor for short ones, 4 at most, and as many for long ones.
fn query_threads() -> QueryThreads {
    QueryThreads {
        count: std::thread::available_parallelism().map_or(1, |count| count.get().min(4)),
        in_background: resource_limits::lower_priority_of_thread,
    }
}

/// The builder of the node that `oarlock serve` runs, without its socket and its address for clients.
fn raft_builder<M: ReplicatedStateMachine>(
    settings: &ServeSettings,
    config: RaftConfig,
    machine: M,
) -> RaftBuilder<M> {
    let builder = Raft::builder(config, machine);
    let builder = if settings.start.derived_cluster_id {
        builder.cluster_id_if_new(settings.cluster_id.clone())
    } else {
        builder.cluster_id(settings.cluster_id.clone())
    };
    let builder = builder
        .data_dir(&settings.data_dir)
        .repair(settings.repair)
        .accept_copy(settings.accept_copy)
        .initial_settings(settings.proposed_settings())
        .max_clock_skew(settings.replication.max_clock_skew)
        .snapshot_bytes_per_second(settings.replication.snapshot_bytes_per_second)
        .snapshot_check_interval(settings.replication.snapshot_check_interval);
    #[cfg(test)]
    let builder = {
        let clock = settings.wall_clock.clone();
        builder.wall_clock(move || clock.now_ms())
    };
    let builder = match &settings.tls {
        Some(tls) => builder.peer_security(Arc::new(tls.clone())),
        None => builder,
    };
    let builder = match settings.replication.lease_drift_percent {
        Some(percent) => builder.leader_lease(percent),
        None => builder,
    };
    match settings.start.first {
        FirstStart::Wait if settings.start.join_flag => builder.join(),
        FirstStart::Wait => builder.wait(),
        FirstStart::BootstrapAlone | FirstStart::BootstrapTogether => builder,
    }
}

/// The settings of Raft, with the ids and addresses of all members.
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

/// The address under which peers reach this node. It comes from `--cluster`, because the node may listen on an
/// unspecified address such as 0.0.0.0.
fn own_addr(settings: &ServeSettings, peer_addr: SocketAddr) -> String {
    members(settings, peer_addr)
        .into_iter()
        .find(|member| member.node_id == settings.node_id)
        .map_or_else(|| peer_addr.to_string(), |member| member.addr.to_string())
}

/// The operator's decisions about entries, with compiled successors.
async fn decisions(
    settings: &ServeSettings,
    module: &GuestModule,
) -> Result<Vec<EntryDecision>, NodeStartError> {
    let decisions = Decisions::read(&settings.data_dir)?;
    let (dir, limits) = (settings.data_dir.clone(), settings.limits);
    let module = module.clone();
    let loading = tokio::task::spawn_blocking(move || decisions.load(&dir, &module, &limits));
    match loading.await {
        Ok(loaded) => Ok(loaded?),
        Err(panicked) => Err(GuestError::Panicked(panicked).into()),
    }
}

/// All members in the settings. If the port of this node is 0, the port that the operating system has chosen.
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

/// The address that this node announces to clients. A node that listens on an unspecified address such as 0.0.0.0
/// announces the host of its peer address.
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
) -> Result<std::net::TcpListener, NodeStartError> {
    if let Some(listener) = given {
        return Ok(listener);
    }
    let listen_error = |source| NodeStartError::Listen {
        whom,
        addr: addr.clone(),
        source,
        flag,
    };
    let mut last =
        std::io::Error::new(std::io::ErrorKind::NotFound, "the host name has no address");
    for resolved in tokio::net::lookup_host((addr.host.as_str(), addr.port))
        .await
        .map_err(listen_error)?
    {
        match listen(resolved) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(listen_error(last))
}

fn listen(addr: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Otherwise connections of the previous process in TIME_WAIT would prevent a restart.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?.into_std()
}

fn local_addr(
    listener: &std::net::TcpListener,
    settings: &ServeSettings,
) -> Result<SocketAddr, NodeStartError> {
    listener
        .local_addr()
        .map_err(|source| cannot_serve(source, settings.client_addr.clone()))
}

fn cannot_serve(source: std::io::Error, addr: HostPort) -> NodeStartError {
    NodeStartError::Listen {
        whom: "clients",
        addr,
        source,
        flag: "client-addr",
    }
}
