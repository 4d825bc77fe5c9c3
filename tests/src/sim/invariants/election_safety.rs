//! At most one leader can be elected in a given term (§5.2, Figure 3), because each voter gives at most one vote
//! in a term, also across its restarts.

use std::collections::BTreeMap;

use task_queue_raft::ids::{NodeId, Term};
use task_queue_raft::message::{Message, RaftRequest, RaftResponse};
use task_queue_raft::raft::{Core, Role};

use crate::sim::violation::{Violation, ensure};

/// Leaders and votes seen so far.
#[derive(Debug, Default)]
pub(crate) struct ElectionSafety {
    leaders: BTreeMap<Term, (usize, u32)>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
}

impl ElectionSafety {
    pub(crate) fn leaders(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// A disk is lost. No leader is elected by a vote that its node gives again: `check` sees that.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.votes.retain(|(voter, _), _| voter != node);
    }

    /// A node that restarts has lost its leadership for good, so a leader is a node in one run.
    pub(crate) fn check(&mut self, node: usize, run: u32, core: &Core) -> Result<(), Violation> {
        if core.role() != Role::Leader {
            return Ok(());
        }
        let leader = *self.leaders.entry(core.term()).or_insert((node, run));
        ensure(leader == (node, run), "election safety (§5.2)", || {
            format!(
                "in term {} both n{} (run {}) and n{node} (run {run}) lead",
                core.term(),
                leader.0,
                leader.1
            )
        })
    }

    pub(crate) fn on_send(
        &mut self,
        from: &NodeId,
        to: &NodeId,
        message: &Message,
    ) -> Result<(), Violation> {
        let (term, candidate) = match message {
            Message::Request(RaftRequest::RequestVote(ask)) if !ask.pre_vote => (ask.term, from),
            Message::Response(RaftResponse::RequestVote(answer))
                if answer.granted && !answer.pre_vote =>
            {
                (answer.term, to)
            }
            _ => return Ok(()),
        };
        let first = self
            .votes
            .entry((from.clone(), term))
            .or_insert_with(|| candidate.clone());
        ensure(first == candidate, "one vote a term (§5.2)", || {
            format!("{from} voted for {first} and for {candidate} in term {term}")
        })
    }
}
