//! A node whose store is outdated: it was replaced by another store, or is a copy of an older state. The node takes a new store id,
//! is not eligible to vote, and rejoins.

use std::time::Duration;

use crate::ids::StoreId;
use crate::message::StoreReplaced;
use crate::raft::Core;
use crate::raft::bootstrap::Bootstrap;
use crate::raft::rejoin::Rejoin;
use crate::raft::voting::Ineligible;

impl Core {
    /// A peer knows a later store or a later run of this node.
    pub(super) fn on_store_replaced(&mut self, report: &StoreReplaced) {
        if report.store_id == self.store_id && report.run == self.runs.current() {
            self.abandon_store();
        }
    }

    /// The configuration in effect may have changed: if it names another store for this node, the own one is outdated.
    pub(super) fn check_named_store(&mut self) {
        let named = self.membership().store_id(&self.config.id);
        let other = named != StoreId::NONE && named != self.store_id;
        let votes = self.membership().is_voter(&self.config.id);
        if other && votes && self.store_id != StoreId::NONE && self.can_vote() {
            self.abandon_store();
        }
    }

    /// From now on this node neither votes nor counts. Once the new id is durable, it rejoins with it.
    fn abandon_store(&mut self) {
        if self.replacing_store {
            return;
        }
        self.replacing_store = true;
        let run = self.rng.below(u64::MAX);
        self.ineligible = Some(Ineligible {
            bootstrap: Bootstrap::new(run, false, self.now),
            rejoin: Rejoin::default(),
            completing_store: false,
        });
        if self.role.kind() != super::Role::Follower {
            self.become_follower(self.hard_state.term, None);
        }
        self.out.replace_store = Some(StoreId(self.rng.below(u64::MAX).max(1)));
    }

    /// The store has this id from now on, and is marked as incomplete.
    pub fn store_replaced(&mut self, now: Duration, store_id: StoreId) {
        self.now = self.now.max(now);
        self.replacing_store = false;
        self.store_id = store_id;
    }

    /// Whether this node has abandoned its store and waits until the new id is durable.
    pub(super) fn is_replacing_store(&self) -> bool {
        self.replacing_store
    }
}
