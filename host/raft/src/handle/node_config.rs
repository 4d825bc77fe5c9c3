//! All settings of one node, validated.

use std::path::PathBuf;
use std::sync::Arc;

use crate::address::PeerAddress;
use crate::driver::DriverLimits;
use crate::node::security::PeerSecurity;
use crate::raft::CoreConfig;

/// All settings of one node, validated. Made by [`RaftBuilder::node_config`](super::RaftBuilder::node_config).
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node.
    pub address: PeerAddress,
    /// The configured node id is an id alone, without host and port. Where it is not the name of a host, the node listens
    /// on a free port of loopback.
    pub is_bare_id: bool,
    /// The other nodes.
    pub peers: Vec<PeerAddress>,
    /// Name of the cluster. Empty only where `join` is set: then the store has the name, or the first node that connects
    /// brings it.
    pub cluster_id: String,
    /// A store with data keeps its own cluster id.
    pub cluster_id_only_if_new: bool,
    /// Where clients reach this node. May be empty.
    pub client_addr: String,
    /// Where log, vote and snapshots are stored. `None`: in memory.
    pub data_dir: Option<PathBuf>,
    /// The node is not an initial member, and waits to be added.
    pub join: bool,
    /// The node may be the only member of its cluster, so no peer may be able to repair it.
    pub may_be_alone: bool,
    /// Corrupt files are set aside, and the node rejoins with an empty store.
    pub repair: bool,
    /// A data directory that is a copy is used, although no other member can tell what it lacks.
    pub accept_copy: bool,
    /// Proof of identity and encryption of the connections between peers.
    pub peer_security: Option<Arc<dyn PeerSecurity>>,
    /// Settings of the consensus core.
    pub core: CoreConfig,
    /// Limits of the driver.
    pub driver: DriverLimits,
}
