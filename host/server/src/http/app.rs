//! The state that request handlers share.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oarlock_wasm::{MachineLimits, StatusHandle, WasmMachine};
use task_queue_raft::Raft;
use tokio::sync::{Semaphore, watch};

use super::body_budget::BodyBudget;
use super::connection_table::ConnectionTable;
use super::query_gate::QueryGate;
use super::stream_turns::StreamTurns;
use crate::archive_streams::ArchiveStreams;
use crate::audit::Auditor;
use crate::deferred::DeferredReplies;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::node_log::NodeLog;
use crate::observations::Observations;
use crate::own_hosts::{OwnHosts, is_named};
use crate::readiness::Readiness;
use crate::settings::HttpSettings;
use crate::settings::cluster::ClusterPeer;
use crate::signers::ModuleSigners;
use crate::tls::TlsHandle;
use crate::upgrades::{CheckQueue, UpgradeWatch};

/// One per node. Handlers get it as `State<Arc<App>>`.
pub(crate) struct App {
    /// The handle of the replicated log.
    pub(crate) raft: Raft<WasmMachine>,
    /// Counters, active module and audit of the state machine.
    pub(crate) machine: StatusHandle,
    /// The upgrade in progress and past upgrades.
    pub(crate) upgrades: UpgradeWatch,
    /// The members in the node's settings. Addresses of members that the log does not have yet come from here.
    pub(crate) members: Vec<ClusterPeer>,
    /// Whether the operator gave this node an id and an address for peers.
    pub(crate) takes_members: bool,
    /// The address that this node announces to clients, as `host:port`.
    pub(crate) client_addr: String,
    /// Certificates, if the node uses TLS.
    pub(crate) tls: Option<TlsHandle>,
    /// The keys that may sign modules. `None`: modules need no signature.
    pub(crate) signers: Option<ModuleSigners>,
    /// The hosts that requests may name.
    pub(crate) hosts: OwnHosts,
    /// The limits with which this node was started. Those that apply are in `machine`.
    pub(crate) limits: MachineLimits,
    /// Limits and timeouts of the HTTP server.
    pub(crate) http: HttpSettings,
    /// How long a request waits for a leader before the response is 503 `no_leader`: two election timeouts.
    pub(crate) leader_timeout: Duration,
    /// When the node was started, for `uptime_ms`.
    pub(crate) started: Instant,
    /// Whether the node has caught up with the current leader.
    pub(crate) readiness: Readiness,
    /// The result of the latest audit, and whether this node is quarantined.
    pub(crate) auditor: Auditor,
    /// The latest events of the guest.
    pub(crate) events: Arc<Events>,
    /// The latest lines of the log of this process.
    pub(crate) log: Arc<NodeLog>,
    /// `false` when the node stops: then the streams of events and of log lines end.
    pub(crate) streams: watch::Sender<bool>,
    /// Clients that wait for a deferred reply.
    pub(crate) deferred: Arc<DeferredReplies>,
    /// Uploaded modules that wait for their check.
    pub(crate) checks: CheckQueue,
    /// What the node notes about itself.
    pub(crate) observations: Arc<Observations>,
    /// The data directory.
    pub(crate) data_dir: PathBuf,
    /// Limits the backups that are sent at the same time.
    pub(crate) backups: Arc<Semaphore>,
    /// The streams of entries that are being sent.
    pub(crate) archives: ArchiveStreams,
    /// Limits the memory for request bodies.
    pub(crate) bodies: BodyBudget,
    /// The open connections of clients, and what waits for them.
    pub(crate) connections: Arc<ConnectionTable>,
    /// Which query is next.
    pub(crate) query_gate: Arc<QueryGate>,
    /// Places for streams of events and of log lines.
    pub(crate) stream_places: Arc<Semaphore>,
    /// The turns in which these streams are sent.
    pub(crate) stream_turns: StreamTurns,
    /// Counters for Prometheus.
    pub(crate) metrics: Metrics,
}

impl App {
    /// Whether the value of `Host` is a name of this node: one of its own, or one in its certificate. `local`: the address to
    /// which the client has connected.
    pub(crate) fn answers_to(&self, host: &[u8], local: Option<IpAddr>) -> bool {
        let is_certified = |tls: &TlsHandle| is_named(host, tls.current().hosts());
        self.hosts.contains(host, local) || self.tls.as_ref().is_some_and(is_certified)
    }
}
