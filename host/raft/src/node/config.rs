//! The configuration of a [`Network`](super::Network) and its validation.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::hello::{MAX_CLIENT_ADDR_BYTES, MAX_CLUSTER_ID_BYTES, MAX_PEER_ADDR_BYTES};
use super::limits::NetworkLimits;
use super::security::PeerSecurity;
use crate::address::{PeerAddress, is_valid_id};
use crate::identity::NodeIdentity;
use crate::ids::NodeId;

/// Which nodes may connect to this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerCheck {
    /// Only the configured peers.
    #[default]
    Listed,
    /// As [`PeerCheck::Cluster`], for a node that has no cluster id yet: it adopts the cluster id of the first node
    /// that connects to it under its own node id. Such a node waits until it is added as a member.
    Join,
    /// Every node of the same cluster. A follower needs this: the first message about a new member may come from a
    /// leader that is not in its configuration yet (Raft paper §6).
    Cluster,
}

/// What a [`Network`](super::Network) is started with.
#[derive(Debug)]
pub struct NetworkConfig {
    /// Id of the cluster, at most 255 bytes. Nodes of different clusters refuse each other. Empty only with
    /// [`PeerCheck::Join`].
    pub cluster_id: String,
    /// Id of this node.
    pub node_id: NodeId,
    /// The bound socket that peers connect to.
    pub listener: std::net::TcpListener,
    /// The other members. This node may be in the list and is skipped.
    pub peers: Vec<PeerAddress>,
    /// The address that this node serves clients on, sent to every peer; at most 512 bytes, may be empty.
    pub client_addr: String,
    /// The address that peers reach this node at, sent to every peer; at most 512 bytes, may be empty.
    pub peer_addr: String,
    /// What the hello of this node contains of its store at the start.
    pub identity: NodeIdentity,
    /// Which nodes may connect.
    pub peer_check: PeerCheck,
    /// Sizes and timeouts.
    pub limits: NetworkLimits,
    /// Proof of identity and encryption. `None`: connections are neither authenticated nor encrypted.
    pub security: Option<Arc<dyn PeerSecurity>>,
}

/// Why a network did not start.
#[derive(Debug, Error)]
pub enum NetworkStartError {
    /// The caller is not in a tokio runtime.
    #[error("the network needs a tokio runtime with IO and time enabled: start it from within one")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
    /// The operating system refused the socket.
    #[error("the socket for peers can't be used: check that it is a listening TCP socket")]
    Listener(#[source] io::Error),
    /// A name is too long, or it contains characters that would break a log line.
    #[error("the {field} is not valid: {rule}")]
    Name {
        /// The name of the setting.
        field: &'static str,
        /// The rule that the setting breaks.
        rule: &'static str,
    },
    /// Two limits contradict each other, or one is out of its range.
    #[error("the network's limits are not valid: {0}")]
    Limits(&'static str),
}

impl NetworkConfig {
    /// Checks every setting; returns the first one that is not valid.
    pub(super) fn check(&self) -> Result<(), NetworkStartError> {
        let fits =
            |text: &str, max_bytes| text.len() <= max_bytes && !text.chars().any(char::is_control);
        if !is_valid_id(self.node_id.as_str()) {
            let rule = "use 1 to 255 visible ASCII characters other than `@` and `,`";
            return Err(NetworkStartError::Name {
                field: "node id",
                rule,
            });
        }
        let unnamed = self.cluster_id.is_empty() && self.peer_check != PeerCheck::Join;
        if unnamed || !fits(&self.cluster_id, MAX_CLUSTER_ID_BYTES) {
            let rule = "use 1 to 255 bytes without control characters";
            return Err(NetworkStartError::Name {
                field: "cluster id",
                rule,
            });
        }
        if !fits(&self.client_addr, MAX_CLIENT_ADDR_BYTES) {
            let rule = "use at most 512 bytes without control characters";
            return Err(NetworkStartError::Name {
                field: "client address",
                rule,
            });
        }
        if !fits(&self.peer_addr, MAX_PEER_ADDR_BYTES) {
            let rule = "use at most 512 bytes without control characters";
            return Err(NetworkStartError::Name {
                field: "peer address",
                rule,
            });
        }
        self.limits
            .problem()
            .map_or(Ok(()), |problem| Err(NetworkStartError::Limits(problem)))
    }
}
