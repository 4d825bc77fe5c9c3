//! Requests of operators: another membership, another leader; and a node's own wish for a snapshot. The leader carries
//! them out; other nodes hand theirs to it and wait for its answer. An order says how the cluster is to be, so it may be
//! asked for again: after a change of leader, or where a message was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Driver, Environment};
use crate::ids::{Index, NodeId, Term};
use crate::message::{
    AdminError, AdminRequest, AdminResponse, ForwardedAdminRequest, Message, RaftRequest,
    RaftResponse, SendSnapshotError, TransferError,
};
use crate::raft::membership::change::{Change, ChangeError, ChangeProgress};
use crate::state_machine::ReplicatedStateMachine;

/// Requests that may wait at one node.
const MOST: usize = 64;
/// After so long without an answer, the leader is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// An order from another node waits no longer than this.
const MAX_TIMEOUT_MS: u64 = 3_600_000;

/// Who is told what became of a request.
enum RequestOrigin<O> {
    Here(O),
    Peer(NodeId, u64),
}

/// How far an order has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Neither begun nor handed on.
    Waiting,
    /// This node carries it out, as the leader of this term.
    Begun(Term),
    /// The leader of this term was asked.
    Asked(NodeId, Term),
}

struct Pending<O> {
    request: AdminRequest,
    origin: RequestOrigin<O>,
    deadline: Duration,
    stage: Stage,
    /// When the leader is asked again.
    retry_at: Duration,
    /// Why it has not been done so far.
    hindrance: Option<ChangeError>,
    /// Who is to lead.
    successor: Option<NodeId>,
    /// The members in force when it was given are from this entry.
    members_at: Index,
}

/// Requests that wait for an outcome.
pub(super) struct AdminRequests<O> {
    next_id: u64,
    pending: BTreeMap<u64, Pending<O>>,
}

impl<O> AdminRequests<O> {
    /// None yet; numbered from a random number of this run on, as questions are.
    pub(super) fn new(session: u64) -> Self {
        Self {
            next_id: session,
            pending: BTreeMap::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let due = |pending: &Pending<O>| match pending.stage {
            Stage::Asked(..) => pending.deadline.min(pending.retry_at),
            Stage::Waiting | Stage::Begun(_) => pending.deadline,
        };
        self.pending.values().map(due).min()
    }

    pub(super) fn drain(&mut self) -> Vec<O> {
        let pending = std::mem::take(&mut self.pending).into_values();
        pending
            .filter_map(|pending| match pending.origin {
                RequestOrigin::Here(operator) => Some(operator),
                RequestOrigin::Peer(..) => None,
            })
            .collect()
    }

    fn put(
        &mut self,
        request: AdminRequest,
        deadline: Duration,
        origin: RequestOrigin<O>,
        members_at: Index,
    ) {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let pending = Pending {
            request,
            origin,
            deadline,
            stage: Stage::Waiting,
            retry_at: Duration::ZERO,
            hindrance: None,
            successor: None,
            members_at,
        };
        self.pending.insert(id, pending);
    }

    /// Whether this node carries out another change than this one.
    fn changes_otherwise(&self, change: &Change) -> bool {
        self.pending.values().any(|pending| {
            matches!(pending.stage, Stage::Begun(_))
                && matches!(&pending.request, AdminRequest::Change(other) if other != change)
        })
    }
}

/// What is to become of an order now.
enum Step {
    Stays(Stage),
    Done(Result<Index, AdminError>),
}

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    pub(super) fn on_admin(
        &mut self,
        request: AdminRequest,
        deadline: Duration,
        operator: E::Operator,
    ) {
        if self.admin.pending.len() >= MOST {
            return self.env.complete(operator, Err(AdminError::Overloaded));
        }
        let members_at = self.core.membership_index();
        self.admin
            .put(request, deadline, RequestOrigin::Here(operator), members_at);
    }

