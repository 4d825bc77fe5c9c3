//! The initial members of a cluster: `id=host:port,id=host:port,…`.

use std::collections::BTreeMap;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use task_queue_raft::address::is_valid_id;
use thiserror::Error;

use super::address::{HostPort, ListenAddressError};

/// Maximum number of nodes in a cluster.
const MAX_NODES: usize = 64;

/// One member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterPeer {
    /// Node id.
    pub(crate) node_id: String,
    /// Address for its peers.
    pub(crate) addr: HostPort,
}

/// The initial members, in the order given: 1 to 64, with distinct ids and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterSpec {
    members: Vec<ClusterPeer>,
}

/// A list of members is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ClusterError {
    /// The list or one of its items is empty.
    #[error(
        "the list of nodes has an empty item; write id=host:port,id=host:port,… without a comma at the end"
    )]
    Empty,
    /// An item without `=`.
    #[error("the node {0:?} has no address; write id=host:port, for example node1=127.0.0.1:7101")]
    NoAddress(String),
    /// A node id is not valid.
    #[error(
        "the node id {0:?} is not valid; use 1 to 255 visible ASCII characters other than `@`, `,` and `=`"
    )]
    BadId(String),
    /// An address is not valid.
    #[error("the address of the node {node_id} is not valid: {source}")]
    BadAddress {
        /// The node.
        node_id: String,
        /// Why it is not valid.
        #[source]
        source: ListenAddressError,
    },
    /// Port 0, which is for listening only.
    #[error(
        "the node {0} has port 0, which its peers cannot connect to; use a port from 1 to 65535"
    )]
    PortZero(String),
    /// Two nodes with the same id.
    #[error("the node {0} is in the list twice; give each node its own id")]
    DuplicateId(String),
    /// Two nodes with the same address.
    #[error(
        "the nodes {first} and {second} have the same address {addr}; give each node its own address"
    )]
    DuplicateAddress {
        /// The first of them.
        first: String,
        /// The second of them.
        second: String,
        /// Their address.
        addr: HostPort,
    },
    /// More than 64 nodes.
    #[error("the list has {0} nodes, the limit is {MAX_NODES}; use 3, 5 or 7 nodes")]
    TooMany(usize),
}

impl FromStr for ClusterSpec {
    type Err = ClusterError;

    fn from_str(list: &str) -> Result<Self, ClusterError> {
        let members = list
            .split(',')
            .map(|text| member(text.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(members)
    }
}

fn member(text: &str) -> Result<ClusterPeer, ClusterError> {
    if text.is_empty() {
        return Err(ClusterError::Empty);
    }
    let (node_id, addr) = text
        .split_once('=')
        .ok_or_else(|| ClusterError::NoAddress(text.to_owned()))?;
    if !is_valid_id(node_id) {
        return Err(ClusterError::BadId(node_id.to_owned()));
    }
    let node_id = node_id.to_owned();
    let addr: HostPort = match addr.parse() {
        Ok(addr) => addr,
        Err(source) => return Err(ClusterError::BadAddress { node_id, source }),
    };
    if addr.port == 0 {
        return Err(ClusterError::PortZero(node_id));
    }
    Ok(ClusterPeer { node_id, addr })
}

impl ClusterSpec {
    /// A cluster of these members.
    ///
    /// # Errors
    /// The list is empty, too long, or has duplicate ids or addresses.
    pub(crate) fn new(members: Vec<ClusterPeer>) -> Result<Self, ClusterError> {
        if members.is_empty() {
            return Err(ClusterError::Empty);
        }
        if members.len() > MAX_NODES {
            return Err(ClusterError::TooMany(members.len()));
        }
        let mut by_id = BTreeMap::new();
        let mut by_addr = BTreeMap::new();
        for ClusterPeer { node_id, addr } in &members {
            if by_id.insert(node_id, addr).is_some() {
                return Err(ClusterError::DuplicateId(node_id.clone()));
            }
            if let Some(first) = by_addr.insert(addr, node_id) {
                let (first, second) = (first.clone(), node_id.clone());
                return Err(ClusterError::DuplicateAddress {
                    first,
                    second,
                    addr: addr.clone(),
                });
            }
        }
        Ok(Self { members })
    }

    /// A single-node cluster.
    pub(crate) fn alone(node_id: &str, addr: HostPort) -> Self {
        Self {
            members: vec![ClusterPeer {
                node_id: node_id.to_owned(),
                addr,
            }],
        }
    }

    /// The members.
    pub(crate) fn members(&self) -> &[ClusterPeer] {
        &self.members
    }

    /// Address of a node for its peers.
    pub(crate) fn address_of(&self, node_id: &str) -> Option<&HostPort> {
        self.members
            .iter()
            .find(|member| member.node_id == node_id)
            .map(|member| &member.addr)
    }

    /// All node ids, for error messages.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self
            .members
            .iter()
            .map(|member| member.node_id.as_str())
            .collect();
        names.join(", ")
    }

    /// A cluster id derived from ids and addresses of all members, in any order. Clusters with different members have
    /// different ids and refuse each other's connections.
    pub(crate) fn derived_id(&self) -> String {
        let mut nodes: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}={}", member.node_id, member.addr))
            .collect();
        nodes.sort();
        let digest = Sha256::digest(nodes.join(","));
        let hex: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("oarlock-{hex}")
    }
}
