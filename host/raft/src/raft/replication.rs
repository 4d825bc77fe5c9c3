//! Replication and commitment: §5.3, §5.4.2.

use std::time::Duration;

use crate::entry::{Entry, Payload};
use crate::ids::{Index, LogId, NodeId, Term};
use crate::message::{
    AppendEntries, AppendEntriesResponse, AppendResult, RaftRequest, RaftResponse,
};
use crate::raft::progress::{Progress, ProgressState};
use crate::raft::ready::{LogRead, ReadFor};
use crate::raft::{Core, Role};

impl Core {
    // ----- as a leader -----

    pub(super) fn tick_leader(&mut self) {
        if self.disk_hangs() {
            // The others may have what it can't write down: one of them takes over, and nobody waits for a timeout.
            return self.step_down();
        }
        if self.now >= self.election_deadline {
            self.election_deadline = self.now + self.config.election_timeout_min;
            if !self.hears_a_majority() {
                // Cut off from its majority: it could not commit anything (dissertation §6.2).
                self.become_follower(self.hard_state.term, None);
                return;
            }
        }
        self.give_up_transfer();
        self.forget_removed();
        if self.now >= self.heartbeat_deadline {
            self.broadcast_heartbeat();
        }
    }

    fn hears_a_majority(&self) -> bool {
        let horizon = self.config.election_timeout_min;
        self.membership().reached(|voter| {
            let peer = self.peers.get(voter);
            let heard = |peer: &Progress| self.now.saturating_sub(peer.heard_at) < horizon;
            *voter == self.config.id || peer.is_some_and(heard)
        })
    }

    /// Speaks to every peer, as a new round.
    pub(super) fn broadcast_heartbeat(&mut self) {
        self.heartbeat_deadline = self.now + self.config.heartbeat_interval;
        self.reads.next_round();
        self.note_round();
        for peer in self.others() {
            self.retry_snapshot_chunk(&peer);
            self.send_heartbeat(&peer);
        }
        self.advance_transfer();
        self.take_in_returned();
        self.confirm_reads();
    }

    fn send_heartbeat(&mut self, to: &NodeId) {
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        // Where a probe is under way, the answer to this says as much as that to the probe, which may have been lost. But
        // where the log no longer reaches back to it, none would help.
        let known = self.log.term_at(peer.next.previous()).is_some();
        if let ProgressState::Probe { under_way } = &mut peer.state {
            *under_way = under_way.filter(|_| known);
        }
        let previous = match peer.state {
            ProgressState::Snapshot(_) => peer.matched,
            _ => peer.next.previous(),
        };
        // Where the log no longer knows that entry, the purge point says that this node leads, and no more.
        let previous = self
            .log
            .term_at(previous)
            .map_or(self.log.purged(), |term| LogId::new(term, previous));
        self.send_entries(to, previous, Vec::new());
    }

    fn send_entries(&mut self, to: &NodeId, previous: LogId, entries: Vec<Entry>) {
        let commit = self.log.committed;
        if let Some(peer) = self.peers.get_mut(to) {
            peer.told_commit = commit;
        }
        let append = AppendEntries {
            term: self.hard_state.term,
            leader_id: self.config.id.clone(),
            previous,
            entries,
            leader_commit: commit,
            round: self.reads.round(),
        };
        // A leader sends beside its own write; it counts itself only once that is durable (dissertation §10.2.1).
        self.request(to, RaftRequest::AppendEntries(append), 0);
    }

    /// Sends each peer what it lacks, as far as its window allows.
    pub(super) fn replicate_to_all(&mut self) {
        if self.role != Role::Leader {
            return;
        }
        let due = self.tell_commit_at.take_if(|at| *at <= self.now).is_some();
        let mut later = false;
        for peer in self.others() {
            while self.replicate_to(&peer) {}
            later |= self.tell_commit(&peer, due);
        }
        self.tell_commit_at = self
            .tell_commit_at
            .filter(|_| later)
            .or_else(|| later.then(|| self.now + self.config.limits.commit_delay));
    }

