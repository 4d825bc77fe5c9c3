//! Elections: §5.2, §5.4.1, and from the dissertation pre-vote (§9.6), leader stickiness (§4.2.3) and
//! leadership transfer (§3.10).

use std::time::Duration;

use crate::entry::{HardState, Payload};
use crate::ids::{NodeId, Term};
use crate::message::{RaftRequest, RaftResponse, RequestVote, RequestVoteResponse};
use crate::raft::quorum::VoteResult;
use crate::raft::{Core, Role};

impl Core {
    /// No leader was heard for long enough.
    pub(super) fn campaign_or_wait(&mut self) {
        self.rearm_election();
        // A node whose disk hangs or is full could not keep a vote: it stays out until the write is done.
        let may_lead = self.may_be_elected() && !self.is_promised();
        if !may_lead || self.disk_hangs() || self.is_disk_full() {
            self.become_follower(self.hard_state.term, None);
            return;
        }
        self.start_pre_vote();
    }

    /// Whether this node may lead, and its store holds all that it has promised. A voter may, and one that voted until an
    /// entry that is not known to be committed: as long as the others may not have that one, nobody may be electable but
    /// this node, which has (dissertation §4.2.2).
    fn may_be_elected(&self) -> bool {
        let committed = self.configurations.committed(self.log.committed);
        let votes = [self.membership(), committed].map(|members| members.is_voter(&self.config.id));
        votes.contains(&true) && self.can_vote()
    }

    /// Whether the write under way takes longer than a leader may be silent.
    pub(super) fn disk_hangs(&self) -> bool {
        self.write_in_flight.as_ref().is_some_and(|write| {
            self.now.saturating_sub(write.since) > self.config.election_timeout_min
        })
    }

    /// Asks whether it could win, without disturbing anyone by a new term.
    fn start_pre_vote(&mut self) {
        self.become_follower(self.hard_state.term, None);
        self.role = Role::PreCandidate;
        self.ask_for_votes(true);
        self.votes.insert(self.config.id.clone(), true);
        self.count_votes();
    }

    /// Enters a new term, votes for itself and asks all others (§5.2).
    fn start_election(&mut self, transfer: bool) {
        self.forget_leadership();
        self.role = Role::Candidate;
        self.leader = None;
        self.transfer = transfer;
        self.hard_state = HardState {
            term: self.hard_state.term.next(),
            vote: Some(self.config.id.clone()),
        };
        self.hard_state_written = false;
        self.own_vote_after = Some(self.next_write);
        self.rearm_election();
        self.ask_for_votes(false);
    }

    fn ask_for_votes(&mut self, pre_vote: bool) {
        let term = if pre_vote {
            self.hard_state.term.next()
        } else {
            self.hard_state.term
        };
        let request = RequestVote {
            term,
            candidate_id: self.config.id.clone(),
            last: self.log.last(),
            pre_vote,
            transfer: self.transfer,
        };
        let after = if pre_vote { 0 } else { self.durable_after() };
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

    /// The candidate's vote for itself is durable.
    pub(super) fn count_own_vote(&mut self) {
        if self.role == Role::Candidate {
            self.votes.insert(self.config.id.clone(), true);
            self.count_votes();
        }
    }

    fn count_votes(&mut self) {
        match (self.membership().vote_result(&self.votes), self.role) {
            (VoteResult::Won, Role::PreCandidate) => self.start_election(false),
            (VoteResult::Won, Role::Candidate) => self.become_leader(),
            (VoteResult::Lost, _) => self.become_follower(self.hard_state.term, None),
            _ => {}
        }
    }

    fn become_leader(&mut self) {
        self.forget_leadership();
        self.role = Role::Leader;
        self.leader = Some(self.config.id.clone());
        let last = self.log.last().index;
        self.update_peers(last);
        self.reads.begin_term();
        self.lease.begin_term();
        self.election_deadline = self.now + self.config.election_timeout_min;
        self.heartbeat_deadline = self.now + self.config.heartbeat_interval;
        // Entries of earlier terms are committed by one of this term (§5.4.2, §8).
        self.term_start = last.next();
        self.append_own(0, Payload::Noop);
    }

    /// A vote is asked for (§5.2, §5.4.1).
    pub(super) fn on_request_vote(&mut self, from: &NodeId, request: &RequestVote) {
        if !self.can_vote() {
            // It may have voted in this term with a store that is gone.
            return;
        }
        if !request.transfer && (self.hears_a_leader() || self.is_promised()) {
            // Someone who can't hear the leader must not depose it. An older term is told ours all the same.
            if request.term < self.hard_state.term {
                self.answer_vote(from, request, false);
            }
            return;
        }
        if !request.pre_vote {
            self.observe_term(request.term);
        }
        let current = if request.pre_vote {
            request.term > self.hard_state.term
        } else {
            request.term == self.hard_state.term
                && self
                    .hard_state
                    .vote
                    .as_ref()
                    .is_none_or(|vote| *vote == request.candidate_id)
        };
        let granted = current && request.last >= self.log.last();
        if granted && !request.pre_vote {
            if self.hard_state.vote.is_none() {
                self.hard_state.vote = Some(request.candidate_id.clone());
                self.hard_state_written = false;
            }
            self.rearm_election();
        }
        self.answer_vote(from, request, granted);
    }

    fn answer_vote(&mut self, to: &NodeId, request: &RequestVote, granted: bool) {
        // A granted pre-vote speaks of the term asked for, which the voter has not entered.
        let term = if granted {
            request.term
        } else {
            self.hard_state.term
        };
        let answer = RequestVoteResponse {
            term,
            granted,
            pre_vote: request.pre_vote,
        };
        self.respond(to, RaftResponse::RequestVote(answer));
    }

    /// Whether a leader was heard within the shortest election timeout, or this node is one.
    fn hears_a_leader(&self) -> bool {
        self.role == Role::Leader
            || self.leader.is_some()
                && self.leader_heard_at.is_some_and(|at| {
                    self.now.saturating_sub(at) < self.config.election_timeout_min
                })
    }

    /// A voter has answered.
    pub(super) fn on_vote_response(&mut self, from: &NodeId, answer: &RequestVoteResponse) {
        if !(answer.pre_vote && answer.granted) {
            self.observe_term(answer.term);
        }
        let (role, term) = if answer.pre_vote {
            (Role::PreCandidate, self.hard_state.term.next())
        } else {
            (Role::Candidate, self.hard_state.term)
        };
        // A denied pre-vote carries the voter's own term, which may be any.
        let about_this =
            self.role == role && (answer.term == term || answer.pre_vote && !answer.granted);
        if about_this {
            self.votes.insert(from.clone(), answer.granted);
            self.count_votes();
        }
    }

    /// A follower gives up its leader: it grants pre-votes and votes from now on, as if it had not heard the leader
    /// for an election timeout, and follows it again where it is heard again. No term ends by it. For whoever knows
    /// better than a timeout that the leader is gone. Where the leader was promised otherwise it does nothing.
    pub fn forget_leader(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.role == Role::Follower && !self.is_promised() {
            self.become_follower(self.hard_state.term, None);
        }
    }

    /// The leader wants this node to take over at once.
    pub(super) fn on_timeout_now(&mut self, from: &NodeId, term: Term) {
        self.observe_term(term);
        let asked_by_leader = term == self.hard_state.term && self.leader.as_ref() == Some(from);
        let may_lead = self.role == Role::Follower && self.may_be_elected();
        if asked_by_leader && may_lead && !self.disk_hangs() && !self.is_disk_full() {
            self.start_election(true);
        }
    }
}