    /// An operator of another node has a request.
    pub(super) fn on_admin_request(&mut self, from: &NodeId, request: ForwardedAdminRequest) {
        let known = self.admin.pending.values().any(|pending| {
            matches!(&pending.origin, RequestOrigin::Peer(node, id) if node == from && *id == request.id)
        });
        if known || !self.core.membership().contains(from) {
            return;
        }
        let full = self.admin.pending.len() >= MOST;
        let refusal = if full {
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
                let members_at = self.core.membership_index();
                self.admin
                    .put(request.request, deadline, origin, members_at);
            }
        }
    }

    fn respond_admin(&mut self, to: &NodeId, id: u64, outcome: Result<Index, AdminError>) {
        let answer = AdminResponse {
            term: self.core.term(),
            id,
            outcome,
        };
        self.env
            .send(to, Message::Response(RaftResponse::Admin(answer)));
    }

    /// The node that was taken for the leader has answered.
    pub(super) fn on_admin_response(&mut self, from: &NodeId, answer: AdminResponse) {
        let now = self.now;
        let Some(pending) = self.admin.pending.get_mut(&answer.id) else {
            return;
        };
        if !matches!(&pending.stage, Stage::Asked(leader, _) if leader == from) {
            return;
        }
        match answer.outcome {
            // It does not lead, or no longer: whoever does is asked, and this one a little later.
            Err(
                AdminError::NoLeader
                | AdminError::Stopped
                | AdminError::Change(ChangeError::NotLeader)
                | AdminError::Transfer(TransferError::NotLeader)
                | AdminError::Snapshot(SendSnapshotError::NotLeader),
            ) => pending.retry_at = now + RETRY,
            outcome => self.finish_admin(answer.id, outcome),
        }
    }

    fn finish_admin(&mut self, id: u64, outcome: Result<Index, AdminError>) {
        match self.admin.pending.remove(&id).map(|pending| pending.origin) {
            Some(RequestOrigin::Here(operator)) => self.env.complete(operator, outcome),
            Some(RequestOrigin::Peer(node, id)) => self.respond_admin(&node, id, outcome),
            None => {}
        }
    }

    /// Brings every order as far as it goes at present.
    pub(super) fn advance_admin_requests(&mut self) {
        let ids: Vec<u64> = self.admin.pending.keys().copied().collect();
        for id in ids {
            let Some(pending) = self.admin.pending.get(&id) else {
                continue;
            };
            let (request, stage) = (pending.request.clone(), pending.stage.clone());
            let step = match request {
                AdminRequest::Change(change) => self.change_step(id, &change, stage),
                AdminRequest::Transfer(to) => self.transfer_step(id, to, stage),
                AdminRequest::SendSnapshot(to, from) => self.snapshot_step(id, &to, from, stage),
            };
            match step {
                Step::Done(outcome) => self.finish_admin(id, outcome),
                Step::Stays(stage) => self.keep_order(id, stage),
            }
        }
    }

    fn keep_order(&mut self, id: u64, stage: Stage) {
        let (now, has_leader) = (self.now, self.core.leader().is_some());
        let Some(pending) = self.admin.pending.get_mut(&id) else {
            return;
        };
        pending.stage = stage;
        if pending.deadline > now {
            return;
        }
        let error = match pending.hindrance.take() {
            Some(hindrance) => AdminError::Change(hindrance),
            None if pending.stage == Stage::Waiting && !has_leader => AdminError::NoLeader,
            None => AdminError::TimedOut,
        };
        self.finish_admin(id, Err(error));
    }

    fn change_step(&mut self, id: u64, change: &Change, stage: Stage) -> Step {
        if !self.leads() {
            // A leader that the change removes steps down as it is committed, and a follower that it removes gets no
            // answer any more. Both see members that came after the order and are as it wants them.
            let members_at = self.core.membership_index();
            let pending = self.admin.pending.get(&id);
            let later = pending.is_some_and(|pending| pending.members_at < members_at);
            if stage != Stage::Waiting && later && self.core.is_changed(change) {
                return Step::Done(Ok(members_at));
            }
            return self.hand_on(id, stage);
        }
        let begun = matches!(stage, Stage::Begun(_));
        if !begun && self.admin.changes_otherwise(change) {
            return Step::Done(Err(ChangeError::Busy.into()));
        }
        let wall_ms = self.env.wall_ms();
        let going_on = Step::Stays(Stage::Begun(self.core.term()));
        match self.core.change_members(self.now, wall_ms, change) {
            Ok(ChangeProgress::Done(index)) => Step::Done(Ok(index)),
            Ok(ChangeProgress::InProgress) => going_on,
            Err(ChangeError::Busy) if begun || !self.core.has_committed_in_term() => going_on,
            Err(error @ ChangeError::NotCaughtUp { .. }) if change.waits() => {
                if let Some(pending) = self.admin.pending.get_mut(&id) {
                    pending.hindrance = Some(error);
                }
                going_on
            }
            Err(error) => Step::Done(Err(error.into())),
        }
    }

    fn transfer_step(&mut self, id: u64, to: Option<NodeId>, stage: Stage) -> Step {
        let leader = self.core.leader().cloned();
        // Whoever follows the leader that was asked has taken over from it.
        let before = match &stage {
            Stage::Begun(term) => Some((self.core.id().clone(), *term)),
            Stage::Asked(leader, term) => Some((leader.clone(), *term)),
            Stage::Waiting => None,
        };
        if let (Some((old, term)), Some(new)) = (before, &leader) {
            let wanted = to.as_ref().map_or(*new != old, |to| to == new);
            if self.core.term() > term && wanted {
                return Step::Done(Ok(self.core.log().last().index));
            }
        }
        if !self.leads() {
            return self.hand_on(id, stage);
        }
        if matches!(stage, Stage::Begun(_)) {
            if self.core.transferring_to().is_some() {
                return Step::Stays(stage);
            }
            let pending = self.admin.pending.get(&id);
            let to = pending.and_then(|pending| pending.successor.clone());
            let to = to.unwrap_or_else(|| self.core.id().clone());
            return Step::Done(Err(TransferError::GaveUp { to }.into()));
        }
        match self.core.transfer_leadership(self.now, to) {
            Ok(to) if to == *self.core.id() => Step::Done(Ok(self.core.log().last().index)),
            Ok(to) => {
                if let Some(pending) = self.admin.pending.get_mut(&id) {
                    pending.successor = Some(to);
                }
                Step::Stays(Stage::Begun(self.core.term()))
            }
            Err(error) => Step::Done(Err(error.into())),
        }
    }

    /// It is done once the snapshot is on its way: the node that asked sees for itself whether it arrives.
    fn snapshot_step(&mut self, id: u64, to: &NodeId, from: Index, stage: Stage) -> Step {
        if !self.leads() {
            return self.hand_on(id, stage);
        }
        match self.core.send_snapshot(self.now, to, from) {
            Ok(Some(index)) => Step::Done(Ok(index)),
            Ok(None) => Step::Stays(Stage::Begun(self.core.term())),
            Err(error) => Step::Done(Err(error.into())),
        }
    }

    /// Another node leads: it gets the request, or the node that sent it here is told to look for it.
    fn hand_on(&mut self, id: u64, stage: Stage) -> Step {
        let leadership = self.leadership();
        let (now, term) = (self.now, self.core.term());
        let Some(pending) = self.admin.pending.get_mut(&id) else {
            return Step::Stays(stage);
        };
        if matches!(pending.origin, RequestOrigin::Peer(..)) {
            return Step::Done(Err(AdminError::NoLeader));
        }
        let Some((leader, _)) = leadership else {
            // Where it was begun or asked for, it may still come true.
            pending.retry_at = now + RETRY;
            return Step::Stays(stage);
        };
        let asked = Stage::Asked(leader.clone(), term);
        if stage == asked && now < pending.retry_at {
            return Step::Stays(stage);
        }
        pending.retry_at = now + RETRY;
        let patience = pending.deadline.saturating_sub(now);
        let request = ForwardedAdminRequest {
            term,
            id,
            timeout_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            request: pending.request.clone(),
        };
        self.env
            .send(&leader, Message::Request(RaftRequest::Admin(request)));
        Step::Stays(asked)
    }
}