    /// This peer's clients have sent a command or asked a question: it is told of commits at once for a while.
    pub fn note_client_activity(&mut self, peer: &NodeId) {
        let until = self.now + self.config.election_timeout_min;
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.eager_until = until;
        }
    }

    /// Sends one message with entries. Says whether another may follow.
    fn replicate_to(&mut self, to: &NodeId) -> bool {
        let limits = &self.config.limits;
        let Some(peer) = self.peers.get_mut(to) else {
            return false;
        };
        let room = peer.has_room(limits.in_flight_messages, limits.in_flight_bytes);
        let (from, last, max_bytes) = (peer.next, self.log.last().index, limits.message_bytes);
        if peer.reading || !room {
            return false;
        }
        let Some(term) = self.log.term_at(from.previous()) else {
            self.start_snapshot_transfer(to);
            return false;
        };
        if from > last {
            // Nothing new; a probe asks all the same, once.
            if matches!(peer.state, ProgressState::Probe { .. }) {
                peer.sent(last, 0);
                self.send_entries(to, LogId::new(term, from.previous()), Vec::new());
            }
            return false;
        }
        let Some(entries) = self.log.cached(from, last, max_bytes) else {
            peer.reading = true;
            let reader = ReadFor::Peer(to.clone());
            self.out.log_reads.push(LogRead {
                reader,
                from,
                to: last,
                max_bytes,
            });
            return false;
        };
        self.dispatch(to, LogId::new(term, from.previous()), entries);
        true
    }

    fn dispatch(&mut self, to: &NodeId, previous: LogId, entries: Vec<Entry>) {
        let size = entries.iter().map(Entry::cost).sum();
        if let (Some(peer), Some(last)) = (self.peers.get_mut(to), entries.last()) {
            peer.sent(last.id.index, size);
        }
        self.send_entries(to, previous, entries);
    }

    /// Entries for a follower that is far behind are here.
    pub(super) fn send_read_entries(&mut self, to: &NodeId, entries: Vec<Entry>) {
        let limits = &self.config.limits;
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        peer.reading = false;
        let wanted = entries
            .first()
            .is_some_and(|first| first.id.index == peer.next)
            && entries.iter().all(|entry| self.log.holds(entry.id));
        if !wanted || !peer.has_room(limits.in_flight_messages, limits.in_flight_bytes) {
            return;
        }
        let previous = peer.next.previous();
        if let Some(term) = self.log.term_at(previous) {
            self.dispatch(to, LogId::new(term, previous), entries);
        }
    }

    /// Tells a peer that more is committed, so that its clients don't wait for a heartbeat. Where none of them waits
    /// and it is not due, that has time: the next entries say so as well, and under load they come soon. True if it
    /// is left for later.
    fn tell_commit(&mut self, to: &NodeId, due: bool) -> bool {
        let committed = self.log.committed;
        let Some(peer) = self.peers.get(to) else {
            return false;
        };
        let behind =
            matches!(peer.state, ProgressState::Replicate { .. }) && peer.told_commit < committed;
        if !behind || peer.next <= committed {
            return false;
        }
        let later =
            !due && self.now >= peer.eager_until && !self.config.limits.commit_delay.is_zero();
        if !later {
            self.send_heartbeat(to);
        }
        later
    }

    /// Appends an entry to its own log; the peers get it with the next [`Core::ready`].
    pub(super) fn append_own(&mut self, wall_ms: u64, mut payload: Payload) -> LogId {
        if let Payload::Membership(membership) = &mut payload {
            // Whoever is added now knows nobody, and hears from this leader how to reach them.
            membership.fill_in_addresses(&self.config.addresses);
        }
        let id = LogId::new(self.hard_state.term, self.log.last().index.next());
        let entry = Entry {
            id,
            time_ms: wall_ms.max(self.log.last_time_ms()),
            payload,
        };
        let changes_members = self.take_in_force(&entry);
        let cost = entry.cost();
        self.uncommitted.push_back((id.index, cost));
        self.uncommitted_bytes += cost;
        self.log.append(entry);
        if changes_members {
            self.members_changed();
        }
        id
    }

    /// A configuration is in force once it is appended, committed or not (dissertation §4.1). Says whether this is one.
    fn take_in_force(&mut self, entry: &Entry) -> bool {
        let Payload::Membership(membership) = &entry.payload else {
            return false;
        };
        let membership = membership.clone();
        self.configurations.append(entry.id.index, membership);
        true
    }

    /// Commits what a majority has on its disks, if that reaches an entry of this term: an older one could
    /// still be overwritten although a majority holds it (§5.4.2, Figure 8).
    pub(super) fn advance_commit(&mut self) {
        let index = self.membership().reached(|voter| {
            if *voter == self.config.id {
                return self.log.stable();
            }
            let peer = self.peers.get(voter);
            peer.map_or(Index::ZERO, |peer| peer.matched)
        });
        if index > self.log.committed && self.log.term_at(index) == Some(self.hard_state.term) {
            self.log.committed = index;
            while self
                .uncommitted
                .front()
                .is_some_and(|&(first, _)| first <= index)
            {
                self.uncommitted_bytes -= self.uncommitted.pop_front().map_or(0, |(_, cost)| cost);
            }
            self.confirm_reads();
            self.after_commit();
        }
    }

    /// A follower has answered.
    pub(super) fn on_append_response(&mut self, from: &NodeId, answer: &AppendEntriesResponse) {
        self.observe_term(answer.term);
        if self.role != Role::Leader || answer.term != self.hard_state.term {
            return;
        }
        let (now, newest) = (self.now, self.reads.round());
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        peer.heard_at = now;
        peer.round = peer.round.max(answer.round.min(newest));
        match answer.result {
            AppendResult::Matched(index) => {
                if peer.matched_up_to(index.min(self.log.last().index)) {
                    self.advance_commit();
                    self.take_in_returned();
                }
            }
            AppendResult::Mismatch { rejected, hint } => self.on_mismatch(from, rejected, hint),
            AppendResult::Ignored => {}
        }
        self.confirm_reads();
        self.advance_transfer();
        self.forget_removed();
    }

    /// The logs differ at `rejected`: tries again where they may agree, skipping whole terms (§5.3).
    fn on_mismatch(&mut self, from: &NodeId, rejected: LogId, hint: LogId) {
        let agreement = self.log.agreement_below(hint);
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        if peer.store_id.is_some() && rejected.index <= peer.matched {
            // Its former store had acknowledged that, and the word came late. To take too little for granted is safe.
            peer.matched = Index::ZERO;
        }
        let late = match peer.state {
            ProgressState::Probe { .. } => rejected.index != peer.next.previous(),
            ProgressState::Replicate { .. } => rejected.index <= peer.matched,
            ProgressState::Snapshot(_) => true,
        };
        if !late {
            peer.probe(agreement.index.min(rejected.index.previous()).next());
        }
    }

    // ----- as a follower -----

    /// Heartbeat and replication from the leader (§5.3).
    pub(super) fn on_append_entries(&mut self, from: &NodeId, append: AppendEntries) {
        if append.term < self.hard_state.term {
            return self.answer_append(from, append.round, AppendResult::Ignored, None);
        }
        if !self.follow(append.term, from) || !self.is_welcome(from) {
            return;
        }
        let promise = self.promise();
        let heartbeat = append.entries.is_empty();
        let leader_commit = append.leader_commit;
        let result = match self.accept_entries(append.previous, append.entries, leader_commit) {
            // A heartbeat is answered at once, with what the disk has: reads and check-quorum wait for it.
            AppendResult::Matched(index) if heartbeat => {
                AppendResult::Matched(index.min(self.log.stable()))
            }
            result => result,
        };
        self.answer_append(from, append.round, result, promise);
        if heartbeat && self.log.committed >= leader_commit {
            self.object_to_another_store(from);
        }
    }

    /// There is a leader of this term: a candidate steps back, a follower waits anew (§5.2).
    ///
    /// Says no where this node itself leads that term. Two leaders in one term come only from a vote that a disk
    /// has lost or from a forged message; nothing that could be done with it is safe, so nothing is.
    #[must_use]
    pub(super) fn follow(&mut self, term: Term, leader: &NodeId) -> bool {
        if self.role == Role::Leader && term == self.hard_state.term {
            return false;
        }
        self.become_follower(term, Some(leader.clone()));
        self.leader_heard_at = Some(self.now);
        self.rearm_election();
        true
    }

    fn answer_append(
        &mut self,
        to: &NodeId,
        round: u64,
        result: AppendResult,
        promise: Option<u64>,
    ) {
        let answer = AppendEntriesResponse {
            term: self.hard_state.term,
            round,
            result,
        };
        let response = match promise {
            None => RaftResponse::AppendEntries(answer),
            Some(ms) => RaftResponse::LeaseGranted(answer, ms),
        };
        match result {
            AppendResult::Matched(index) if index > self.log.stable() => self.respond(to, response),
            _ => self.respond_in_term(to, response),
        }
    }

    fn accept_entries(
        &mut self,
        previous: LogId,
        entries: Vec<Entry>,
        leader_commit: Index,
    ) -> AppendResult {
        if previous.index >= self.log.purged().index && !self.log.holds(previous) {
            let hint = self
                .log
                .agreement_below(LogId::new(previous.term, previous.index.previous()));
            return AppendResult::Mismatch {
                rejected: previous,
                hint,
            };
        }
        let last = Index(previous.index.0 + entries.len() as u64);
        let mut members_changed = false;
        for entry in entries {
            members_changed |= self.accept_entry(entry);
        }
        if members_changed {
            self.members_changed();
        }
        self.log.committed = self.log.committed.max(leader_commit.min(last));
        self.configurations.compact(self.log.committed);
        self.update_eligibility();
        AppendResult::Matched(last.max(self.log.committed))
    }

    /// Keeps what agrees, replaces what conflicts, appends what is new. Never removes an entry that agrees: the
    /// message may be an old one, and entries behind it may already count (§5.3). Says whether other members may be
    /// in force by it.
    fn accept_entry(&mut self, entry: Entry) -> bool {
        if entry.id.index <= self.log.committed || self.log.holds(entry.id) {
            return false;
        }
        let mut members_change = false;
        if entry.id.index <= self.log.last().index {
            self.log.truncate(entry.id.index);
            self.configurations.truncate(entry.id.index);
            members_change = true;
        }
        members_change |= self.take_in_force(&entry);
        self.log.append(entry);
        members_change
    }

    /// When this follower gives up on its leader; for tests.
    #[must_use]
    pub fn election_deadline(&self) -> Duration {
        self.election_deadline
    }
}
