//! Errors about the settings of a node.

use thiserror::Error;

use super::address::{HostPort, ListenAddressError};
use super::cluster::ClusterError;
use crate::signers::SignersError;
use crate::tls::files::CertFileError;

/// Longest cluster id, in bytes: a limit of the protocol between nodes.
pub(super) const MAX_CLUSTER_ID_BYTES: usize = 255;

/// A setting is not valid. Each variant belongs to one flag.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// `--cluster`.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// `--peer-addr` or `--client-addr`.
    #[error(transparent)]
    Address(#[from] ListenAddressError),
    /// `--node-id` is missing, and the cluster has several nodes.
    #[error(
        "the node id is missing, and the cluster has {nodes} nodes; set --node-id to one of {known}"
    )]
    NoNodeId {
        /// Number of nodes.
        nodes: usize,
        /// Their ids.
        known: String,
    },
    /// `--node-id` is missing for a node that joins a cluster.
    #[error(
        "--join needs a node id; set --node-id, and --peer-addr to an address that the other nodes can reach"
    )]
    NamelessJoin,
    /// `--node-id` is not in the cluster.
    #[error(
        "the node {node_id:?} is not in the cluster of {known}; use one of these ids, or add the node to --cluster on every node"
    )]
    NotInCluster {
        /// The node id.
        node_id: String,
        /// The ids in the cluster.
        known: String,
    },
    /// `--node-id` is not valid.
    #[error(
        "the node id {0:?} is not valid; use 1 to 255 visible ASCII characters other than `@`, `,` and `=`"
    )]
    NodeId(String),
    /// `--cluster-id` is not valid.
    #[error(
        "the cluster id is not valid; use 1 to {MAX_CLUSTER_ID_BYTES} bytes without control characters"
    )]
    ClusterId,
    /// `--certs-dir` has files that can't be used.
    #[error(transparent)]
    Certificates(#[from] CertFileError),
    /// `--module-signers`.
    #[error(transparent)]
    ModuleSigners(#[from] SignersError),
    /// `--certs-dir` has the certificate of another node.
    #[error(
        "the certificate is {found}, and this is the node {node_id} of the cluster {cluster_id:?}; use the directory of this node, \
         or correct --node-id or --cluster-id"
    )]
    ForeignCertificate {
        /// Who the certificate belongs to.
        found: String,
        /// The id of this node.
        node_id: String,
        /// The cluster of this node.
        cluster_id: String,
    },
    /// An address that is not of the loopback interface, without `--insecure`.
    #[error(
        "other machines can connect to {0}, and without certificates everyone who connects can read and change everything; use TLS \
         with --certs-dir DIR (see `oarlock cert --help`), an address of the loopback interface such as 127.0.0.1, or, in a \
         trusted network, --insecure"
    )]
    Unprotected(HostPort),
    /// `--allow-host` is not valid.
    #[error(
        "{0:?} is not a host name or an address; write it without scheme and port, for example oarlock.example"
    )]
    AllowedHost(String),
    /// Two timeouts or two counts are in the wrong order.
    #[error("{low_name} is {low} and {high_name} is {high}; set {low_name} {rule} {high_name}")]
    Order {
        /// Flag of the lower value.
        low_name: &'static str,
        /// Value of that flag.
        low: u64,
        /// Flag of the higher value.
        high_name: &'static str,
        /// Value of that flag.
        high: u64,
        /// `below` or `to at most`.
        rule: &'static str,
    },
}
