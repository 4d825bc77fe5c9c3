//! What an operator may ask of a running node. Every call works on any node, which hands it to the leader; every one
//! says how the cluster is to be, so asking again does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Raft;
use crate::driver::Input;
use crate::ids::{Index, NodeId};
use crate::message::{AdminError, AdminRequest};
use crate::raft::membership::change::{Change, MemberSpec};
use crate::state_machine::ReplicatedStateMachine;

impl<M: ReplicatedStateMachine> Raft<M> {
    /// Adds a node that gets the log and does not vote (dissertation §4.2.1). Its peers reach it at `address`,
    /// `host:port`. Returns the index at which that is committed, as the other calls do.
    ///
    /// # Errors
    /// See [`AdminError`]: each says whether it may still come true.
    pub async fn add_learner(
        &self,
        id: NodeId,
        address: String,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.change_members(Change::AddLearner { id, address }, timeout)
            .await
    }

    /// Adds a node, waits until it has caught up, and lets it vote.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn add_voter(
        &self,
        id: NodeId,
        address: String,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.change_members(Change::AddVoter { id, address }, timeout)
            .await
    }

    /// Lets a learner vote that has caught up.
    ///
    /// # Errors
    /// See [`AdminError`]; one that is too far behind is refused, and the error says how far.
    pub async fn promote(&self, id: NodeId, timeout: Duration) -> Result<Index, AdminError> {
        self.change_members(Change::Promote { id }, timeout).await
    }

    /// Removes a node. A leader that removes itself steps down once that is committed.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn remove(&self, id: NodeId, timeout: Duration) -> Result<Index, AdminError> {
        self.change_members(Change::Remove { id }, timeout).await
    }

    /// Puts the node `new` in the place of `old`, which may be dead: adds it, waits until it has caught up, and swaps
    /// the two in one change (dissertation §4.3).
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn replace(
        &self,
        old: NodeId,
        new: NodeId,
        address: String,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.change_members(Change::Replace { old, new, address }, timeout)
            .await
    }

    /// Makes these the members, whoever they are now. New voters catch up as learners first.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn change_membership(
        &self,
        target: BTreeMap<NodeId, MemberSpec>,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.change_members(Change::Set(target), timeout).await
    }

    /// Carries out any change of the membership.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn change_members(
        &self,
        change: Change,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.order(AdminRequest::Change(change), timeout).await
    }

    /// Makes `to` the leader, or the most up-to-date other voter (dissertation §3.10). Commands that come meanwhile
    /// wait and are served by the new leader.
    ///
    /// # Errors
    /// See [`AdminError`]; where the target does not take over within an election timeout, the old leader goes on.
    pub async fn transfer_leadership(
        &self,
        to: Option<NodeId>,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.order(AdminRequest::Transfer(to), timeout).await
    }

    /// Has the leader send this node a snapshot of the entry `from` or of a later one. Returns which one is on its way.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn request_leader_snapshot(
        &self,
        from: Index,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        let me = self.status().node_id;
        self.order(AdminRequest::SendSnapshot(me, from), timeout)
            .await
    }

    async fn order(&self, order: AdminRequest, timeout: Duration) -> Result<Index, AdminError> {
        let _place = self.place().map_err(|_| AdminError::Overloaded)?;
        let (operator, outcome) = oneshot::channel();
        let deadline = self.deadline(timeout);
        let input = Input::Admin {
            order,
            deadline,
            operator,
        };
        self.hand_in(input).map_err(|_| AdminError::Stopped)?;
        outcome.await.unwrap_or(Err(AdminError::Stopped))
    }
}
