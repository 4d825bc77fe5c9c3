//! Leadership transfer: dissertation §3.10.
//!
//! The leader stops accepting proposals, replicates its whole log to the target, and sends it TimeoutNow. The target campaigns
//! at once, and the other nodes vote for it although they have a live leader. Waiting clients are served by the new leader.
//! If none is elected within an election timeout, the old leader continues.

use std::time::Duration;

use crate::ids::NodeId;
use crate::message::{RaftRequest, TimeoutNow, TransferError};
use crate::raft::Core;
use crate::raft::role::LeadershipTransfer;

impl Core {
    /// Transfers leadership to `to`, or to the voter with the most complete log. Returns the target.
    ///
    /// # Errors
    /// If this node is not the leader, or there is no possible target.
    pub fn transfer_leadership(
        &mut self,
        now: Duration,
        to: Option<NodeId>,
    ) -> Result<NodeId, TransferError> {
        self.now = self.now.max(now);
        let leader = self.role.as_leader().ok_or(TransferError::NotLeader)?;
        if to.as_ref() == Some(&self.config.id) {
            return Ok(self.config.id.clone());
        }
        if let Some(current) = &leader.transfer {
            let same = to.is_none_or(|to| to == current.to);
            let to = current.to.clone();
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
        if let Some(leader) = self.role.as_leader_mut() {
            let to = to.clone();
            leader.transfer = Some(LeadershipTransfer { to, deadline });
        }
        self.advance_transfer();
        Ok(to)
    }

    /// The target of the transfer in progress.
    #[must_use]
    pub fn transferring_to(&self) -> Option<&NodeId> {
        let transfer = self.role.as_leader()?.transfer.as_ref();
        transfer.map(|transfer| &transfer.to)
    }

    /// The other voter with the most complete log; among equals, one with a right clock, then the one that responded last.
    fn successor(&self) -> Option<NodeId> {
        let voters = self.other_voters().into_iter();
        voters
            .filter(|voter| self.membership().is_new_voter(voter))
            .filter_map(|voter| self.role.peer(&voter).map(|peer| (peer, voter)))
            .max_by_key(|(peer, id)| (peer.matched, self.has_right_clock(id), peer.heard_at))
            .map(|(_, voter)| voter)
    }

    /// Sends TimeoutNow once the target has the whole log. It is repeated with every heartbeat, because it may be lost.
    pub(super) fn advance_transfer(&mut self) {
        let Some(to) = self.transferring_to().cloned() else {
            return;
        };
        let last = self.log.last().index;
        if self.role.peer(&to).is_some_and(|peer| peer.matched == last) {
            self.send_timeout_now(&to);
        }
    }

    fn send_timeout_now(&mut self, to: &NodeId) {
        // The other nodes vote for the target although they have granted a lease.
        if let Some(leader) = self.role.as_leader_mut() {
            leader.lease.invalidate();
        }
        let term = self.hard_state.term;
        self.request(to, RaftRequest::TimeoutNow(TimeoutNow { term }), 0);
    }

    /// Aborts a transfer that took too long: the leader accepts proposals again.
    pub(super) fn abort_overdue_transfer(&mut self) {
        let now = self.now;
        if let Some(leader) = self.role.as_leader_mut() {
            leader.transfer.take_if(|transfer| transfer.deadline <= now);
        }
    }

    /// This leader is no longer a voter by a committed configuration (dissertation §4.2.2), or its disk hangs. It sends
    /// TimeoutNow to its successor, so that no node has to wait for an election timeout.
    pub(super) fn step_down(&mut self) {
        if let Some(to) = self.successor() {
            self.send_timeout_now(&to);
        }
        self.become_follower(self.hard_state.term, None);
    }
}
