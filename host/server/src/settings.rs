//! The settings of a node, checked once. Each part of the node is given only its own.

pub(crate) mod address;
pub(crate) mod cluster;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use oarlock_wasm::{GuestModule, MachineLimits};
use task_queue_raft::RaftConfig;
use task_queue_raft::address::is_valid_id;
use thiserror::Error;

use crate::cli::{Origins, ServeArgs};
use crate::exit::Failure;

pub(crate) use address::{HostPort, ListenAddressError};
pub(crate) use cluster::{ClusterError, ClusterSpec};

/// Name of a node that is alone and was given none.
const LONE_NODE: &str = "node1";
/// Where a node listens for peers if nothing else is said.
const PEER_ADDR: &str = "127.0.0.1:7101";
/// How often nodes compare their states, where there is anything new.
const AUDIT_INTERVAL: Duration = Duration::from_secs(10);
/// Where compiled code is in the data directory if nothing else is said.
pub(crate) const COMPILED_DIR: &str = "compiled";
/// Longest name of a cluster, in bytes: as the protocol between nodes has it.
const MAX_CLUSTER_ID_BYTES: usize = 255;

/// Where a node's guest comes from.
#[derive(Clone, Debug)]
pub(crate) enum GuestSource {
    /// The task queue that is part of the binary.
    BuiltInQueue,
    /// A file.
    File(PathBuf),
    /// One that was loaded before: several nodes in a process share what was compiled.
    Loaded(GuestModule),
}

/// Bounds of what clients may do to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpSettings {
    /// Connections at a time.
    pub(crate) max_connections: u32,
    /// A connection without a request under way is closed after this long; a head of a request takes no longer.
    pub(crate) idle_timeout: Duration,
    /// The body of a request arrives within this time.
    pub(crate) body_timeout: Duration,
    /// Bodies of requests in memory, in bytes, over all connections.
    pub(crate) body_budget_bytes: u64,
    /// How long a stopping node waits for requests under way.
    pub(crate) shutdown_grace: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_budget_bytes: 512 << 20,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// What the seed's [`RaftConfig`] has no place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replication {
    /// Bytes of snapshots that leave in a second, to all peers together.
    pub(crate) snapshot_bytes_per_second: Option<u64>,
    /// Clocks differ by no more than this, and the leader may rely on it.
    pub(crate) lease_drift_percent: Option<u32>,
}

/// Everything that a node needs to know.
#[derive(Clone, Debug)]
pub(crate) struct ServeSettings {
    /// This node's name.
    pub(crate) node_id: String,
    /// Where it listens for peers.
    pub(crate) peer_addr: HostPort,
    /// Where it serves clients.
    pub(crate) client_addr: HostPort,
    /// All nodes, this one among them.
    pub(crate) cluster: ClusterSpec,
    /// Name of the cluster; empty for a node that learns it when it is added.
    pub(crate) cluster_id: String,
    /// It waits to be added.
    pub(crate) join: bool,
    /// It sets damaged files aside and gets everything from the others.
    pub(crate) repair: bool,
    /// Where it keeps its data.
    pub(crate) data_dir: PathBuf,
    /// Where it keeps compiled code.
    pub(crate) compiled_dir: PathBuf,
    /// What it replicates for.
    pub(crate) guest: GuestSource,
    /// Timing and log. `node_id` and `peers` are filled in from the above when the node starts.
    pub(crate) raft: RaftConfig,
    /// What else is said of replication.
    pub(crate) replication: Replication,
    /// What the guest may use.
    pub(crate) limits: MachineLimits,
    /// How often the leader has the nodes compare their states.
    pub(crate) audit_interval: Duration,
    /// What clients may do.
    pub(crate) http: HttpSettings,
}

/// Why settings make no sense together, or one of them alone. Each variant belongs to one flag.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// `--cluster`.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// `--peer-addr` or `--client-addr`.
    #[error(transparent)]
    Address(#[from] ListenAddressError),
    /// `--node-id`: missing where there is a cluster.
    #[error(
        "there are {nodes} nodes in the cluster, and none is named as this one; add --node-id with one of {known}"
    )]
    NoNodeId {
        /// How many nodes.
        nodes: usize,
        /// Their names.
        known: String,
    },
    /// `--node-id`: missing for a node that is to be added.
    #[error(
        "a node that waits to be added needs a name of its own; add --node-id, and --peer-addr where the others reach it"
    )]
    NamelessJoin,
    /// `--node-id`: not one of the cluster.
    #[error(
        "the node {node_id:?} is not in the cluster, which has {known}; choose one of these, or add it to --cluster on every node"
    )]
    NotInCluster {
        /// The name.
        node_id: String,
        /// Names that would do.
        known: String,
    },
    /// `--node-id`: not a name.
    #[error(
        "the node id {0:?} is not valid; use 1 to 255 visible ASCII characters other than `@`, `,` and `=`"
    )]
    NodeId(String),
    /// `--cluster-id`: not a name.
    #[error(
        "the cluster id is not valid; use 1 to {MAX_CLUSTER_ID_BYTES} bytes without control characters"
    )]
    ClusterId,
    /// Two timeouts, or two counts, in the wrong order.
    #[error(
        "{low_name} is {low}, and {high_name} is {high}; {low_name} must be {rule} {high_name}"
    )]
    Order {
        /// The one that should be lower.
        low_name: &'static str,
        /// Its value.
        low: u64,
        /// The one that should be higher.
        high_name: &'static str,
        /// Its value.
        high: u64,
        /// How they must be related.
        rule: &'static str,
    },
}

