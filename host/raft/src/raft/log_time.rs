//! How the core reads, exchanges and uses clocks. [`super::clock`] explains the rules.

use std::time::Duration;

use crate::ids::{NodeId, Term};
use crate::message::{ClockReport, ClockRequest, Message, RaftRequest, RaftResponse};
use crate::raft::clock::{ClockStatus, Leaving};
use crate::raft::progress::{Progress, ProgressState};
use crate::raft::quorum::VoteResult;
use crate::raft::{Core, Role};

/// The first version of the protocol with reports of clocks.
const CLOCK_PROTOCOL: u16 = 2;
/// The pause before another attempt to leave the leadership is doubled so many times, at most.
const MAX_LEAVE_DOUBLINGS: u32 = 6;
/// The same for the time that a leadership that came back is kept.
const MAX_KEEP_DOUBLINGS: u32 = 3;

impl Core {
    // ----- this node's clock, and the time of the log -----

    /// A reading of this node's wall clock, in milliseconds since 1970. Call it whenever the driver wakes up.
    pub fn note_wall_clock(&mut self, now: Duration, wall_ms: u64) {
        self.now = self.now.max(now);
        if self.clocks.on_reading(self.now, wall_ms) {
            self.update_cluster_clock();
        }
    }

    /// The time that an entry would get now, in milliseconds since 1970.
    #[must_use]
    pub fn log_time_ms(&self, now: Duration) -> u64 {
        let time_ms = self.clocks.time_ms(now, self.may_use_own_clock());
        time_ms.max(self.log.last_time_ms())
    }

    /// What this node knows about its clock and about the time of the log.
    #[must_use]
    pub fn clock_status(&self) -> ClockStatus {
        let may_use_own = self.may_use_own_clock();
        self.clocks.status(may_use_own, self.log.last_time_ms())
    }

    /// The time of an entry that this leader appends now.
    pub(super) fn stamp(&mut self, wall_ms: u64) -> u64 {
        self.note_wall_clock(self.now, wall_ms);
        if !self.clocks.is_bounded() {
            return wall_ms;
        }
        self.note_log_time();
        if !self.knows_log_time() {
            // No command: the entry has no time, like the first of a leader.
            return 0;
        }
        let may_use_own = self.may_use_own_clock();
        self.clocks.stamp(self.now, may_use_own)
    }

    /// The log may have entries of another node.
    pub(super) fn note_log_time(&mut self) {
        self.clocks.on_log_time(self.log.last_time_ms(), self.now);
    }

    /// Whether this node's clock counts while the cluster's clock is not known. Only at level 0: the other nodes may be too old to
    /// report their clocks, and a log without a time begins with the clock of its first leader, as in the release before.
    fn may_use_own_clock(&self) -> bool {
        if self.clocks.knows_cluster() || self.cluster().level > 0 {
            return false;
        }
        self.log.last_time_ms() == 0 || !self.majority_reports_clocks()
    }

    /// Whether there is a time for commands. There is none in a log without a time before the clocks of a majority are known and agree: one
    /// wrong clock would decide where the time of the cluster begins.
    pub(super) fn knows_log_time(&self) -> bool {
        !self.clocks.is_bounded()
            || self.clocks.is_settled()
            || self.log.last_time_ms() > 0
            || self.may_use_own_clock()
    }

    /// Whether a majority of the voters is known to run a release that reports clocks.
    fn majority_reports_clocks(&self) -> bool {
        let reports = |id: &NodeId| {
            let hello = self.met.hello(id);
            *id == self.config.id || hello.is_some_and(|hello| hello.protocol >= CLOCK_PROTOCOL)
        };
        let voters = self.membership().voters().cloned();
        let votes = voters.map(|id| (id.clone(), reports(&id))).collect();
        self.membership().vote_result(&votes) == VoteResult::Won
    }

    /// A clock or the membership has changed.
    pub(super) fn update_cluster_clock(&mut self) {
        let membership = self.configurations.current();
        self.clocks.update(membership, &self.config.id, self.now);
    }

    // ----- reports -----

    /// A leader requests the clocks of its peers, and reports to each how its clock differs from the cluster's.
    pub(super) fn request_clocks(&mut self) {
        // Commands wait for the first reports.
        let interval = if self.knows_log_time() {
            self.config.election_timeout_min
        } else {
            self.config.heartbeat_interval
        };
        let Some(number) = self.clocks.begin_request(self.now, interval) else {
            return;
        };
        for peer in self.peer_ids() {
            let request = ClockRequest {
                term: self.hard_state.term,
                number,
                offset: self.clocks.offset_of_peer(&peer, self.now),
            };
            self.request(&peer, RaftRequest::Clock(request), 0);
        }
    }

    /// The leader requests this node's clock.
    pub(super) fn on_clock_request(&mut self, from: &NodeId, request: &ClockRequest) {
        if request.term != self.hard_state.term || self.leader() != Some(from) {
            return;
        }
        if let Some(offset) = request.offset {
            self.clocks.on_told(request.term, offset);
        }
        self.report_clock(from, request.term, request.number);
    }

