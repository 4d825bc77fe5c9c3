//! How a leader changes the membership, and how any node takes a change in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Change, ChangeError, ChangeProgress, Membership};
use crate::entry::Payload;
use crate::ids::{Index, NodeId};
use crate::raft::progress::Progress;
use crate::raft::{Core, ProposeError, Role};

impl Core {
    /// Brings a change of the membership one step further: first what it adds become learners, then, once they have
    /// caught up, old and new voters decide together, then the new ones alone. Asked again until it is done.
    ///
    /// # Errors
    /// Where this node does not lead, another change is under way, the change makes no sense, or somebody who is to
    /// vote has yet to catch up.
    pub fn change_members(
        &mut self,
        now: Duration,
        wall_ms: u64,
        change: &Change,
    ) -> Result<ChangeProgress, ChangeError> {
        self.now = self.now.max(now);
        if self.role != Role::Leader {
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
            self.by_their_stores(settled.joint_with(&target))
        };
        self.check_bounds().map_err(|error| match error {
            ProposeError::Overloaded { what } => ChangeError::Overloaded {
                what: what.to_owned(),
            },
            ProposeError::DiskFull => ChangeError::Overloaded {
                what: "entries for which the leader's disk has no room".to_owned(),
            },
            ProposeError::NotLeader | ProposeError::Transferring => ChangeError::Busy,
        })?;
        self.append_own(wall_ms, Payload::Membership(next));
        Ok(ChangeProgress::InProgress)
    }

    /// One change at a time, and none before this leader has committed in its own term: what an earlier leader left
    /// uncommitted could otherwise meet a majority that it does not overlap.
    pub(in crate::raft) fn may_change_members(&self) -> bool {
        !self.membership().is_joint()
            && self.is_membership_committed()
            && self.has_committed_in_term()
            && self.transferring.is_none()
    }

    fn settled_progress(&self) -> ChangeProgress {
        if self.is_membership_committed() && !self.membership().is_joint() {
            ChangeProgress::Done(self.membership_index())
        } else {
            ChangeProgress::InProgress
        }
    }

    /// Whether the committed configuration is as this change wants it. Any node can say so.
    #[must_use]
    pub fn is_changed(&self, change: &Change) -> bool {
        let membership = self.membership();
        self.is_membership_committed()
            && !membership.is_joint()
            && change
                .apply(membership)
                .is_ok_and(|target| target == *membership)
    }

    /// A new voter that lacks much of the log would hold up every commit that needs it (dissertation §4.2.1).
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

    /// Whether a peer has said to this leader that it holds all but a few of the committed entries.
    pub(in crate::raft) fn has_caught_up(&self, id: &NodeId) -> bool {
        self.matched(id) > Index::ZERO && self.behind(id) <= self.config.limits.promote_lag
    }

    fn matched(&self, id: &NodeId) -> Index {
        self.peers.get(id).map_or(Index::ZERO, |peer| peer.matched)
    }

    fn behind(&self, id: &NodeId) -> u64 {
        self.log.committed.0.saturating_sub(self.matched(id).0)
    }

    /// More is committed: a leader ends the joint state once both sides have agreed to it, and steps down where it is
    /// no voter any more (dissertation §4.3).
    pub(in crate::raft) fn after_commit(&mut self) {
        self.configurations.compact(self.log.committed);
        if self.role != Role::Leader || !self.is_membership_committed() {
            return;
        }
        if self.membership().is_joint() {
            let settled = self.membership().settled();
            self.append_own(0, Payload::Membership(settled));
        } else if !self.membership().is_voter(&self.config.id) {
            self.tell_removed();
            self.step_down();
        } else {
            self.take_in_returned();
        }
    }

    /// Another configuration may be in force.
    pub(in crate::raft) fn members_changed(&mut self) {
        if self.role == Role::Leader {
            self.update_peers(self.log.last().index.previous());
        }
        self.tell_contacts();
    }

    /// A leader replicates to all members, presuming that they hold its entries up to `last`. One that was removed is
    /// told so before it is forgotten.
    pub(in crate::raft) fn update_peers(&mut self, last: Index) {
        let now = self.now;
        let membership = self.configurations.current();
        let own = &self.config.id;
        for id in membership.members().keys().filter(|id| *id != own) {
            let peer = self.peers.entry(id.clone());
            peer.or_insert_with(|| Progress::new(last, now)).leaves = None;
        }
        let until = (
            self.configurations.index(),
            now + self.config.election_timeout_max,
        );
        for (id, peer) in &mut self.peers {
            if !membership.contains(id) {
                peer.leaves.get_or_insert(until);
            }
        }
    }

    /// Lets those go that were removed and know it, or had time to learn it.
    pub(in crate::raft) fn forget_removed(&mut self) {
        let (now, committed) = (self.now, self.log.committed);
        let gone = |peer: &Progress| {
            peer.leaves.is_some_and(|(index, until)| {
                now >= until
                    || peer.matched >= index && committed >= index && peer.told_commit >= index
            })
        };
        if self.peers.values().any(gone) {
            self.peers.retain(|_, peer| !gone(peer));
            self.tell_contacts();
        }
    }

    /// Says at once that the entry that removes this leader is committed.
    fn tell_removed(&mut self) {
        self.broadcast_heartbeat();
    }

    /// All whom this node sends requests to as a leader.
    pub(in crate::raft) fn others(&self) -> Vec<NodeId> {
        self.peers.keys().cloned().collect()
    }

    /// Tells the network whom to be connected with, where that has changed.
    pub(in crate::raft) fn tell_contacts(&mut self) {
        let members = self.configurations.current().members();
        let mut contacts: BTreeMap<NodeId, String> = members
            .iter()
            .filter(|(id, _)| **id != self.config.id)
            .map(|(id, member)| (id.clone(), member.address.clone()))
            .collect();
        for id in self.peers.keys().filter(|id| !members.contains_key(*id)) {
            // On its way out; its address is the one that it had.
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
