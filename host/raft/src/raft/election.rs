//! Elections: §5.2 and §5.4.1; from the dissertation pre-vote (§9.6), leader stickiness (§4.2.3) and the target's side of a
//! leadership transfer (§3.10).

use std::time::Duration;

use crate::entry::{HardState, Payload};
use crate::identity::Sender;
use crate::ids::{NodeId, Term};
use crate::message::{ClockReport, RaftRequest, RaftResponse, RequestVote, RequestVoteResponse};
use crate::raft::quorum::VoteResult;
use crate::raft::ready::WriteId;
use crate::raft::role::{Leader, RoleState, Votes};
use crate::raft::{Core, Role};

impl Core {
    // ----- as a candidate -----

    /// The election timeout has passed without a message from a leader.
    pub(super) fn campaign_or_wait(&mut self) {
        self.rearm_election();
        // A disk that hangs or is full could not store the vote: the node waits until the write is done.
        let may_lead = self.may_be_elected() && !self.has_granted_lease();
        if !may_lead || self.disk_hangs() || self.is_disk_full() {
            self.become_follower(self.hard_state.term, None);
            return;
        }
        if self.yields_campaign() {
            return;
        }
        self.start_pre_vote();
    }

    /// Whether this node may become leader: it is eligible to vote, and a voter in the configuration in effect or in the last
    /// committed one. The second matters while the entry that removes this node is uncommitted: the other nodes may lack that
    /// entry, and then only this node can be elected (dissertation §4.2.2).
    fn may_be_elected(&self) -> bool {
        let committed = self.configurations.committed(self.log.committed);
        let votes = [self.membership(), committed].map(|members| members.is_voter(&self.config.id));
        votes.contains(&true) && self.can_vote()
    }

    /// Whether the write in flight takes longer than an election timeout.
    pub(super) fn disk_hangs(&self) -> bool {
        self.writes.hang(self.now, self.config.election_timeout_min)
    }

    /// Sends pre-votes: requests that do not start a new term.
    fn start_pre_vote(&mut self) {
        self.become_follower(self.hard_state.term, None);
        self.request_votes(self.hard_state.term.next(), true, false, 0);
        self.role = RoleState::PreCandidate {
            votes: Votes::from([(self.config.id.clone(), true)]),
        };
        self.count_votes();
    }

    /// Enters a new term, votes for itself and requests the votes of all others (§5.2). `by_transfer`: the leader requested
    /// the election.
    fn start_election(&mut self, by_transfer: bool) {
        self.hard_state = HardState {
            term: self.hard_state.term.next(),
            vote: Some(self.config.id.clone()),
        };
        self.hard_state_written = false;
        self.role = RoleState::Candidate {
            votes: Votes::new(),
            own_vote_after: Some(self.writes.next),
            by_transfer,
        };
        self.rearm_election();
        self.request_votes(
            self.hard_state.term,
            false,
            by_transfer,
            self.durable_after(),
        );
    }

    fn request_votes(&mut self, term: Term, pre_vote: bool, transfer: bool, after: WriteId) {
        self.clocks.on_campaign(term, self.now);
        let request = RequestVote {
            term,
            candidate_id: self.config.id.clone(),
            last: self.log.last(),
            pre_vote,
            transfer,
        };
        for peer in self.other_voters() {
            self.request(&peer, RaftRequest::RequestVote(request.clone()), after);
        }
    }

    pub(super) fn other_voters(&self) -> Vec<NodeId> {
        self.membership()
            .voters()
            .filter(|voter| **voter != self.config.id)
            .cloned()
            .collect()
    }

    /// The write `id` is durable. The candidate's vote for itself counts if it was in this write or an earlier one.
    pub(super) fn count_durable_vote(&mut self, id: WriteId) {
        let RoleState::Candidate {
            votes,
            own_vote_after,
            ..
        } = &mut self.role
        else {
            return;
        };
        if own_vote_after.take_if(|needed| *needed <= id).is_some() {
            votes.insert(self.config.id.clone(), true);
            self.count_votes();
        }
    }

    /// Ends the pre-vote or the election once its outcome is certain.
    fn count_votes(&mut self) {
        let Some(votes) = self.role.votes() else {
            return;
        };
        match (self.membership().vote_result(votes), self.role()) {
            // The responses to the pre-vote came with the clocks of a majority.
            (VoteResult::Won, Role::PreCandidate) if self.yields_campaign() => {}
            (VoteResult::Won, Role::PreCandidate) => self.start_election(false),
            (VoteResult::Won, Role::Candidate) => self.become_leader(),
            (VoteResult::Lost, _) => self.become_follower(self.hard_state.term, None),
            _ => {}
        }
    }