    /// Reports this node's clock. The report acknowledges nothing, so it does not wait for the disk.
    pub(super) fn report_clock(&mut self, to: &NodeId, term: Term, number: u64) {
        let Some(wall_ms) = self.clocks.report(self.now, term, number) else {
            return;
        };
        let report = ClockReport {
            term,
            number,
            wall_ms,
        };
        self.send(to, Message::Response(RaftResponse::Clock(report)), 0);
    }

    /// A node reports its clock, to this leader or together with its vote.
    pub(super) fn on_clock_report(&mut self, from: &NodeId, report: &ClockReport) {
        let wanted = match self.role() {
            Role::Follower => return,
            Role::PreCandidate => self.hard_state.term.next(),
            Role::Candidate | Role::Leader => self.hard_state.term,
        };
        let requested_at = if report.number == ClockReport::WITH_VOTE {
            self.clocks.campaign_began(report.term)
        } else {
            self.clocks.requested_at(report.number)
        };
        let Some(requested_at) = requested_at.filter(|_| report.term == wanted) else {
            return;
        };
        self.clocks.on_report(from, report, requested_at, self.now);
        self.update_cluster_clock();
    }

    // ----- a clock outside of the bound -----

    /// Whether this node lets the others campaign first, because its clock is outside of the bound. It does so once: after that
    /// it campaigns, because a leader with a wrong clock is better than none.
    pub(super) fn yields_campaign(&mut self) -> bool {
        if self.clocks.has_yielded || !self.clocks.is_skewed() || self.is_alone() {
            return false;
        }
        self.clocks.has_yielded = true;
        self.become_follower(self.hard_state.term, None);
        self.rearm_election();
        self.election_deadline += 2 * self.config.election_timeout_max;
        true
    }

    /// A leader whose clock is outside of the bound transfers its leadership to a voter that is inside, is running and has
    /// caught up. Proposals wait during the transfer, so attempts that fail become rarer.
    ///
    /// Another leader may have given it the leadership because its own state is wrong: then that node needs a snapshot of this one. So
    /// this node keeps a leadership that it was given, or that came back: for a while, and as long as it sends a snapshot to a voter
    /// that runs.
    pub(super) fn leave_if_skewed(&mut self) {
        if !self.clocks.is_skewed() {
            self.clocks.leaving = Leaving {
                was_given: self.clocks.leaving.was_given,
                ..Leaving::default()
            };
            return;
        }
        self.keep_given_leadership();
        let leaving = self.clocks.leaving;
        let is_needed = (leaving.attempts > 0 || leaving.was_given) && self.sends_snapshot();
        let is_due = self.now >= leaving.retry_at && !is_needed;
        if !is_due || !self.has_committed_in_term() || self.transferring_to().is_some() {
            return;
        }
        let Some(to) = self.voter_with_right_clock() else {
            return;
        };
        let leaving = &mut self.clocks.leaving;
        let doublings = leaving.attempts.min(MAX_LEAVE_DOUBLINGS);
        leaving.attempts += 1;
        leaving.retry_at = self.now + self.config.election_timeout_max * 2u32.pow(1 + doublings);
        // It can only fail if this node is no leader, or `to` no voter.
        let _ = self.transfer_leadership(self.now, Some(to));
    }

    /// Delays the next attempt to leave, if this node leads again after an earlier one, or another leader gave it the leadership.
    fn keep_given_leadership(&mut self) {
        let (term, now) = (self.hard_state.term, self.now);
        let leaving = &mut self.clocks.leaving;
        if leaving.term == term {
            return;
        }
        leaving.term = term;
        if leaving.attempts > 0 || leaving.was_given {
            let doublings = leaving.attempts.min(MAX_KEEP_DOUBLINGS);
            let until = now + self.config.election_timeout_max * 2u32.pow(doublings);
            leaving.retry_at = leaving.retry_at.max(until);
        }
    }

    /// Whether a voter that runs is receiving a snapshot.
    fn sends_snapshot(&self) -> bool {
        let horizon = self.config.election_timeout_min;
        let receives = |peer: &Progress| {
            let is_running = self.now.saturating_sub(peer.heard_at) < horizon;
            is_running && matches!(peer.state, ProgressState::Snapshot(_))
        };
        let voters = self.other_voters();
        let mut peers = voters.iter().filter_map(|id| self.role.peer(id));
        peers.any(receives)
    }

    fn voter_with_right_clock(&self) -> Option<NodeId> {
        let horizon = self.config.election_timeout_min;
        let fits = |peer: &Progress| {
            peer.matched >= self.log.committed && self.now.saturating_sub(peer.heard_at) < horizon
        };
        let voters = self.other_voters().into_iter();
        voters
            .filter(|id| self.membership().is_new_voter(id) && self.has_right_clock(id))
            .filter_map(|id| Some((self.role.peer(&id).filter(|peer| fits(peer))?, id)))
            .max_by_key(|(peer, _)| (peer.matched, peer.heard_at))
            .map(|(_, id)| id)
    }

    /// Whether it is certain that a peer's clock is within the bound.
    pub(super) fn has_right_clock(&self, peer: &NodeId) -> bool {
        self.clocks.is_inside(peer, self.now)
    }
}
