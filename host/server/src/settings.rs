//! The validated settings of a node. Each part of the node receives only its own settings.

pub(crate) mod address;
pub(crate) mod cluster;
mod error;
pub(crate) mod start;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use oarlock_wasm::{GuestModule, MachineLimits, ReplicatedSettings};
use task_queue_raft::RaftConfig;

use crate::cli::{Origins, ServeArgs};
use crate::exit::Failure;
use crate::module_check::{CheckBudget, CheckSettings};
use crate::own_hosts::is_loopback_host;
use crate::signers::ModuleSigners;
use crate::start_limits::GivenLimits;
use crate::tls::TlsHandle;
use crate::tls::identity::CertOwner;

pub(crate) use address::HostPort;
pub(crate) use cluster::ClusterSpec;
pub(crate) use error::SettingsError;
use start::NodePlace;
pub(crate) use start::{FirstStart, LONE_NODE, StartSettings, check_restored_node};

/// Default interval of state audits.
const AUDIT_INTERVAL: Duration = Duration::from_secs(10);
/// Default of `--max-clock-skew-ms`.
const MAX_CLOCK_SKEW: Duration = Duration::from_millis(500);
/// Default interval of audits of the complete state.
const STATE_AUDIT_INTERVAL: Duration = Duration::from_secs(3600);
/// Default directory of compiled code, in the data directory.
pub(crate) const COMPILED_DIR: &str = "compiled";
/// Source of a node's guest.
#[derive(Clone, Debug)]
pub(crate) enum GuestSource {
    /// The task queue in the binary.
    BuiltInQueue,
    /// A WebAssembly file.
    File(PathBuf),
    /// The module that the data directory keeps in this file.
    Kept(PathBuf, Bytes),
    /// A loaded module: several nodes in one process share the compiled code.
    Loaded(GuestModule),
}

/// Limits for what waits until clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingLimits {
    /// Bytes that wait for one connection. A single reply may be larger.
    pub(crate) connection_bytes: u64,
    /// Bytes that wait for all connections.
    pub(crate) total_bytes: u64,
    /// How long bytes wait for a client that reads nothing.
    pub(crate) stall_timeout: Duration,
    /// How long after a request a connection keeps its place in any case.
    pub(crate) place_kept: Duration,
}

impl Default for WaitingLimits {
    fn default() -> Self {
        Self {
            connection_bytes: 64 << 20,
            total_bytes: 256 << 20,
            stall_timeout: Duration::from_secs(30),
            place_kept: Duration::from_secs(1),
        }
    }
}

/// Limits for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpSettings {
    /// Maximum number of connections. A further one takes the place of the one that has been idle longest, or is closed at once
    /// if none is idle.
    pub(crate) max_connections: u32,
    /// A connection without a request in flight is closed after this time. Also the timeout for the head of a request.
    pub(crate) idle_timeout: Duration,
    /// Timeout for the body of a request.
    pub(crate) body_timeout: Duration,
    /// Maximum memory for request bodies, in bytes, over all connections. Further requests get 429.
    pub(crate) body_budget_bytes: u64,
    /// Limits for what waits until clients read it.
    pub(crate) waiting: WaitingLimits,
    /// How long a stopping node still accepts connections and requests: a client may have sent one before it could know.
    pub(crate) shutdown_linger: Duration,
    /// How long a stopping node waits for requests in flight.
    pub(crate) shutdown_grace: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_budget_bytes: 512 << 20,
            waiting: WaitingLimits::default(),
            shutdown_linger: Duration::from_millis(200),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

impl HttpSettings {
    /// Most streams of events and of log lines: they must not take the places of all other clients.
    pub(crate) fn stream_places(&self) -> usize {
        (self.max_connections as usize / 2).max(1)
    }
}

/// Replication settings that [`RaftConfig`] does not have: its public API is kept stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replication {
    /// Rate limit for sending snapshots, in bytes per second, for all peers together. `None`: no limit.
    pub(crate) snapshot_bytes_per_second: Option<u64>,
    /// How often the newest snapshot is checked.
    pub(crate) snapshot_check_interval: Duration,
    /// Leader leases: the largest difference in speed between the clocks of two nodes, in percent. `None`: no leases.
    pub(crate) lease_drift_percent: Option<u32>,
    /// How far the clock of a node may differ from the clocks of a majority.
    pub(crate) max_clock_skew: Duration,
}

