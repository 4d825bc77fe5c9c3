//! Leadership transfer: dissertation §3.10.
//!
//! The leader takes no more proposals, brings the target's log up to its own, and tells it to campaign at once. The
//! others vote for it although they hear a leader. Whoever has waited meanwhile is served by the new leader; and if
//! there is none within an election timeout, the old one goes on.

use std::time::Duration;

use crate::ids::NodeId;
use crate::message::{RaftRequest, TimeoutNow, TransferError};
use crate::raft::{Core, Role};

/// Leadership on its way.
#[derive(Clone, Debug)]
pub(super) struct LeadershipTransfer {
    to: NodeId,
    /// When the leader gives up.
    pub(super) deadline: Duration,
}

impl LeadershipTransfer {
    /// Who is to take over.
    pub(super) fn to(&self) -> &NodeId {
        &self.to
    }
}

impl Core {
    /// Gives leadership to `to`, or to the voter that has the most of the log. Returns who is to take over.
    ///
    /// # Errors
    /// Where this node does not lead, or nobody can take over.
    pub fn transfer_leadership(
        &mut self,
        now: Duration,
        to: Option<NodeId>,
    ) -> Result<NodeId, TransferError> {
        self.now = self.now.max(now);
        if self.role != Role::Leader {
            return Err(TransferError::NotLeader);
        }
        if to.as_ref() == Some(&self.config.id) {
            return Ok(self.config.id.clone());
        }
        if let Some(under_way) = &self.transferring {
            let same = to.is_none_or(|to| to == under_way.to);
            let to = under_way.to.clone();
            return if same {
                Ok(to)
            } else {
                Err(TransferError::Busy { to })
            };
        }
        let to = match to {
            Some(to) if self.membership().is_new_voter(&to) => to,
            Some(node) => return Err(TransferError::NotAVoter { node }),
            None => self.successor().ok_or(TransferError::NoOtherVoter)?,
        };
        let deadline = self.now + self.config.election_timeout_min;
        self.transferring = Some(LeadershipTransfer {
            to: to.clone(),
            deadline,
        });
        self.advance_transfer();
        Ok(to)
    }

    /// To whom leadership is on its way.
    #[must_use]
    pub fn transferring_to(&self) -> Option<&NodeId> {
        self.transferring.as_ref().map(|transfer| &transfer.to)
    }

    /// The other voter that has the most of the log; among equals the one heard last.
    fn successor(&self) -> Option<NodeId> {
        let voters = self.other_voters().into_iter();
        voters
            .filter(|voter| self.membership().is_new_voter(voter))
            .filter_map(|voter| self.peers.get(&voter).map(|peer| (peer, voter)))
            .max_by_key(|(peer, _)| (peer.matched, peer.heard_at))
            .map(|(_, voter)| voter)
    }

    /// Tells the target to campaign once it has all of the log. Said again with every heartbeat: it may be lost.
    pub(super) fn advance_transfer(&mut self) {
        let Some(to) = self.transferring_to().cloned() else {
            return;
        };
        let last = self.log.last().index;
        if self.peers.get(&to).is_some_and(|peer| peer.matched == last) {
            self.send_timeout_now(&to);
        }
    }

    fn send_timeout_now(&mut self, to: &NodeId) {
        let term = self.hard_state.term;
        // The others vote for it whatever they have promised this leader.
        self.lease.invalidate();
        self.request(to, RaftRequest::TimeoutNow(TimeoutNow { term }), 0);
    }

    /// Too late: the leader takes proposals again.
    pub(super) fn give_up_transfer(&mut self) {
        let now = self.now;
        self.transferring
            .take_if(|transfer| transfer.deadline <= now);
    }

    /// This leader is no voter any more, by an entry that is committed (dissertation §4.2.2), or its disk hangs: it leads
    /// nobody. The one that has the most of the log is told, so that nobody has to wait for a timeout.
    pub(super) fn step_down(&mut self) {
        if let Some(to) = self.successor() {
            self.send_timeout_now(&to);
        }
        self.become_follower(self.hard_state.term, None);
    }
}
