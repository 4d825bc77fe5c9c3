//! Old disks: of a store that was replaced, or a copy of an older state of a store. They are put back where the other nodes can
//! recognize them. Decision record 0028 lists the cases in which they can't.

use std::time::Duration;

use task_queue_raft::ids::StoreId;
use task_queue_raft::storage::memory::MemorySnapshots;

use super::World;
use crate::sim::store::OldLog;
use crate::sim::violation::Violation;

/// The most disks that are kept.
const MAX_KEPT: usize = 6;

/// A disk as it was at some time.
pub(crate) struct OldDisk {
    node: usize,
    log: OldLog,
    snapshots: MemorySnapshots,
    store_id: StoreId,
    run: u64,
}

impl World {
    /// Copies the disk of a node, if the node is eligible to vote.
    pub(super) fn copy_disk(&mut self, node: usize) {
        let state = &self.nodes[node];
        let Some(core) = state.core().filter(|core| core.can_vote()) else {
            return;
        };
        let (store_id, run) = (core.store_id(), core.runs().current());
        let Some(log) = state.log.copy() else {
            return;
        };
        let snapshots = state.snapshots.copy();
        if self.old_disks.len() >= MAX_KEPT {
            self.old_disks.remove(0);
        }
        self.old_disks.push(OldDisk {
            node,
            log,
            snapshots,
            store_id,
            run,
        });
    }

    /// Puts the oldest kept disk of a node back, if the other nodes can recognize it and the cluster can do without the node.
    pub(super) fn put_back_disk(&mut self, node: usize, down: Duration) -> Result<(), Violation> {
        let place = self.old_disks.iter().position(|old| old.node == node);
        let Some(place) = place.filter(|_| self.may_lose_disk(node)) else {
            return Ok(());
        };
        let old = &self.old_disks[place];
        if !self.is_recognized(node, old) {
            return Ok(());
        }
        let (run, store_id) = (old.run, old.store_id);
        self.crash(node, down)?;
        let old = self.old_disks.remove(place);
        let state = &self.nodes[node];
        state.log.put_back(&old.log, state.snapshots.reach());
        state.snapshots.put_back(&old.snapshots);
        self.invariants.forget(&state.id);
        self.coverage.old_disks += 1;
        self.trace.note(self.now, node, run, || {
            format!("has an old disk again, store {store_id}, run {run}")
        });
        Ok(())
    }

    /// A store that was replaced is known from the configuration. A copy needs that all others have met a later run.
    fn is_recognized(&self, node: usize, old: &OldDisk) -> bool {
        let Some(core) = self.nodes[node].core() else {
            return false;
        };
        if core.store_id() != old.store_id {
            return true;
        }
        let current = core.runs().current();
        let id = core.id();
        let has_met = |other: usize| {
            let met = self.nodes[other].log.met();
            met.iter()
                .any(|(peer, met)| peer == id && met.run == current)
        };
        let mut others = (0..self.nodes.len()).filter(|other| *other != node);
        current != old.run && others.all(has_met)
    }
}
