//! The role of a node, and the state that exists only in that role.
//!
//! A change of role replaces the whole [`RoleState`]. So no state of a leader survives when it steps down, and no
//! method can touch a leader's state in another role.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Index, NodeId};
use crate::raft::lease::Lease;
use crate::raft::outstanding::Outstanding;
use crate::raft::progress::Progress;
use crate::raft::reads::PendingReads;
use crate::raft::ready::WriteId;

/// The role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts entries from a leader, or waits for one.
    Follower,
    /// Tests whether it could win an election, before it starts one (pre-vote, dissertation §9.6).
    PreCandidate,
    /// Requests votes.
    Candidate,
    /// Replicates its log to the others.
    Leader,
}

/// The role, with the state that belongs to it.
#[derive(Clone, Debug)]
pub(super) enum RoleState {
    Follower {
        /// The leader of the current term, once this node has received a message from it.
        leader: Option<KnownLeader>,
    },
    PreCandidate {
        /// Responses to the pre-vote, with this node's own.
        votes: Votes,
    },
    Candidate {
        /// Votes of this term. This node's own is added once it is durable.
        votes: Votes,
        /// The write that contains this node's vote for itself; none once that is counted.
        own_vote_after: Option<WriteId>,
        /// The leader requested this election (dissertation §3.10), so voters do not protect it.
        by_transfer: bool,
    },
    /// Boxed: it is large, and the other roles are small.
    Leader(Box<Leader>),
}

/// Responses of voters: whether they granted the vote.
pub(super) type Votes = BTreeMap<NodeId, bool>;

/// The leader that a follower follows.
#[derive(Clone, Debug)]
pub(super) struct KnownLeader {
    pub(super) id: NodeId,
    /// When its last message arrived.
    pub(super) heard_at: Duration,
}

/// The volatile state of a leader (Raft paper, Figure 2), and what this implementation adds to it.
#[derive(Clone, Debug)]
pub(super) struct Leader {
    /// All members but this node, and members that were removed a moment ago. Never this node itself.
    pub(super) peers: BTreeMap<NodeId, Progress>,
    /// Index of the first entry of this term. Until it is committed, the leader does not know the commit index (§8).
    pub(super) term_start: Index,
    /// Own entries after the commit index, with their size.
    pub(super) uncommitted: Outstanding,
    /// Reads that wait for a confirmation of leadership.
    pub(super) reads: PendingReads,
    /// The rounds of this term for which followers may grant a lease.
    pub(super) lease: Lease,
    /// A leadership transfer in progress. Proposals are rejected until it ends.
    pub(super) transfer: Option<LeadershipTransfer>,
    /// When the next heartbeat is due.
    pub(super) heartbeat_deadline: Duration,
    /// When the leader next checks that a majority responds (dissertation §6.2).
    pub(super) quorum_check_deadline: Duration,
    /// When a delayed commit index is sent to peers without other traffic; none if no peer lacks it.
    pub(super) commit_notice_deadline: Option<Duration>,
}

/// A leadership transfer in progress (dissertation §3.10).
#[derive(Clone, Debug)]
pub(super) struct LeadershipTransfer {
    /// The next leader.
    pub(super) to: NodeId,
    /// When the leader aborts the transfer and accepts proposals again.
    pub(super) deadline: Duration,
}

impl Leader {
    /// A leader that was just elected. `term_start` is the index of its first entry, `round` the last heartbeat round of
    /// earlier terms.
    pub(super) fn new(
        term_start: Index,
        round: u64,
        heartbeat_deadline: Duration,
        quorum_check_deadline: Duration,
    ) -> Self {
        Self {
            peers: BTreeMap::new(),
            term_start,
            uncommitted: Outstanding::default(),
            reads: PendingReads::new(round),
            lease: Lease::default(),
            transfer: None,
            heartbeat_deadline,
            quorum_check_deadline,
            commit_notice_deadline: None,
        }
    }
}

impl RoleState {
    pub(super) fn kind(&self) -> Role {
        match self {
            Self::Follower { .. } => Role::Follower,
            Self::PreCandidate { .. } => Role::PreCandidate,
            Self::Candidate { .. } => Role::Candidate,
            Self::Leader(_) => Role::Leader,
        }
    }

    pub(super) fn is_leader(&self) -> bool {
        matches!(self, Self::Leader(_))
    }

    /// The state of a leader; none in another role.
    pub(super) fn as_leader(&self) -> Option<&Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    pub(super) fn as_leader_mut(&mut self) -> Option<&mut Leader> {
        match self {
            Self::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    /// A peer of a leader.
    pub(super) fn peer(&self, id: &NodeId) -> Option<&Progress> {
        self.as_leader()?.peers.get(id)
    }

    pub(super) fn peer_mut(&mut self, id: &NodeId) -> Option<&mut Progress> {
        self.as_leader_mut()?.peers.get_mut(id)
    }

    /// The votes that a candidate or pre-candidate has received.
    pub(super) fn votes(&self) -> Option<&Votes> {
        match self {
            Self::PreCandidate { votes } | Self::Candidate { votes, .. } => Some(votes),
            Self::Follower { .. } | Self::Leader(_) => None,
        }
    }

    pub(super) fn votes_mut(&mut self) -> Option<&mut Votes> {
        match self {
            Self::PreCandidate { votes } | Self::Candidate { votes, .. } => Some(votes),
            Self::Follower { .. } | Self::Leader(_) => None,
        }
    }
}
