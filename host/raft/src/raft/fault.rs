//! Reasons for which a core stops. It does nothing more, so that the data of the node stays as it is.

use thiserror::Error;

use crate::ids::{LogId, NodeId};
use crate::raft::Core;

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

impl Core {
    /// Why this core has stopped, if it has.
    #[must_use]
    pub fn fault(&self) -> Option<&CoreFault> {
        self.fault.as_ref()
    }

    /// Stops the core. The first fault counts.
    pub(super) fn fail(&mut self, fault: CoreFault) {
        self.fault.get_or_insert(fault);
    }

    /// Stops the core if it does not know this level.
    pub(super) fn check_level(&mut self, level: u32) {
        let known = self.config.known_level;
        if level > known {
            self.fail(CoreFault::Level { level, known });
        }
    }

    /// Stops the core if a committed entry of this node differs from the leader's entry `theirs`. Returns whether it has stopped.
    pub(super) fn conflicts(&mut self, peer: &NodeId, theirs: LogId) -> bool {
        let index = theirs.index;
        let committed = index <= self.log.committed();
        // None before the purge point: what was there is not known any more.
        let Some(term) = self.log.term_at(index).filter(|_| committed) else {
            return false;
        };
        let ours = LogId::new(term, index);
        if ours == theirs {
            return false;
        }
        self.fail(CoreFault::Conflict {
            ours,
            theirs,
            peer: peer.clone(),
        });
        true
    }
}
