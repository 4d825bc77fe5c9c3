//! The messages of a rejoin, on both sides. [`super::rejoin`] describes the steps.

use crate::entry::{CommandClass, Payload};
use crate::ids::{NodeId, StoreId};
use crate::message::{RaftRequest, RaftResponse, RejoinGranted, StoreMismatch};
use crate::raft::Core;
use crate::raft::membership::{Member, MemberRole, Membership};
use crate::raft::progress::Progress;

impl Core {
    /// Voters that have lost their stores and have not rejoined, as far as they have reported it to this node.
    #[must_use]
    pub fn voters_without_data(&self) -> Vec<NodeId> {
        self.replaced_stores.voters_without_data(self.membership())
    }

    pub(super) fn note_replaced_store(&mut self, id: &NodeId, store_id: StoreId) {
        let members = self.configurations.current();
        self.replaced_stores.insert(id, store_id, members);
    }

    // ----- as the node that has lost its store -----

    /// Whether this node may acknowledge messages of this leader. Otherwise it reports its store id.
    pub(super) fn may_acknowledge(&mut self, leader: &NodeId) -> bool {
        let term = self.hard_state.term;
        let Some(ineligible) = &self.ineligible else {
            return true;
        };
        if self.is_replacing_store() {
            return false;
        }
        let granted = ineligible.rejoin.is_granted(leader, term);
        if !granted {
            self.report_store(leader);
        }
        granted
    }

    fn report_store(&mut self, leader: &NodeId) {
        let response = StoreMismatch {
            term: self.hard_state.term,
            store_id: self.store_id,
        };
        self.respond_in_term(leader, RaftResponse::StoreMismatch(response));
    }

    /// Reports the store id again if this node has the committed entries of the leader, and the configuration names another
    /// store for it. A late report of an earlier store may have reached the leader last, and store ids have no order. A leader
    /// that has the right id sends `RejoinGranted` again.
    pub(super) fn repeat_store_mismatch(&mut self, leader: &NodeId) {
        let members = self.membership();
        let mismatch = members.votes_by_another(&self.config.id, self.store_id);
        if self.ineligible.is_some() && mismatch && !self.is_replacing_store() {
            self.report_store(leader);
        }
    }

    /// The leader counts the acknowledgements of this store.
    pub(super) fn on_rejoin_granted(&mut self, from: &NodeId, granted: &RejoinGranted) {
        self.observe_term(granted.term);
        let term = self.hard_state.term;
        let ours = granted.term == term && granted.store_id == self.store_id;
        if let Some(ineligible) = self.ineligible.as_mut().filter(|_| ours) {
            ineligible.rejoin.grant(from, term);
        }
    }

    // ----- as the leader -----

    /// A peer reports a store other than the one in the configuration.
    pub(super) fn on_store_mismatch(&mut self, from: &NodeId, response: &StoreMismatch) {
        self.observe_term(response.term);
        if response.term != self.hard_state.term {
            return;
        }
        let (now, last) = (self.now, self.log.last().index);
        let Some(peer) = self.role.peer_mut(from) else {
            return;
        };
        if peer.store_id != Some(response.store_id) {
            // The entries of its former store are lost, and so are the messages in flight.
            *peer = Progress {
                heard_at: peer.heard_at,
                removed: peer.removed,
                store_id: Some(response.store_id),
                ..Progress::new(last, now)
            };
        }
        self.note_replaced_store(from, response.store_id);
        if self.membership().votes_by_another(from, response.store_id) {
            self.take_out_of_voters(from, response.store_id);
        }
        if !self.membership().votes_by_another(from, response.store_id) {
            let granted = RejoinGranted {
                term: self.hard_state.term,
                store_id: response.store_id,
            };
            self.request(from, RaftRequest::RejoinGranted(granted), 0);
        }
    }

    /// Takes a voter that has lost its store out of the voters, if a change is possible now. Its next response retries.
    fn take_out_of_voters(&mut self, id: &NodeId, store_id: StoreId) {
        let next = self.membership().without_store_of(id, store_id);
        if self.may_change_members()
            && next.is_valid()
            && self.check_bounds(CommandClass::Control).is_ok()
        {
            self.append_own(0, Payload::Membership(next));
        }
    }

    /// Makes rejoining members that have caught up voters again.
    pub(super) fn promote_rejoined(&mut self) {
        let settled = self.membership();
        let rejoining = |member: &Member| member.role == MemberRole::Rejoining;
        if !self.role.is_leader()
            || !settled.members().values().any(rejoining)
            || !self.may_change_members()
        {
            return;
        }
        let target = settled.with_rejoined(|id| self.has_caught_up(id));
        if target != *settled && self.check_bounds(CommandClass::Control).is_ok() {
            let next = self.with_store_ids(settled.joint_with(&target));
            self.append_own(0, Payload::Membership(next));
        }
    }

    /// Adds the ids of the stores by which the new voters vote.
    pub(super) fn with_store_ids(&self, next: Membership) -> Membership {
        let add = |(id, member): (&NodeId, &Member)| {
            let mut member = member.clone();
            let reported = self.role.peer(id).and_then(|peer| peer.store_id);
            let reported = reported.or_else(|| self.met.store_id(id));
            if let (MemberRole::Incoming, Some(store_id)) = (member.role, reported) {
                member.store_id = store_id;
            }
            (id.clone(), member)
        };
        Membership::new(next.members().iter().map(add).collect())
    }
}