    /// A voter has responded.
    pub(super) fn on_vote_response(&mut self, from: &NodeId, response: &RequestVoteResponse) {
        if !(response.pre_vote && response.granted) {
            self.observe_term(response.term);
        }
        let (role, term) = if response.pre_vote {
            (Role::PreCandidate, self.hard_state.term.next())
        } else {
            (Role::Candidate, self.hard_state.term)
        };
        // A denied pre-vote carries the voter's own term, which may be an older one.
        let current = response.term == term || response.pre_vote && !response.granted;
        if self.role() != role || !current {
            return;
        }
        if let Some(votes) = self.role.votes_mut() {
            votes.insert(from.clone(), response.granted);
            self.count_votes();
        }
    }

    /// The election is won.
    fn become_leader(&mut self) {
        let last = self.log.last().index;
        self.clocks.leaving.was_given = matches!(
            self.role,
            RoleState::Candidate {
                by_transfer: true,
                ..
            }
        );
        self.role = RoleState::Leader(Box::new(Leader::new(
            last.next(),
            self.round,
            self.now + self.config.heartbeat_interval,
            self.now + self.config.election_timeout_min,
        )));
        self.update_peers(last);
        // Entries of earlier terms are committed by an entry of this term (§5.4.2, §8).
        self.append_own(0, Payload::Noop);
    }

    // ----- as a voter -----

    /// A candidate or pre-candidate requests a vote (§5.2, §5.4.1).
    pub(super) fn on_request_vote(&mut self, sender: &Sender, request: &RequestVote) {
        let from = &sender.id;
        if !self.can_vote() {
            // The lost store may contain a vote in this term.
            return;
        }
        if !request.transfer && (self.has_live_leader() || self.has_granted_lease()) {
            // A candidate that cannot reach the leader must not replace it. If its term is old, the response carries the new one.
            if request.term < self.hard_state.term {
                self.respond_to_vote(from, request, false);
            }
            return;
        }
        if !request.pre_vote {
            self.observe_term(request.term);
        }
        let current = if request.pre_vote {
            request.term > self.hard_state.term
        } else {
            let vote = self.hard_state.vote.as_ref();
            request.term == self.hard_state.term
                && vote.is_none_or(|vote| *vote == request.candidate_id)
        };
        // A candidate with another store than the configuration names was replaced, and then its log ends before this one. Or this
        // node lacks the entry that names the store, and the candidate has it.
        let up_to_date = if self.counts(sender) {
            request.last >= self.log.last()
        } else {
            request.last > self.log.last()
        };
        let granted = current && up_to_date;
        if granted && !request.pre_vote {
            if self.hard_state.vote.is_none() {
                self.hard_state.vote = Some(request.candidate_id.clone());
                self.hard_state_written = false;
            }
            self.rearm_election();
        }
        self.respond_to_vote(from, request, granted);
    }

    fn respond_to_vote(&mut self, to: &NodeId, request: &RequestVote, granted: bool) {
        // A granted pre-vote carries the requested term, which the voter has not entered.
        let term = if granted {
            request.term
        } else {
            self.hard_state.term
        };
        let response = RequestVoteResponse {
            term,
            granted,
            pre_vote: request.pre_vote,
        };
        self.report_clock(to, request.term, ClockReport::WITH_VOTE);
        self.respond(to, RaftResponse::RequestVote(response));
    }

    /// Whether this node is the leader, or received a message from one within the minimum election timeout.
    fn has_live_leader(&self) -> bool {
        match &self.role {
            RoleState::Leader(_) => true,
            RoleState::Follower {
                leader: Some(leader),
            } => self.now.saturating_sub(leader.heard_at) < self.config.election_timeout_min,
            _ => false,
        }
    }

    /// Clears the leader of a follower: it grants votes immediately, as if an election timeout had passed. The term does not
    /// change, and it follows the leader again after the next message from it. For a caller that knows that the leader is
    /// down. A node that has granted a lease does nothing.
    pub fn forget_leader(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.role() == Role::Follower && !self.has_granted_lease() {
            self.become_follower(self.hard_state.term, None);
        }
    }

    /// The leader requests that this node campaigns at once (dissertation §3.10).
    pub(super) fn on_timeout_now(&mut self, from: &NodeId, term: Term) {
        self.observe_term(term);
        let from_leader = term == self.hard_state.term && self.leader() == Some(from);
        let may_lead = self.role() == Role::Follower && self.may_be_elected();
        if from_leader && may_lead && !self.disk_hangs() && !self.is_disk_full() {
            self.start_election(true);
        }
    }
}