impl ServeSettings {
    /// A node of a cluster, with the defaults for everything else.
    ///
    /// # Errors
    /// The cluster has no node of that name.
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
            cluster_id: cluster.derived_id(),
            join: false,
            repair: false,
            cluster,
            compiled_dir: data_dir.join(COMPILED_DIR),
            data_dir,
            guest,
            raft: RaftConfig::default(),
            replication: Replication::default(),
            limits: MachineLimits::default(),
            audit_interval: AUDIT_INTERVAL,
            http: HttpSettings::default(),
        })
    }

    /// The settings that the flags of `oarlock serve` stand for.
    ///
    /// # Errors
    /// The failure names the setting and where it came from.
    pub(crate) fn from_args(args: ServeArgs, origins: &Origins) -> Result<Self, Failure> {
        let raft = raft_config(&args).map_err(|(flag, error)| blame(flag, origins)(error))?;
        let replication = Replication {
            snapshot_bytes_per_second: args.raft.snapshot_bytes_per_second,
            lease_drift_percent: args.raft.lease_drift_percent,
        };
        let limits = machine_limits(&args);
        let client_addr = args
            .client_addr
            .parse()
            .map_err(SettingsError::from)
            .map_err(blame("client-addr", origins))?;
        let peer_addr: Option<HostPort> = match &args.peer_addr {
            Some(text) => Some(
                text.parse()
                    .map_err(SettingsError::from)
                    .map_err(blame("peer-addr", origins))?,
            ),
            None => None,
        };
        let alone = args.cluster.is_none() && !args.join;
        let (node_id, cluster) = match &args.cluster {
            Some(list) if args.join => {
                let cluster: ClusterSpec = list
                    .parse()
                    .map_err(SettingsError::from)
                    .map_err(blame("cluster", origins))?;
                let node_id = args.node_id.as_deref();
                let listed = node_id.and_then(|id| cluster.address_of(id)).cloned();
                joining(node_id, peer_addr.clone().or(listed)).map_err(blame("node-id", origins))?
            }
            None if args.join => joining(args.node_id.as_deref(), peer_addr.clone())
                .map_err(blame("node-id", origins))?,
            None => alone_cluster(args.node_id.as_deref(), peer_addr.clone())
                .map_err(blame("node-id", origins))?,
            Some(list) => {
                let cluster: ClusterSpec = list
                    .parse()
                    .map_err(SettingsError::from)
                    .map_err(blame("cluster", origins))?;
                let node_id = choose_node(args.node_id.as_deref(), &cluster)
                    .map_err(blame("node-id", origins))?;
                (node_id, cluster)
            }
        };
        // A node that is alone may move to another port: its data stay its own.
        let derived = if alone {
            format!("oarlock-{node_id}-alone")
        } else {
            cluster.derived_id()
        };
        let learns = args.join && args.cluster_id.is_none();
        let cluster_id = match args.cluster_id {
            Some(id) => id,
            None if learns => String::new(),
            None => derived,
        };
        if (cluster_id.is_empty() && !learns)
            || cluster_id.len() > MAX_CLUSTER_ID_BYTES
            || cluster_id.chars().any(char::is_control)
        {
            return Err(blame("cluster-id", origins)(SettingsError::ClusterId));
        }
        let guest = args
            .state_machine
            .map_or(GuestSource::BuiltInQueue, GuestSource::File);
        let settings = Self::of_cluster(cluster, &node_id, client_addr, args.data_dir, guest);
        let settings = settings.map_err(blame("node-id", origins))?;
        Ok(Self {
            peer_addr: peer_addr.unwrap_or(settings.peer_addr),
            compiled_dir: args.compiled_dir.unwrap_or(settings.compiled_dir),
            cluster_id,
            join: args.join,
            audit_interval: Duration::from_millis(args.audit_interval_ms),
            repair: args.repair,
            raft,
            replication,
            limits,
            http: HttpSettings {
                max_connections: args.max_connections,
                ..settings.http
            },
            ..settings
        })
    }
}

/// Makes an error about a flag name the place where its value came from.
fn blame<'o>(flag: &'static str, origins: &'o Origins) -> impl Fn(SettingsError) -> Failure + 'o {
    move |error| Failure::usage(format!("{}: {error}", origins.of(flag)))
}

fn alone_cluster(
    node_id: Option<&str>,
    peer_addr: Option<HostPort>,
) -> Result<(String, ClusterSpec), SettingsError> {
    let node_id = node_id.unwrap_or(LONE_NODE);
    if !is_valid_id(node_id) || node_id.contains('=') {
        return Err(SettingsError::NodeId(node_id.to_owned()));
    }
    let peer_addr = match peer_addr {
        Some(addr) => addr,
        None => PEER_ADDR.parse()?,
    };
    Ok((node_id.to_owned(), ClusterSpec::alone(node_id, peer_addr)))
}

/// A node that waits to be added has a name and an address of its own, and knows nobody.
fn joining(
    node_id: Option<&str>,
    peer_addr: Option<HostPort>,
) -> Result<(String, ClusterSpec), SettingsError> {
    let node_id = node_id.ok_or(SettingsError::NamelessJoin)?;
    alone_cluster(Some(node_id), peer_addr)
}

fn choose_node(node_id: Option<&str>, cluster: &ClusterSpec) -> Result<String, SettingsError> {
    if let Some(node_id) = node_id {
        return Ok(node_id.to_owned());
    }
    match cluster.members() {
        [only] => Ok(only.node_id.clone()),
        members => Err(SettingsError::NoNodeId {
            nodes: members.len(),
            known: cluster.names(),
        }),
    }
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
            "at most",
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
    // The flags' ranges keep both far below what `usize` holds.
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
