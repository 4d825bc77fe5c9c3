//! Admin requests: change the members, move leadership. Each call works on any node: the node forwards the request to the
//! leader. A request describes the target state of the cluster, so it is safe to send it again.

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
    /// Adds a learner: it receives the log and does not vote (dissertation §4.2.1). `address` is its `host:port` for peers.
    /// Returns the index at which the change is committed, as the other calls do.
    ///
    /// # Errors
    /// See [`AdminError`]: each variant states whether the request may still take effect.
    pub async fn add_learner(
        &self,
        id: NodeId,
        address: String,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.change_members(Change::AddLearner { id, address }, timeout)
            .await
    }

    /// Adds a node as a learner, waits until it has caught up, and makes it a voter.
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

    /// Makes a learner a voter.
    ///
    /// # Errors
    /// See [`AdminError`]. A learner that is too far behind is refused; the error states its lag.
    pub async fn promote(&self, id: NodeId, timeout: Duration) -> Result<Index, AdminError> {
        self.change_members(Change::Promote { id }, timeout).await
    }

    /// Removes a node. A leader that removes itself steps down once the change is committed.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn remove(&self, id: NodeId, timeout: Duration) -> Result<Index, AdminError> {
        self.change_members(Change::Remove { id }, timeout).await
    }

    /// Replaces the node `old`, which may be down, by `new`: adds `new`, waits until it has caught up, and swaps the two in
    /// one change (dissertation §4.3).
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

    /// Replaces the whole set of members. New voters catch up as learners first.
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

    /// Executes any change of the membership.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn change_members(
        &self,
        change: Change,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.submit_admin(AdminRequest::Change(change), timeout)
            .await
    }

    /// Transfers leadership to `to`, or to the most up-to-date other voter (dissertation §3.10). Commands that arrive
    /// meanwhile wait for the new leader.
    ///
    /// # Errors
    /// See [`AdminError`]. If the target does not become leader within an election timeout, the old leader continues.
    pub async fn transfer_leadership(
        &self,
        to: Option<NodeId>,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        self.submit_admin(AdminRequest::Transfer(to), timeout).await
    }

    /// Requests a snapshot from the leader, of entry `from` or of a later one. Returns the index of the one that the leader
    /// sends.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn request_leader_snapshot(
        &self,
        from: Index,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        let me = self.status().node_id;
        self.submit_admin(AdminRequest::SendSnapshot(me, from), timeout)
            .await
    }

    /// Raises the cluster level to the highest one that the leader's release knows. From then on, releases that do not know it can't
    /// be members, and can't read the data directories. Returns the index at which the level is committed.
    ///
    /// # Errors
    /// See [`AdminError`]. The raise is refused while a member has not shown that it knows the level; the error names it.
    pub async fn raise_level(&self, timeout: Duration) -> Result<Index, AdminError> {
        self.submit_admin(AdminRequest::RaiseLevel, timeout).await
    }

    async fn submit_admin(
        &self,
        request: AdminRequest,
        timeout: Duration,
    ) -> Result<Index, AdminError> {
        let _permit = self.reserved_permit().map_err(|_| AdminError::Overloaded)?;
        let (operator, outcome) = oneshot::channel();
        let deadline = self.deadline(timeout);
        let input = Input::Admin {
            request,
            deadline,
            operator,
        };
        self.submit_input(input).map_err(|_| AdminError::Stopped)?;
        outcome.await.unwrap_or(Err(AdminError::Stopped))
    }
}
