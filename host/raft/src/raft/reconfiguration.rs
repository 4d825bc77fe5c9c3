//! How a leader changes the membership, and what follows from a change on every node (dissertation §4).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::entry::{CommandClass, Payload};
use crate::ids::{Index, NodeId};
use crate::raft::membership::Membership;
use crate::raft::membership::change::{Change, ChangeError, ChangeProgress};
use crate::raft::progress::Progress;
use crate::raft::{Core, ProposeError};

impl Core {
    /// Takes the next step of a change: new members become learners; once they have caught up, a joint configuration follows,
    /// then the target. Repeat the call until it returns [`ChangeProgress::Done`].
    ///
    /// # Errors
    /// If this node is not the leader, another change is in progress, the change is invalid, or a new voter has not caught up.
    pub fn change_members(
        &mut self,
        now: Duration,
        wall_ms: u64,
        change: &Change,
    ) -> Result<ChangeProgress, ChangeError> {
        self.now = self.now.max(now);
        if !self.role.is_leader() {
            return Err(ChangeError::NotLeader);
        }
        let settled = self.membership().settled();
        let target = change.apply(&settled)?;
        if target == settled {
            return Ok(self.settled_progress());
        }
        if !self.may_change_members() {
            return Err(ChangeError::Busy);
        }
        let members = settled.members();
        let lacks = target.members().keys().any(|id| !members.contains_key(id));
        let next = if lacks {
            settled.with_learners_of(&target)
        } else {
            self.check_caught_up(&settled, &target)?;
            self.with_store_ids(settled.joint_with(&target))
        };
        self.check_bounds(CommandClass::Control)
            .map_err(|error| match error {
                ProposeError::Overloaded { what } => ChangeError::Overloaded {
                    what: what.to_owned(),
                },
                ProposeError::DiskFull => ChangeError::Overloaded {
                    what: "entries for the leader's full disk".to_owned(),
                },
                ProposeError::NotLeader
                | ProposeError::Transferring
                | ProposeError::TimeUnknown => ChangeError::Busy,
            })?;
        self.append_own(wall_ms, Payload::Membership(next));
        Ok(ChangeProgress::InProgress)
    }

    /// Whether the leader may append a configuration. Only one change at a time is possible, and none before the leader has
    /// committed an entry of its term. Otherwise an uncommitted configuration of an earlier leader could win a majority
    /// that does not overlap with the new one.
    pub(super) fn may_change_members(&self) -> bool {
        !self.membership().is_joint()
            && self.is_membership_committed()
            && self.has_committed_in_term()
            && self.transferring_to().is_none()
    }

    fn settled_progress(&self) -> ChangeProgress {
        if self.is_membership_committed() && !self.membership().is_joint() {
            ChangeProgress::Done(self.membership_index())
        } else {
            ChangeProgress::InProgress
        }
    }

    /// Whether the target of this change is committed. Valid on every node.
    #[must_use]
    pub fn is_changed(&self, change: &Change) -> bool {
        let membership = self.membership();
        self.is_membership_committed()
            && !membership.is_joint()
            && change
                .apply(membership)
                .is_ok_and(|target| target == *membership)
    }

    /// A new voter that lacks many entries would delay every commit that needs it (dissertation §4.2.1).
    fn check_caught_up(
        &self,
        settled: &Membership,
        target: &Membership,
    ) -> Result<(), ChangeError> {
        for id in target.voters().filter(|id| !settled.is_voter(id)) {
            if !self.has_caught_up(id) {
                let behind = self.behind(id);
                let node = id.clone();
                return Err(ChangeError::NotCaughtUp { node, behind });
            }
        }
        Ok(())
    }

    /// Whether a peer has acknowledged all but a few of the committed entries.
    pub(super) fn has_caught_up(&self, id: &NodeId) -> bool {
        self.matched(id) > Index::ZERO && self.behind(id) <= self.config.limits.promote_lag
    }

    fn matched(&self, id: &NodeId) -> Index {
        self.role.peer(id).map_or(Index::ZERO, |peer| peer.matched)
    }

    fn behind(&self, id: &NodeId) -> u64 {
        self.log.committed.0.saturating_sub(self.matched(id).0)
    }

    /// The commit index has grown. A leader ends a joint configuration once it is committed, and steps down if it is no longer
    /// a voter (dissertation §4.3).
    pub(super) fn after_commit(&mut self) {
        self.configurations.compact(self.log.committed);
        if !self.role.is_leader() || !self.is_membership_committed() {
            return;
        }
        if self.membership().is_joint() {
            let settled = self.membership().settled();
            self.append_own(0, Payload::Membership(settled));
        } else if !self.membership().is_voter(&self.config.id) {
            // Informs the other members immediately that the entry which removes this leader is committed.
            self.broadcast_heartbeat();
            self.step_down();
        } else {
            self.promote_rejoined();
        }
    }

    /// The configuration in effect may have changed.
    pub(super) fn on_members_changed(&mut self) {
        self.update_peers(self.log.last().index.previous());
        self.update_contacts();
        self.update_cluster_clock();
    }

    /// A leader replicates to all members. It assumes that a new peer has the entries up to `last`. A removed peer stays for a
    /// while, so that it receives the entry that removes it.
    pub(super) fn update_peers(&mut self, last: Index) {
        let now = self.now;
        let membership = self.configurations.current();
        let own = &self.config.id;
        let Some(leader) = self.role.as_leader_mut() else {
            return;
        };
        for id in membership.members().keys().filter(|id| *id != own) {
            let peer = leader.peers.entry(id.clone());
            peer.or_insert_with(|| Progress::new(last, now)).removed = None;
        }
        let until = (
            self.configurations.index(),
            now + self.config.election_timeout_max,
        );
        for (id, peer) in &mut leader.peers {
            if !membership.contains(id) {
                peer.removed.get_or_insert(until);
            }
        }
    }

    /// Drops the removed peers that have received the commit of their removal, or had enough time for it.
    pub(super) fn forget_removed(&mut self) {
        let (now, committed) = (self.now, self.log.committed);
        let gone = |peer: &Progress| {
            peer.removed.is_some_and(|(index, until)| {
                now >= until
                    || peer.matched >= index && committed >= index && peer.sent_commit >= index
            })
        };
        let Some(leader) = self.role.as_leader_mut() else {
            return;
        };
        if leader.peers.values().any(gone) {
            leader.peers.retain(|_, peer| !gone(peer));
            self.update_contacts();
        }
    }

    /// The ids of the leader's peers; empty on another node.
    pub(super) fn peer_ids(&self) -> Vec<NodeId> {
        self.peers().keys().cloned().collect()
    }

    /// Gives the network the list of peers to connect to, if it has changed.
    pub(super) fn update_contacts(&mut self) {
        let members = self.configurations.current().members();
        let mut contacts: BTreeMap<NodeId, String> = members
            .iter()
            .filter(|(id, _)| **id != self.config.id)
            .map(|(id, member)| (id.clone(), member.address.clone()))
            .collect();
        for id in self.peers().keys().filter(|id| !members.contains_key(*id)) {
            // A removed peer keeps the address that it had.
            if let Some(address) = self.contacts.get(id) {
                contacts.insert(id.clone(), address.clone());
            }
        }
        if contacts != self.contacts {
            self.contacts.clone_from(&contacts);
            self.out.contacts = Some(contacts);
        }
    }
}
