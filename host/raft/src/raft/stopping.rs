//! How a core stops because of a [`CoreFault`].

use crate::ids::{LogId, NodeId};
use crate::raft::Core;
use crate::raft::fault::CoreFault;

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
