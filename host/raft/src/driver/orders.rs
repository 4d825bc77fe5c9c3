//! Orders of operators: another membership, another leader; and a node's own wish for a snapshot. The leader carries
//! them out; other nodes hand theirs to it and wait for its answer. An order says how the cluster is to be, so it may be
//! asked for again: after a change of leader, or where a message was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Driver, Ends};
use crate::message::{
    Message, Order, OrderError, OrderRequest, OrderResponse, RaftRequest, RaftResponse,
    SnapshotOrderError, TransferError,
};
use crate::raft::membership::{Change, ChangeError, Progressed};
use crate::state_machine::StateMachine;
use crate::types::{Index, NodeId, Term};

/// Orders that may wait at one node.
const MOST: usize = 64;
/// After so long without an answer, the leader is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// An order from another node waits no longer than this.
const LONGEST_PATIENCE_MS: u64 = 3_600_000;

/// Who is told what became of an order.
enum Giver<O> {
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
    order: Order,
    giver: Giver<O>,
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

/// Orders that wait for an outcome.
pub(super) struct Orders<O> {
    next_id: u64,
    pending: BTreeMap<u64, Pending<O>>,
}

impl<O> Orders<O> {
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
            .filter_map(|pending| match pending.giver {
                Giver::Here(operator) => Some(operator),
                Giver::Peer(..) => None,
            })
            .collect()
    }

    fn put(&mut self, order: Order, deadline: Duration, giver: Giver<O>, members_at: Index) {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let pending = Pending {
            order,
            giver,
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
                && matches!(&pending.order, Order::Change(other) if other != change)
        })
    }
}

/// What is to become of an order now.
enum Step {
    Stays(Stage),
    Ends(Result<Index, OrderError>),
}

impl<M: StateMachine, E: Ends<M>> Driver<M, E> {
    pub(super) fn on_order(&mut self, order: Order, deadline: Duration, operator: E::Operator) {
        if self.orders.pending.len() >= MOST {
            return self.ends.conclude(operator, Err(OrderError::Overloaded));
        }
        let members_at = self.core.membership_index();
        self.orders
            .put(order, deadline, Giver::Here(operator), members_at);
    }

    /// An operator of another node has an order.
    pub(super) fn on_order_request(&mut self, from: &NodeId, request: OrderRequest) {
        let known = self.orders.pending.values().any(|pending| {
            matches!(&pending.giver, Giver::Peer(node, id) if node == from && *id == request.id)
        });
        if known || !self.core.membership().contains(from) {
            return;
        }
        let full = self.orders.pending.len() >= MOST;
        let refusal = if full {
            Some(OrderError::Overloaded)
        } else if !self.leads() || request.term != self.core.term() {
            Some(OrderError::NoLeader)
        } else {
            None
        };
        match refusal {
            Some(error) => self.answer_order(from, request.id, Err(error)),
            None => {
                let deadline =
                    self.now + Duration::from_millis(request.patience_ms.min(LONGEST_PATIENCE_MS));
                let giver = Giver::Peer(from.clone(), request.id);
                let members_at = self.core.membership_index();
                self.orders.put(request.order, deadline, giver, members_at);
            }
        }
    }

    fn answer_order(&mut self, to: &NodeId, id: u64, outcome: Result<Index, OrderError>) {
        let answer = OrderResponse {
            term: self.core.term(),
            id,
            outcome,
        };
        self.ends
            .send(to, Message::Response(RaftResponse::Order(answer)));
    }

    /// The node that was taken for the leader has answered.
    pub(super) fn on_order_response(&mut self, from: &NodeId, answer: OrderResponse) {
        let now = self.now;
        let Some(pending) = self.orders.pending.get_mut(&answer.id) else {
            return;
        };
        if !matches!(&pending.stage, Stage::Asked(leader, _) if leader == from) {
            return;
        }
        match answer.outcome {
            // It does not lead, or no longer: whoever does is asked, and this one a little later.
            Err(
                OrderError::NoLeader
                | OrderError::Stopped
                | OrderError::Change(ChangeError::NotLeader)
                | OrderError::Transfer(TransferError::NotLeader)
                | OrderError::Snapshot(SnapshotOrderError::NotLeader),
            ) => pending.retry_at = now + RETRY,
            outcome => self.end_order(answer.id, outcome),
        }
    }

    fn end_order(&mut self, id: u64, outcome: Result<Index, OrderError>) {
        match self.orders.pending.remove(&id).map(|pending| pending.giver) {
            Some(Giver::Here(operator)) => self.ends.conclude(operator, outcome),
            Some(Giver::Peer(node, id)) => self.answer_order(&node, id, outcome),
            None => {}
        }
    }

