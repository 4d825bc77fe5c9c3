//! Who the nodes of a cluster are: `id=host:port,id=host:port,…`.

use std::collections::BTreeMap;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use task_queue_raft::address::is_valid_id;
use thiserror::Error;

use super::address::{HostPort, ListenAddressError};

/// Most nodes that a cluster may have.
const MAX_NODES: usize = 64;

/// One node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterPeer {
    /// Its name.
    pub(crate) node_id: String,
    /// Where its peers reach it.
    pub(crate) addr: HostPort,
}

/// All nodes of a cluster, in the order in which they were given: at least one, no two of one name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterSpec {
    members: Vec<ClusterPeer>,
}

/// A list is no cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ClusterError {
    /// Nothing in it, or nothing between two commas.
    #[error(
        "the list of nodes has an empty place; write id=host:port,id=host:port,… without a comma at the end"
    )]
    Empty,
    /// No `=`.
    #[error("the node {0:?} has no address; write id=host:port, as in node1=127.0.0.1:7101")]
    NoAddress(String),
    /// Not a name.
    #[error(
        "the node id {0:?} is not valid; use 1 to 255 visible ASCII characters other than `@`, `,` and `=`"
    )]
    BadId(String),
    /// Not an address.
    #[error("the node {node_id} can't be reached there: {source}")]
    BadAddress {
        /// Which node.
        node_id: String,
        /// Why.
        #[source]
        source: ListenAddressError,
    },
    /// Port 0 is for listening only.
    #[error("the node {0} has port 0, where nobody can reach it; give it a port from 1 to 65535")]
    PortZero(String),
    /// Two nodes of one name.
    #[error("the node {0} is in the list twice; each node has a name of its own")]
    DuplicateId(String),
    /// Two nodes at one address.
    #[error(
        "the nodes {first} and {second} have the same address {addr}; each node has an address of its own"
    )]
    DuplicateAddress {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// Where both are.
        addr: HostPort,
    },
    /// Too many.
    #[error("the list has {0} nodes, and {MAX_NODES} are the most; 3, 5 or 7 are usual")]
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
    /// These nodes.
    ///
    /// # Errors
    /// None, too many, or two that can't be told apart.
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

    /// One node that is a cluster by itself.
    pub(crate) fn alone(node_id: &str, addr: HostPort) -> Self {
        Self {
            members: vec![ClusterPeer {
                node_id: node_id.to_owned(),
                addr,
            }],
        }
    }

    /// The nodes.
    pub(crate) fn members(&self) -> &[ClusterPeer] {
        &self.members
    }

    /// Where the peers of a node reach it.
    pub(crate) fn address_of(&self, node_id: &str) -> Option<&HostPort> {
        self.members
            .iter()
            .find(|member| member.node_id == node_id)
            .map(|member| &member.addr)
    }

    /// All names, for people.
    pub(crate) fn names(&self) -> String {
        let names: Vec<&str> = self
            .members
            .iter()
            .map(|member| member.node_id.as_str())
            .collect();
        names.join(", ")
    }

    /// A name for the cluster that follows from who is in it: two clusters that differ in a node don't mix.
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
