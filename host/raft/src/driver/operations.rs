//! Executes admin requests as the leader, or forwards them to it. See [`AdminRequests`](super::admin::AdminRequests).

use std::time::Duration;

use super::Driver;
use super::admin::{RequestOrigin, Stage};
use super::environment::Environment;
use crate::ids::{Index, NodeId};
use crate::message::{
    AdminError, AdminRequest, AdminResponse, ForwardedAdminRequest, Message, RaftRequest,
    RaftResponse, RaiseError, SendSnapshotError, TransferError,
};
use crate::raft::level::RaiseProgress;
use crate::raft::membership::change::{Change, ChangeError, ChangeProgress};
use crate::state_machine::ReplicatedStateMachine;

/// A request is forwarded again after this long without a response.
const RETRY: Duration = Duration::from_secs(1);
/// A request of another node waits no longer than this.
const MAX_TIMEOUT_MS: u64 = 3_600_000;

/// Result of one step of a request.
enum Step {
    Pending(Stage),
    Done(Result<Index, AdminError>),
}

fn is_removal(request: &AdminRequest) -> bool {
    matches!(request, AdminRequest::Change(Change::Remove { .. }))
}

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    /// An operator of this node submits a request.
    pub(super) fn on_admin(
        &mut self,
        request: AdminRequest,
        deadline: Duration,
        operator: E::Operator,
    ) {
        if self.admin.is_full() {
            return self.env.complete(operator, Err(AdminError::Overloaded));
        }
        let members = (self.core.membership_index(), self.core.membership());
        self.admin
            .insert(request, deadline, RequestOrigin::Here(operator), members);
    }

    /// Another node forwards a request of its operator.
    pub(super) fn on_admin_request(&mut self, from: &NodeId, request: ForwardedAdminRequest) {
        if self.admin.contains(from, request.id) || !self.core.membership().contains(from) {
            return;
        }
        let refusal = if self.admin.is_full() {
            Some(AdminError::Overloaded)
        } else if !self.leads() || request.term != self.core.term() {
            Some(AdminError::NoLeader)
        } else {
            None
        };
        match refusal {
            Some(error) => self.respond_admin(from, request.id, Err(error)),
            None => {
                let deadline =
                    self.now + Duration::from_millis(request.timeout_ms.min(MAX_TIMEOUT_MS));
                let origin = RequestOrigin::Peer(from.clone(), request.id);
                let members = (self.core.membership_index(), self.core.membership());
                self.admin
                    .insert(request.request, deadline, origin, members);
            }
        }
    }

    fn respond_admin(&mut self, to: &NodeId, id: u64, outcome: Result<Index, AdminError>) {
        let response = AdminResponse {
            term: self.core.term(),
            id,
            outcome,
        };
        self.env
            .send(to, Message::Response(RaftResponse::Admin(response)));
    }

    /// The node that a request was forwarded to has responded.
    pub(super) fn on_admin_response(&mut self, from: &NodeId, response: AdminResponse) {
        let now = self.now;
        let Some(pending) = self.admin.get_mut(response.id) else {
            return;
        };
        if !matches!(&pending.stage, Stage::Forwarded(leader, _) if leader == from) {
            return;
        }
        match response.outcome {
            // It is not the leader. The request goes to the leader once one is known, or to the same node after a pause.
            Err(
                AdminError::NoLeader
                | AdminError::Stopped
                | AdminError::Change(ChangeError::NotLeader)
                | AdminError::Transfer(TransferError::NotLeader)
                | AdminError::Snapshot(SendSnapshotError::NotLeader)
                | AdminError::Raise(RaiseError::NotLeader),
            ) => pending.retry_at = now + RETRY,
            // An earlier attempt has removed the node, and its response was lost. That is success once this node knows the
            // removal as committed: at the leader it may still be uncommitted.
            Err(AdminError::Change(ChangeError::UnknownNode { .. }))
                if is_removal(&pending.request) && !pending.names_no_member =>
            {
                pending.retry_at = now + RETRY;
            }
            outcome => self.finish_admin(response.id, outcome),
        }
    }

    fn finish_admin(&mut self, id: u64, outcome: Result<Index, AdminError>) {
        match self.admin.remove(id) {
            Some(RequestOrigin::Here(operator)) => self.env.complete(operator, outcome),
            Some(RequestOrigin::Peer(node, id)) => self.respond_admin(&node, id, outcome),
            None => {}
        }
    }

    /// Executes one step of each pending request.
    pub(super) fn advance_admin_requests(&mut self) {
        for id in self.admin.ids() {
            let Some(pending) = self.admin.get(id) else {
                continue;
            };
            let (request, stage) = (pending.request.clone(), pending.stage.clone());
            let step = match request {
                AdminRequest::Change(change) => self.change_step(id, &change, stage),
                AdminRequest::Transfer(to) => self.transfer_step(id, to, stage),
                AdminRequest::SendSnapshot(to, from) => self.snapshot_step(id, &to, from, stage),
                AdminRequest::RaiseLevel => self.raise_step(id, stage),
            };
            match step {
                Step::Done(outcome) => self.finish_admin(id, outcome),
                Step::Pending(stage) => self.keep_pending(id, stage),
            }
        }
    }

    /// Records the stage of a request, or ends it if its deadline has passed.
    fn keep_pending(&mut self, id: u64, stage: Stage) {
        let (now, has_leader) = (self.now, self.core.leader().is_some());
        let Some(pending) = self.admin.get_mut(id) else {
            return;
        };
        pending.stage = stage;
        if pending.deadline > now {
            return;
        }
        let error = match pending.obstacle.take() {
            Some(obstacle) => AdminError::Change(obstacle),
            None if pending.stage == Stage::Waiting && !has_leader => AdminError::NoLeader,
            None => AdminError::TimedOut,
        };
        self.finish_admin(id, Err(error));
    }

    fn change_step(&mut self, id: u64, change: &Change, stage: Stage) -> Step {
        if !self.leads() {
            // A leader that the change removes steps down when the change is committed. A follower that it removes
            // receives no response. Both have a newer membership entry then, with the change in it.
            let members_at = self.core.membership_index();
            let pending = self.admin.get(id);
            let is_newer = pending.is_some_and(|pending| pending.members_at < members_at);
            if stage != Stage::Waiting && is_newer && self.core.is_changed(change) {
                return Step::Done(Ok(members_at));
            }
            return self.forward_admin(id, stage);
        }
        let started = matches!(stage, Stage::Started(_));
        let names_no_member = self.admin.get(id).is_some_and(|it| it.names_no_member);
        if let Change::Remove { id: node } = change
            && names_no_member
        {
            return Step::Done(Err(ChangeError::UnknownNode { node: node.clone() }.into()));
        }
        if !started && self.admin.executes_other_change(change) {
            return Step::Done(Err(ChangeError::Busy.into()));
        }
        let wall_ms = self.env.wall_ms();
        let in_progress = Step::Pending(Stage::Started(self.core.term()));
        match self.core.change_members(self.now, wall_ms, change) {
            Ok(ChangeProgress::Done(index)) => Step::Done(Ok(index)),
            Ok(ChangeProgress::InProgress) => in_progress,
            Err(ChangeError::Busy) if started || !self.core.has_committed_in_term() => in_progress,
            Err(error @ ChangeError::NotCaughtUp { .. }) if change.waits() => {
                if let Some(pending) = self.admin.get_mut(id) {
                    pending.obstacle = Some(error);
                }
                in_progress
            }
            Err(error) => Step::Done(Err(error.into())),
        }
    }

    fn transfer_step(&mut self, id: u64, to: Option<NodeId>, stage: Stage) -> Step {
        let leader = self.core.leader().cloned();
        // A later leader has replaced the one that received the request.
        let before = match &stage {
            Stage::Started(term) => Some((self.core.id().clone(), *term)),
            Stage::Forwarded(leader, term) => Some((leader.clone(), *term)),
            Stage::Waiting => None,
        };
        if let (Some((old, term)), Some(new)) = (before, &leader) {
            let is_target = to.as_ref().map_or(*new != old, |to| to == new);
            if self.core.term() > term && is_target {
                return Step::Done(Ok(self.core.log().last().index));
            }
        }
        if !self.leads() {
            return self.forward_admin(id, stage);
        }
        if matches!(stage, Stage::Started(_)) {
            if self.core.transferring_to().is_some() {
                return Step::Pending(stage);
            }
            let pending = self.admin.get(id);
            let to = pending.and_then(|pending| pending.successor.clone());
            let to = to.unwrap_or_else(|| self.core.id().clone());
            return Step::Done(Err(TransferError::GaveUp { to }.into()));
        }
        match self.core.transfer_leadership(self.now, to) {
            Ok(to) if to == *self.core.id() => Step::Done(Ok(self.core.log().last().index)),
            Ok(to) => {
                if let Some(pending) = self.admin.get_mut(id) {
                    pending.successor = Some(to);
                }
                Step::Pending(Stage::Started(self.core.term()))
            }
            Err(error) => Step::Done(Err(error.into())),
        }
    }

    /// Done once the leader starts to send the snapshot. Only the receiver can observe whether it arrives.
    fn snapshot_step(&mut self, id: u64, to: &NodeId, from: Index, stage: Stage) -> Step {
        if !self.leads() {
            return self.forward_admin(id, stage);
        }
        match self.core.send_snapshot(self.now, to, from) {
            Ok(Some(index)) => Step::Done(Ok(index)),
            Ok(None) => Step::Pending(Stage::Started(self.core.term())),
            Err(error) => Step::Done(Err(error.into())),
        }
    }

    /// Done once the entry of the raise is committed.
    fn raise_step(&mut self, id: u64, stage: Stage) -> Step {
        if !self.leads() {
            return self.forward_admin(id, stage);
        }
        let wall_ms = self.env.wall_ms();
        let in_progress = Step::Pending(Stage::Started(self.core.term()));
        match self.core.raise_level(self.now, wall_ms) {
            Ok(RaiseProgress::Done(index)) => Step::Done(Ok(index)),
            Ok(RaiseProgress::InProgress) => in_progress,
            Err(RaiseError::Busy) if !self.core.has_committed_in_term() => in_progress,
            Err(error) => Step::Done(Err(error.into())),
        }
    }

    /// Forwards a request of this node's operator to the leader. One of another node ends: that node forwards it anew.
    fn forward_admin(&mut self, id: u64, stage: Stage) -> Step {
        let leadership = self.leadership();
        let (now, term) = (self.now, self.core.term());
        let Some(pending) = self.admin.get_mut(id) else {
            return Step::Pending(stage);
        };
        if matches!(pending.origin, RequestOrigin::Peer(..)) {
            return Step::Done(Err(AdminError::NoLeader));
        }
        let Some((leader, _)) = leadership else {
            // It may still take effect if it was started or forwarded.
            pending.retry_at = now + RETRY;
            return Step::Pending(stage);
        };
        let forwarded = Stage::Forwarded(leader.clone(), term);
        if stage == forwarded && now < pending.retry_at {
            return Step::Pending(stage);
        }
        pending.retry_at = now + RETRY;
        let timeout = pending.deadline.saturating_sub(now);
        let request = ForwardedAdminRequest {
            term,
            id,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            request: pending.request.clone(),
        };
        self.env
            .send(&leader, Message::Request(RaftRequest::Admin(request)));
        Step::Pending(forwarded)
    }
}