    /// Brings every order as far as it goes at present.
    pub(super) fn carry_on_orders(&mut self) {
        let ids: Vec<u64> = self.orders.pending.keys().copied().collect();
        for id in ids {
            let Some(pending) = self.orders.pending.get(&id) else {
                continue;
            };
            let (order, stage) = (pending.order.clone(), pending.stage.clone());
            let step = match order {
                Order::Change(change) => self.change_step(id, &change, stage),
                Order::Transfer(to) => self.transfer_step(id, to, stage),
                Order::SendSnapshot(to, from) => self.snapshot_step(id, &to, from, stage),
            };
            match step {
                Step::Ends(outcome) => self.end_order(id, outcome),
                Step::Stays(stage) => self.keep_order(id, stage),
            }
        }
    }

    fn keep_order(&mut self, id: u64, stage: Stage) {
        let (now, has_leader) = (self.now, self.core.leader().is_some());
        let Some(pending) = self.orders.pending.get_mut(&id) else {
            return;
        };
        pending.stage = stage;
        if pending.deadline > now {
            return;
        }
        let error = match pending.hindrance.take() {
            Some(hindrance) => OrderError::Change(hindrance),
            None if pending.stage == Stage::Waiting && !has_leader => OrderError::NoLeader,
            None => OrderError::TimedOut,
        };
        self.end_order(id, Err(error));
    }

    fn change_step(&mut self, id: u64, change: &Change, stage: Stage) -> Step {
        if !self.leads() {
            // A leader that the change removes steps down as it is committed, and a follower that it removes gets no
            // answer any more. Both see members that came after the order and are as it wants them.
            let members_at = self.core.membership_index();
            let pending = self.orders.pending.get(&id);
            let later = pending.is_some_and(|pending| pending.members_at < members_at);
            if stage != Stage::Waiting && later && self.core.is_changed(change) {
                return Step::Ends(Ok(members_at));
            }
            return self.hand_on(id, stage);
        }
        let begun = matches!(stage, Stage::Begun(_));
        if !begun && self.orders.changes_otherwise(change) {
            return Step::Ends(Err(ChangeError::Busy.into()));
        }
        let wall_ms = self.ends.wall_ms();
        let going_on = Step::Stays(Stage::Begun(self.core.term()));
        match self.core.change_members(self.now, wall_ms, change) {
            Ok(Progressed::Done(index)) => Step::Ends(Ok(index)),
            Ok(Progressed::UnderWay) => going_on,
            Err(ChangeError::Busy) if begun || !self.core.leads_with_knowledge() => going_on,
            Err(error @ ChangeError::NotCaughtUp { .. }) if change.waits() => {
                if let Some(pending) = self.orders.pending.get_mut(&id) {
                    pending.hindrance = Some(error);
                }
                going_on
            }
            Err(error) => Step::Ends(Err(error.into())),
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
                return Step::Ends(Ok(self.core.log().last().index));
            }
        }
        if !self.leads() {
            return self.hand_on(id, stage);
        }
        if matches!(stage, Stage::Begun(_)) {
            if self.core.transferring_to().is_some() {
                return Step::Stays(stage);
            }
            let pending = self.orders.pending.get(&id);
            let to = pending.and_then(|pending| pending.successor.clone());
            let to = to.unwrap_or_else(|| self.core.id().clone());
            return Step::Ends(Err(TransferError::GaveUp { to }.into()));
        }
        match self.core.transfer_leadership(self.now, to) {
            Ok(to) if to == *self.core.id() => Step::Ends(Ok(self.core.log().last().index)),
            Ok(to) => {
                if let Some(pending) = self.orders.pending.get_mut(&id) {
                    pending.successor = Some(to);
                }
                Step::Stays(Stage::Begun(self.core.term()))
            }
            Err(error) => Step::Ends(Err(error.into())),
        }
    }

    /// It is done once the snapshot is on its way: the node that asked sees for itself whether it arrives.
    fn snapshot_step(&mut self, id: u64, to: &NodeId, from: Index, stage: Stage) -> Step {
        if !self.leads() {
            return self.hand_on(id, stage);
        }
        match self.core.send_snapshot(self.now, to, from) {
            Ok(Some(index)) => Step::Ends(Ok(index)),
            Ok(None) => Step::Stays(Stage::Begun(self.core.term())),
            Err(error) => Step::Ends(Err(error.into())),
        }
    }

    /// Another node leads: it gets the order, or the node that sent it here is told to look for it.
    fn hand_on(&mut self, id: u64, stage: Stage) -> Step {
        let leadership = self.leadership();
        let (now, term) = (self.now, self.core.term());
        let Some(pending) = self.orders.pending.get_mut(&id) else {
            return Step::Stays(stage);
        };
        if matches!(pending.giver, Giver::Peer(..)) {
            return Step::Ends(Err(OrderError::NoLeader));
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
        let request = OrderRequest {
            term,
            id,
            patience_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
            order: pending.order.clone(),
        };
        self.ends
            .send(&leader, Message::Request(RaftRequest::Order(request)));
        Step::Stays(asked)
    }
}
