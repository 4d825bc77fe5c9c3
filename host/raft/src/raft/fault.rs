//! Reasons for which a core stops. It does nothing more, so that the data of the node stays as it is.

use thiserror::Error;

use crate::ids::{LogId, NodeId};

/// Why a core has stopped. The node must not continue: each reaction could lose an acknowledged entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CoreFault {
    /// A leader has another entry at an index that is committed here.
    #[error(
        "node {peer}, as leader, sent entry {theirs} (term/index), and this node has committed entry {ours} there: the two nodes have different histories. This node stops and changes nothing. Keep the data directories of both nodes, do not start them with empty ones, and find out which one was copied, replaced or started in another cluster"
    )]
    Conflict {
        /// The committed entry of this node.
        ours: LogId,
        /// The entry of the leader.
        theirs: LogId,
        /// The leader.
        peer: NodeId,
    },
    /// The log belongs to a cluster of a level that this release does not know.
    #[error(
        "the cluster is at level {level}, and this release knows levels up to {known}. This node stops and changes nothing: start a release on it that knows level {level}"
    )]
    Level {
        /// The level in the log.
        level: u32,
        /// The highest level that this release knows.
        known: u32,
    },
}