impl Default for Replication {
    fn default() -> Self {
        Self {
            snapshot_bytes_per_second: None,
            snapshot_check_interval: Duration::from_secs(3600),
            lease_drift_percent: None,
            max_clock_skew: MAX_CLOCK_SKEW,
        }
    }
}

/// The settings of a node.
#[derive(Clone, Debug)]
pub(crate) struct ServeSettings {
    /// Node id.
    pub(crate) node_id: String,
    /// Address for peers.
    pub(crate) peer_addr: HostPort,
    /// Address for clients.
    pub(crate) client_addr: HostPort,
    /// Names by which clients reach this node, besides its own addresses.
    pub(crate) allowed_hosts: Vec<String>,
    /// Certificates, if the node uses TLS.
    pub(crate) tls: Option<TlsHandle>,
    /// The initial members, including this node.
    pub(crate) cluster: ClusterSpec,
    /// Cluster id. Empty: the data directory has it, or the node receives it from the first node that connects.
    pub(crate) cluster_id: String,
    /// What the node does if its data directory is empty.
    pub(crate) start: StartSettings,
    /// Set corrupt files aside and rejoin as an empty node.
    pub(crate) repair: bool,
    /// Use a copy of the data directory of the only voter.
    pub(crate) accept_copy: bool,
    /// Directory of log, vote and snapshots.
    pub(crate) data_dir: PathBuf,
    /// Directory of compiled code.
    pub(crate) compiled_dir: PathBuf,
    /// Checks modules in a child process. `None`: in this process, for a test.
    pub(crate) module_check: Option<CheckSettings>,
    /// The keys that may sign modules. `None`: modules need no signature.
    pub(crate) module_signers: Option<ModuleSigners>,
    /// The guest.
    pub(crate) guest: GuestSource,
    /// Timeouts and log size. The node sets `node_id` and `peers` from the fields above when it starts.
    pub(crate) raft: RaftConfig,
    /// More replication settings.
    pub(crate) replication: Replication,
    /// Limits of the guest.
    pub(crate) limits: MachineLimits,
    /// Flags of limits that were set, each with the place where it was set.
    pub(crate) given_limits: GivenLimits,
    /// Interval of state audits.
    pub(crate) audit_interval: Duration,
    /// Interval of audits of the complete state.
    pub(crate) state_audit_interval: Duration,
    /// Each node keeps its own limits, as at cluster level 0, so that a test can make states differ.
    #[cfg(test)]
    pub(crate) proposes_no_settings: bool,
    /// Limits for clients.
    pub(crate) http: HttpSettings,
    /// The wall clock of the node, which a test may set.
    #[cfg(test)]
    pub(crate) wall_clock: crate::wall_clock::SettableClock,
}

impl ServeSettings {
    /// A node of a cluster, with default settings.
    ///
    /// # Errors
    /// The node is not in the cluster.
    pub(crate) fn of_cluster(
        cluster: ClusterSpec,
        node_id: &str,
        client_addr: HostPort,
        data_dir: PathBuf,
        guest: GuestSource,
    ) -> Result<Self, SettingsError> {
        let peer_addr =
            cluster
                .address_of(node_id)
                .cloned()
                .ok_or_else(|| SettingsError::NotInCluster {
                    node_id: node_id.to_owned(),
                    known: cluster.names(),
                })?;
        Ok(Self {
            node_id: node_id.to_owned(),
            peer_addr,
            client_addr,
            allowed_hosts: Vec::new(),
            tls: None,
            cluster_id: cluster.derived_id(),
            start: StartSettings::of_cluster(&cluster),
            repair: false,
            accept_copy: false,
            cluster,
            compiled_dir: data_dir.join(COMPILED_DIR),
            data_dir,
            module_check: None,
            module_signers: None,
            guest,
            raft: RaftConfig::default(),
            replication: Replication::default(),
            limits: MachineLimits::default(),
            given_limits: GivenLimits::new(),
            audit_interval: AUDIT_INTERVAL,
            state_audit_interval: STATE_AUDIT_INTERVAL,
            #[cfg(test)]
            proposes_no_settings: false,
            http: HttpSettings::default(),
            #[cfg(test)]
            wall_clock: crate::wall_clock::SettableClock::default(),
        })
    }

