//! Why a node does not start, or stops.

use std::sync::Arc;

use thiserror::Error;

use super::config::ConfigError;
use crate::applier::ApplierError;
use crate::node;
use crate::raft::fault::CoreFault;
use crate::storage::StorageError;

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Files are corrupt, and this node has no peers to repair them from.
    #[error(
        "{0}. This node has no peers to repair from, so it changes nothing: keep a copy of its data directory. If its cluster has other members, start it with --repair and --join"
    )]
    NoPeersToRepairFrom(#[source] Box<StartError>),
    /// The newest snapshot can't be restored.
    #[error(transparent)]
    Restore(#[from] ApplierError),
    /// The node can't listen on its address.
    #[error("cannot listen for peers on {address}: {source}; is another node running there?")]
    Listen {
        /// The address.
        address: String,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The network can't be set up.
    #[error(transparent)]
    Network(#[from] node::NetworkStartError),
    /// The node is running, or was stopped. A node starts once.
    #[error("this node was started before; build a new one")]
    StartedBefore,
    /// The operating system can't start a thread.
    #[error("a thread could not be started: {0}; raise the limit on threads or on memory")]
    Thread(#[source] std::io::Error),
}

/// The error that stopped a node. All that the node has acknowledged is on its disk.
#[derive(Clone, Debug, Error)]
pub enum FatalError {
    /// The disk failed. What it holds after that is unknown, so the node acknowledges nothing more.
    #[error("{0}")]
    Storage(Arc<StorageError>),
    /// The state machine failed.
    #[error("{0}")]
    Machine(Arc<ApplierError>),
    /// The log contradicts the log of another node, or this release can't read it.
    #[error("{0}")]
    Core(CoreFault),
    /// A thread panicked: a bug.
    #[error("{thread} panicked: {message}; this is a bug")]
    Panic {
        /// Name of the thread.
        thread: &'static str,
        /// Message of the panic.
        message: String,
    },
}
