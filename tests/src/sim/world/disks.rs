//! Disks that are lost: replaced by empty ones, or by old copies.

use std::time::Duration;

use task_queue_raft::ids::{Index, LogId, StoreId};
use task_queue_raft::storage::LogStore;

use super::World;
use super::node::Node;
use crate::sim::planted::Planted;
use crate::sim::profile::{FaultKind, Releases};
use crate::sim::store::{Durable, SavedLog, SimLog};
use crate::sim::violation::Violation;

impl World {
    pub(super) fn wipe_disk(&mut self, node: usize, down: Duration) -> Result<(), Violation> {
        let early = self.may_lose_disk_of_founder(node);
        if !early && !self.may_lose_disk(node) {
            return Ok(());
        }
        self.early_wipes += usize::from(early);
        self.crash(node, down)?;
        self.lose_disk(node, SimLog::wipe);
        self.coverage.wipes += 1;
        self.coverage.early_wipes += u64::from(early);
        Ok(())
    }

    /// In some of the runs with lost disks, one is lost before the cluster exists. The faults of the storm come later.
    pub(super) fn wipe_a_founder(&mut self) -> Result<(), Violation> {
        let wipes = self.profile.faults.contains(&FaultKind::WipeDisk);
        if !wipes || !self.fault_rng.chance(300) {
            return Ok(());
        }
        let early = self.fault_rng.millis(1, 30);
        self.run_until(early)?;
        let node = self.fault_rng.place(self.founders);
        self.wipe_disk(node, early)
    }

    /// Keeps a copy of a disk, or replaces the disk by the copy.
    pub(super) fn old_disk(&mut self, node: usize, down: Duration) -> Result<(), Violation> {
        if self.nodes[node].copy.is_none() || self.fault_rng.chance(200) {
            let state = &mut self.nodes[node];
            let snapshots = state.snapshots.copy();
            state.copy = state.log.copy().map(|log| (log, snapshots));
            return Ok(());
        }
        // A node finds a copied directory by itself (record of its origin). It does not find a disk that was reset as a whole:
        // that only peers recognize, if they have met a later run.
        let careless = self.planted.is_some_and(Planted::is_of_copies);
        // Where voters change, an old configuration may need no peer.
        let changes = self.profile.faults.contains(&FaultKind::ChangeMembers);
        let current = self.profile.releases != Releases::Rollout;
        let hides = current && !changes && self.fault_rng.chance(800);
        let found = !hides && !careless;
        if !self.may_lose_disk(node) || !found && !careless && !self.is_known_as_old(node) {
            return Ok(());
        }
        self.crash(node, down)?;
        let new_id = StoreId(self.fault_rng.number() | 1);
        let state = &self.nodes[node];
        let Some((log, snapshots)) = &state.copy else {
            return Ok(());
        };
        state.log.put_back(log, state.snapshots.reach());
        state.snapshots.put_back(snapshots);
        if found {
            let done = state.log.clone().replace_store_id(new_id);
            done.map_err(|error| Violation {
                invariant: "a sound disk takes every task",
                detail: error.to_string(),
            })?;
        }
        self.invariants.forget(&state.id);
        self.coverage.old_disks += 1;
        self.coverage.hidden_copies += u64::from(!found);
        self.trace.note(self.now, node, u64::from(found), || {
            format!("has an old copy of its disk now; the node finds that: {found}")
        });
        Ok(())
    }

    /// Whether all other nodes recognize the copy of a node's disk as outdated.
    fn is_known_as_old(&self, node: usize) -> bool {
        let state = &self.nodes[node];
        let Some((copy, _)) = &state.copy else {
            return false;
        };
        let knows = |copy: &SavedLog, other: &Node| {
            let met = other.log.met(&state.id);
            met.is_some_and(|met| copy.is_known_as_old(&met))
        };
        let mut others = self.nodes.iter().filter(|other| other.index != node);
        others.all(|other| knows(copy, other))
    }

    /// Whether the disk of this node may be lost, at any moment: the others that are eligible to vote are a quorum of every
    /// configuration that may be in effect. So no acknowledged entry is lost with it, and the cluster can go on.
    pub(super) fn may_lose_disk(&self, node: usize) -> bool {
        let others: Vec<bool> = (0..self.nodes.len()).map(|other| other != node).collect();
        self.is_quorum(&others)
    }

    /// Whether the disk of this node may be lost before the cluster exists. A majority of the stores that have responded to
    /// a probe must remain, because the first member counts on them.
    fn may_lose_disk_of_founder(&self, node: usize) -> bool {
        let has_nothing = |state: &Node| {
            let core = state.core();
            state.log.durable(Durable::last) == LogId::default()
                && core.is_none_or(|core| core.membership_index() == Index::ZERO)
        };
        node < self.founders
            && self.early_wipes < (self.founders - 1) / 2
            && self.nodes.iter().all(has_nothing)
    }

    /// A node has another store from now on, which is empty.
    pub(super) fn lose_disk(&mut self, node: usize, lose: impl FnOnce(&SimLog, u64, Index)) {
        let store_id = self.fault_rng.number() | 1;
        let state = &mut self.nodes[node];
        state.quarantined = false;
        state.stopped_by = None;
        lose(&state.log, store_id, state.snapshots.reach());
        state.snapshots.wipe();
        self.invariants.forget(&state.id);
        self.trace.note(self.now, node, store_id, || {
            format!("has an empty disk now, store {store_id}")
        });
    }
}