    /// The replicated settings that this node proposes if it begins a cluster or raises its level.
    pub(crate) fn proposed_settings(&self) -> Bytes {
        #[cfg(test)]
        if self.proposes_no_settings {
            return Bytes::new();
        }
        ReplicatedSettings::proposed(&self.limits).encode()
    }

    /// Validates the flags of `oarlock serve`.
    ///
    /// # Errors
    /// A setting is not valid. The error names the setting and where it was set.
    pub(crate) fn from_args(args: ServeArgs, origins: &Origins) -> Result<Self, Failure> {
        let raft = raft_config(&args).map_err(|(flag, error)| with_origin(flag, origins)(error))?;
        let replication = Replication {
            snapshot_bytes_per_second: args.raft.snapshot_bytes_per_second,
            snapshot_check_interval: Duration::from_secs(args.raft.snapshot_check_interval_s),
            lease_drift_percent: args.raft.lease_drift_percent,
            max_clock_skew: Duration::from_millis(args.raft.max_clock_skew_ms),
        };
        let limits = machine_limits(&args);
        let client_addr = args
            .client_addr
            .parse()
            .map_err(SettingsError::from)
            .map_err(with_origin("client-addr", origins))?;
        let peer_addr: Option<HostPort> = match &args.peer_addr {
            Some(text) => Some(
                text.parse()
                    .map_err(SettingsError::from)
                    .map_err(with_origin("peer-addr", origins))?,
            ),
            None => None,
        };
        let NodePlace {
            node_id,
            cluster,
            cluster_id,
            start,
        } = NodePlace::from_args(&args, peer_addr.as_ref(), origins)?;
        let guest = args
            .state_machine
            .map_or(GuestSource::BuiltInQueue, GuestSource::File);
        let settings =
            Self::of_cluster(cluster, &node_id, client_addr, args.storage.data_dir, guest);
        let settings = settings.map_err(with_origin("node-id", origins))?;
        let peer_addr = peer_addr.unwrap_or_else(|| settings.peer_addr.clone());
        let (dir, named) = (args.certs_dir.as_deref(), args.cluster_id.as_deref());
        let tls = certificates(dir, &node_id, named, origins)?;
        // A cluster id that is set is the one of the certificate, or it is refused.
        let cluster_id = tls.as_ref().map_or(cluster_id, cluster_of);
        if !args.insecure && tls.is_none() {
            check_is_loopback("client-addr", &settings.client_addr, origins)?;
            check_is_loopback("peer-addr", &peer_addr, origins)?;
        }
        let signers = args.module_signers.as_deref().map(ModuleSigners::read);
        let signers = signers.transpose().map_err(|error| {
            let error = SettingsError::ModuleSigners(error);
            with_origin("module-signers", origins)(error)
        })?;
        let module_check = CheckSettings::new(CheckBudget {
            memory_bytes: args.module_check_memory_mib << 20,
            processor_seconds: args.module_check_seconds,
        });
        let module_check = module_check.map_err(Failure::failed)?;
        Ok(Self {
            peer_addr,
            allowed_hosts: allowed_hosts(args.allow_host, origins)?,
            tls,
            compiled_dir: args.compiled_dir.unwrap_or(settings.compiled_dir),
            module_check: Some(module_check),
            module_signers: signers,
            cluster_id,
            start,
            audit_interval: Duration::from_millis(args.audit_interval_ms),
            state_audit_interval: Duration::from_millis(args.state_audit_interval_ms),
            repair: args.repair,
            accept_copy: args.accept_copy,
            raft,
            replication,
            limits,
            given_limits: given_limits(origins),
            http: HttpSettings {
                max_connections: args.max_connections,
                waiting: WaitingLimits {
                    total_bytes: args.max_waiting_mib << 20,
                    ..WaitingLimits::default()
                },
                ..settings.http
            },
            ..settings
        })
    }
}

/// The certificates of `--certs-dir`. They must be those of this node and its cluster.
fn certificates(
    dir: Option<&Path>,
    node_id: &str,
    cluster_id: Option<&str>,
    origins: &Origins,
) -> Result<Option<TlsHandle>, Failure> {
    let Some(dir) = dir else {
        return Ok(None);
    };
    let refuse = |error: SettingsError| with_origin("certs-dir", origins)(error);
    let tls = TlsHandle::open(dir.to_owned()).map_err(|error| refuse(error.into()))?;
    let identity = tls.current().identity().clone();
    let other_node = !matches!(&identity.owner, CertOwner::Node(id) if id == node_id);
    if other_node || cluster_id.is_some_and(|id| id != identity.cluster) {
        return Err(refuse(SettingsError::ForeignCertificate {
            found: identity.to_string(),
            node_id: node_id.to_owned(),
            cluster_id: cluster_id.map_or(identity.cluster, str::to_owned),
        }));
    }
    Ok(Some(tls))
}

