//! How a node starts: its id, the initial members, and what it does if its data directory is empty.

use task_queue_raft::address::is_valid_id;

use super::address::HostPort;
use super::cluster::{ClusterError, ClusterSpec};
use super::error::{MAX_CLUSTER_ID_BYTES, SettingsError};
use crate::cli::{Origins, ServeArgs};
use crate::exit::Failure;

/// Node id of a single-node cluster, if none is set.
pub(crate) const LONE_NODE: &str = "node1";
/// Default address for peers.
const PEER_ADDR: &str = "127.0.0.1:7101";

/// What a node with an empty data directory does. A node with data continues in its cluster, whatever is set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstStart {
    /// It bootstraps a new cluster of itself alone: `oarlock serve` without flags, or `--bootstrap`.
    BootstrapAlone,
    /// It bootstraps a new cluster with the other nodes of `--cluster`, once all of them report empty data directories.
    BootstrapTogether,
    /// It waits until a cluster adds it, or until its own cluster connects to it.
    Wait,
}

/// Settings that matter when a node starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartSettings {
    /// What the node does if its data directory is empty.
    pub(crate) first: FirstStart,
    /// `--join` is set: the node has a cluster with other members.
    pub(crate) join_flag: bool,
    /// `--bootstrap` is set.
    pub(crate) bootstrap_flag: bool,
    /// The cluster id is derived from other flags, so a data directory may have another one.
    pub(crate) derived_cluster_id: bool,
    /// The operator gave the node an id and an address for peers. Other nodes can't reach it otherwise, so it takes no
    /// members.
    pub(crate) takes_members: bool,
}

impl StartSettings {
    /// For a node of a cluster whose members are known.
    pub(super) fn of_cluster(cluster: &ClusterSpec) -> Self {
        Self {
            first: match cluster.members() {
                [_] => FirstStart::BootstrapAlone,
                _ => FirstStart::BootstrapTogether,
            },
            join_flag: false,
            bootstrap_flag: false,
            derived_cluster_id: true,
            takes_members: true,
        }
    }
}

/// The node's place among the members, from its flags.
pub(super) struct NodePlace {
    pub(super) node_id: String,
    pub(super) cluster: ClusterSpec,
    /// Empty: the node learns it from its data directory, or from the first node that connects.
    pub(super) cluster_id: String,
    pub(super) start: StartSettings,
}

impl NodePlace {
    /// Reads `--node-id`, `--cluster`, `--cluster-id`, `--join` and `--bootstrap`.
    pub(super) fn from_args(
        args: &ServeArgs,
        peer_addr: Option<&HostPort>,
        origins: &Origins,
    ) -> Result<Self, Failure> {
        let usage = |flag: &'static str, error: SettingsError| {
            Failure::usage(format!("{}: {error}", origins.of(flag)))
        };
        let listed = match &args.cluster {
            Some(list) => Some(
                list.parse::<ClusterSpec>()
                    .map_err(|error| usage("cluster", error.into()))?,
            ),
            None => None,
        };
        let first = first_start(args, listed.as_ref());
        let members = members(args, peer_addr, listed);
        let (node_id, cluster) = members.map_err(|error| usage("node-id", error))?;
        let cluster_id = match &args.cluster_id {
            Some(id) => checked_cluster_id(id).map_err(|error| usage("cluster-id", error))?,
            None => derived_cluster_id(args, first, &node_id, &cluster),
        };
        let start = StartSettings {
            first,
            join_flag: args.join,
            bootstrap_flag: args.bootstrap,
            derived_cluster_id: args.cluster_id.is_none(),
            takes_members: args.cluster.is_some()
                || args.node_id.is_some() && args.peer_addr.is_some(),
        };
        Ok(Self {
            node_id,
            cluster,
            cluster_id,
            start,
        })
    }
}

/// An id or an address shows that the node may have a cluster, although the flags name no other node: its disk may have
/// been replaced. Only `--bootstrap` tells that it has none.
fn first_start(args: &ServeArgs, listed: Option<&ClusterSpec>) -> FirstStart {
    let several = listed.is_some_and(|cluster| cluster.members().len() > 1);
    let nothing_set = args.node_id.is_none() && args.peer_addr.is_none() && listed.is_none();
    match () {
        () if args.join => FirstStart::Wait,
        () if several => FirstStart::BootstrapTogether,
        () if args.bootstrap || nothing_set => FirstStart::BootstrapAlone,
        () => FirstStart::Wait,
    }
}

/// This node's id, and the members that its flags name.
fn members(
    args: &ServeArgs,
    peer_addr: Option<&HostPort>,
    listed: Option<ClusterSpec>,
) -> Result<(String, ClusterSpec), SettingsError> {
    let node_id = args.node_id.as_deref();
    match listed {
        // It does not know the members yet.
        Some(cluster) if args.join => {
            let listed = node_id.and_then(|id| cluster.address_of(id));
            joining(node_id, peer_addr.or(listed))
        }
        None if args.join => joining(node_id, peer_addr),
        None => alone(node_id.unwrap_or(LONE_NODE), peer_addr),
        Some(cluster) => Ok((choose_node(node_id, &cluster)?, cluster)),
    }
}

fn joining(
    node_id: Option<&str>,
    peer_addr: Option<&HostPort>,
) -> Result<(String, ClusterSpec), SettingsError> {
    alone(node_id.ok_or(SettingsError::NamelessJoin)?, peer_addr)
}

fn alone(
    node_id: &str,
    peer_addr: Option<&HostPort>,
) -> Result<(String, ClusterSpec), SettingsError> {
    if !is_valid_id(node_id) || node_id.contains('=') {
        return Err(SettingsError::NodeId(node_id.to_owned()));
    }
    let peer_addr = match peer_addr {
        Some(addr) => addr.clone(),
        None => PEER_ADDR.parse()?,
    };
    Ok((node_id.to_owned(), ClusterSpec::alone(node_id, peer_addr)))
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

/// Checks what names the node that begins the cluster of `oarlock restore`.
///
/// # Errors
/// `serve` would refuse one of these.
pub(crate) fn check_restored_node(
    node_id: &str,
    peer_addr: Option<&str>,
    cluster_id: Option<&str>,
) -> Result<(), SettingsError> {
    let peer_addr: Option<HostPort> = peer_addr.map(str::parse).transpose()?;
    if peer_addr.as_ref().is_some_and(|addr| addr.port == 0) {
        return Err(ClusterError::PortZero(node_id.to_owned()).into());
    }
    alone(node_id, peer_addr.as_ref())?;
    cluster_id.map(checked_cluster_id).transpose()?;
    Ok(())
}

fn checked_cluster_id(id: &str) -> Result<String, SettingsError> {
    let fits = (1..=MAX_CLUSTER_ID_BYTES).contains(&id.len());
    if fits && !id.chars().any(char::is_control) {
        Ok(id.to_owned())
    } else {
        Err(SettingsError::ClusterId)
    }
}

fn derived_cluster_id(
    args: &ServeArgs,
    first: FirstStart,
    node_id: &str,
    cluster: &ClusterSpec,
) -> String {
    match first {
        FirstStart::Wait => String::new(),
        // Without the address, so that the node may change its port.
        FirstStart::BootstrapAlone if args.cluster.is_none() => format!("oarlock-{node_id}-alone"),
        FirstStart::BootstrapAlone | FirstStart::BootstrapTogether => cluster.derived_id(),
    }
}
