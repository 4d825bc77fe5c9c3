//! Admin requests: change the members, move leadership, send a snapshot to a node.
//!
//! The leader executes them. Other nodes forward theirs to it and wait for the response. A request describes the target
//! state of the cluster, so it may be sent again after a change of leader or a lost message.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Index, NodeId, Term};
use crate::message::AdminRequest;
use crate::raft::membership::Membership;
use crate::raft::membership::change::{Change, ChangeError};

/// Requests that may be pending at one node.
const MAX_PENDING: usize = 64;

/// Who receives the outcome of a request.
pub(super) enum RequestOrigin<O> {
    /// An operator at this node.
    Here(O),
    /// The request of this number at that node.
    Peer(NodeId, u64),
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Neither started nor forwarded.
    Waiting,
    /// This node executes it, as the leader of this term.
    Started(Term),
    /// It was forwarded to the leader of this term.
    Forwarded(NodeId, Term),
}

pub(super) struct PendingAdminRequest<O> {
    pub(super) request: AdminRequest,
    pub(super) origin: RequestOrigin<O>,
    /// When its operator stops waiting.
    pub(super) deadline: Duration,
    pub(super) stage: Stage,
    /// When it is forwarded again.
    pub(super) retry_at: Duration,
    /// Why it has not been done so far: the error at the deadline.
    pub(super) obstacle: Option<ChangeError>,
    /// The target of a leadership transfer, once chosen.
    pub(super) successor: Option<NodeId>,
    /// Index of the membership entry in effect when the request arrived.
    pub(super) members_at: Index,
    /// The node to remove was no member when the request arrived. Otherwise an earlier attempt may have removed it.
    pub(super) names_no_member: bool,
}

/// Whether a request removes a node that is no member.
fn removes_unknown(request: &AdminRequest, members: &Membership) -> bool {
    matches!(request, AdminRequest::Change(Change::Remove { id }) if !members.contains(id))
}

/// Pending admin requests, of this node's operators and of other nodes.
pub(super) struct AdminRequests<O> {
    next_id: u64,
    pending: BTreeMap<u64, PendingAdminRequest<O>>,
}

impl<O> AdminRequests<O> {
    /// No requests. Ids start at `session`, the random number of this run. So a late response to a request of an earlier
    /// run does not match a request of this run.
    pub(super) fn new(session: u64) -> Self {
        Self {
            next_id: session,
            pending: BTreeMap::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let due = |pending: &PendingAdminRequest<O>| match pending.stage {
            Stage::Forwarded(..) => pending.deadline.min(pending.retry_at),
            Stage::Waiting | Stage::Started(_) => pending.deadline,
        };
        self.pending.values().map(due).min()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Whether this request of that node is pending.
    pub(super) fn contains(&self, node: &NodeId, id: u64) -> bool {
        self.pending.values().any(|pending| {
            matches!(&pending.origin, RequestOrigin::Peer(of, number) if of == node && *number == id)
        })
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.pending.keys().copied().collect()
    }

    pub(super) fn get(&self, id: u64) -> Option<&PendingAdminRequest<O>> {
        self.pending.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut PendingAdminRequest<O>> {
        self.pending.get_mut(&id)
    }

    pub(super) fn insert(
        &mut self,
        request: AdminRequest,
        deadline: Duration,
        origin: RequestOrigin<O>,
        members: (Index, &Membership),
    ) {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let pending = PendingAdminRequest {
            origin,
            deadline,
            stage: Stage::Waiting,
            retry_at: Duration::ZERO,
            obstacle: None,
            successor: None,
            members_at: members.0,
            names_no_member: removes_unknown(&request, members.1),
            request,
        };
        self.pending.insert(id, pending);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<RequestOrigin<O>> {
        self.pending.remove(&id).map(|pending| pending.origin)
    }

    /// Removes all requests, and returns the operators of this node.
    pub(super) fn drain(&mut self) -> Vec<O> {
        let pending = std::mem::take(&mut self.pending).into_values();
        pending
            .filter_map(|pending| match pending.origin {
                RequestOrigin::Here(operator) => Some(operator),
                RequestOrigin::Peer(..) => None,
            })
            .collect()
    }

    /// Whether this node executes another change than this one.
    pub(super) fn executes_other_change(&self, change: &Change) -> bool {
        self.pending.values().any(|pending| {
            matches!(pending.stage, Stage::Started(_))
                && matches!(&pending.request, AdminRequest::Change(other) if other != change)
        })
    }
}