/// The cluster in the certificate of this node.
fn cluster_of(tls: &TlsHandle) -> String {
    tls.current().identity().cluster.clone()
}

/// Refuses an address that other machines can connect to.
fn check_is_loopback(
    flag: &'static str,
    addr: &HostPort,
    origins: &Origins,
) -> Result<(), Failure> {
    if is_loopback_host(&addr.host) {
        return Ok(());
    }
    let error = SettingsError::Unprotected(addr.clone());
    Err(with_origin(flag, origins)(error))
}

/// The names of `--allow-host`, validated.
fn allowed_hosts(names: Vec<String>, origins: &Origins) -> Result<Vec<String>, Failure> {
    // A name is what stands in `Host`, so it has the form of an address without its port.
    let is_host = |name: &String| match format!("{name}:0").parse::<HostPort>() {
        Ok(parsed) => parsed.host == *name,
        Err(_) => name.parse::<std::net::IpAddr>().is_ok(),
    };
    match names.iter().find(|name| !is_host(name)) {
        None => Ok(names),
        Some(wrong) => {
            let error = SettingsError::AllowedHost(wrong.clone());
            Err(with_origin("allow-host", origins)(error))
        }
    }
}

/// Adds to an error where the flag was set.
fn with_origin<'o>(
    flag: &'static str,
    origins: &'o Origins,
) -> impl Fn(SettingsError) -> Failure + 'o {
    move |error| Failure::usage(format!("{}: {error}", origins.of(flag)))
}

fn raft_config(args: &ServeArgs) -> Result<RaftConfig, (&'static str, SettingsError)> {
    let raft = &args.raft;
    let order = |low_name, low, rule, high_name, high| SettingsError::Order {
        low_name,
        low,
        high_name,
        high,
        rule,
    };
    let (heartbeat, min, max) = (
        raft.heartbeat_interval_ms,
        raft.election_timeout_min_ms,
        raft.election_timeout_max_ms,
    );
    if heartbeat >= min {
        let error = order(
            "heartbeat-interval-ms",
            heartbeat,
            "below",
            "election-timeout-min-ms",
            min,
        );
        return Err(("heartbeat-interval-ms", error));
    }
    if min > max {
        let error = order(
            "election-timeout-min-ms",
            min,
            "to at most",
            "election-timeout-max-ms",
            max,
        );
        return Err(("election-timeout-min-ms", error));
    }
    let (threshold, entries) = (raft.snapshot_threshold, raft.max_log_entries);
    if threshold >= entries {
        let error = order(
            "snapshot-threshold",
            threshold,
            "below",
            "max-log-entries",
            entries,
        );
        return Err(("snapshot-threshold", error));
    }
    // The ranges of the flags keep both far below the maximum of `usize`.
    let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Ok(RaftConfig {
        election_timeout_min: Duration::from_millis(min),
        election_timeout_max: Duration::from_millis(max),
        heartbeat_interval: Duration::from_millis(heartbeat),
        max_log_entries: count(entries),
        snapshot_threshold: count(threshold),
        ..RaftConfig::default()
    })
}

/// The flags of replicated settings that were set.
fn given_limits(origins: &Origins) -> GivenLimits {
    let settings = ReplicatedSettings::flags();
    let given = settings.filter_map(|flag| Some((flag, origins.given(flag)?.to_string())));
    given.collect()
}

fn machine_limits(args: &ServeArgs) -> MachineLimits {
    let guest = &args.guest;
    MachineLimits {
        command_bytes: guest.max_command_bytes,
        fuel_per_command: guest.fuel_per_command,
        fuel_per_query: guest.fuel_per_query,
        memory_bytes: guest.guest_memory_bytes,
        keys: guest.max_idempotency_keys,
        key_ttl_ms: guest.idempotency_ttl_ms,
        ..MachineLimits::default()
    }
}
