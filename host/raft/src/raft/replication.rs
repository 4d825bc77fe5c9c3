//! The leader's side of replication and commitment: §5.3, §5.4.2.

use std::time::Duration;

use crate::entry::{Entry, Payload};
use crate::identity::Sender;
use crate::ids::{Index, LogId, NodeId};
use crate::message::{AppendEntries, AppendEntriesResponse, AppendResult, RaftRequest};
use crate::raft::Core;
use crate::raft::progress::{Progress, ProgressState};
use crate::raft::ready::{LogRead, ReadFor};

impl Core {
    pub(super) fn tick_leader(&mut self) {
        if self.disk_hangs() {
            // The other nodes may have entries that this one cannot write: one of them can become leader without an
            // election timeout.
            return self.step_down();
        }
        let (now, timeout) = (self.now, self.config.election_timeout_min);
        let quorum_check = self
            .role
            .as_leader_mut()
            .filter(|leader| now >= leader.quorum_check_deadline);
        if let Some(leader) = quorum_check {
            leader.quorum_check_deadline = now + timeout;
            if !self.has_live_quorum() {
                // Without a majority it cannot commit anything (dissertation §6.2).
                self.become_follower(self.hard_state.term, None);
                return;
            }
        }
        self.abort_overdue_transfer();
        self.forget_removed();
        let leader = self.role.as_leader();
        if leader.is_some_and(|leader| now >= leader.heartbeat_deadline) {
            self.broadcast_heartbeat();
        }
        self.leave_if_skewed();
    }

    /// Whether a majority has responded within the minimum election timeout.
    fn has_live_quorum(&self) -> bool {
        let horizon = self.config.election_timeout_min;
        self.membership().reached(|voter| {
            let peer = self.role.peer(voter);
            let live = |peer: &Progress| self.now.saturating_sub(peer.heard_at) < horizon;
            *voter == self.config.id || peer.is_some_and(live)
        })
    }

    /// Sends a heartbeat to every peer and begins a new round.
    pub(super) fn broadcast_heartbeat(&mut self) {
        let Some(leader) = self.role.as_leader_mut() else {
            return;
        };
        leader.heartbeat_deadline = self.now + self.config.heartbeat_interval;
        self.round += 1;
        if self.config.lease_drift_percent.is_some() {
            leader.lease.begin_round(self.round, self.now);
        }
        for peer in self.peer_ids() {
            self.retry_snapshot_chunk(&peer);
            self.send_heartbeat(&peer);
        }
        self.request_clocks();
        self.advance_transfer();
        self.promote_rejoined();
        self.confirm_reads();
    }

    fn send_heartbeat(&mut self, to: &NodeId) {
        let Some(peer) = self.role.peer_mut(to) else {
            return;
        };
        // A response to this heartbeat also serves as the response to a probe, which may be lost. If the log no longer
        // contains the entry before `next`, it does not, and the probe is sent again.
        let known = self.log.term_at(peer.next.previous()).is_some();
        if let ProgressState::Probe { in_flight } = &mut peer.state {
            *in_flight = in_flight.filter(|_| known);
        }
        let previous = match peer.state {
            ProgressState::Snapshot(_) => peer.matched,
            _ => peer.next.previous(),
        };
        // If the log no longer contains that entry, the purge point takes its place: the message only proves leadership.
        let previous = self
            .log
            .term_at(previous)
            .map_or(self.log.purged(), |term| LogId::new(term, previous));
        self.send_entries(to, previous, Vec::new());
    }

    fn send_entries(&mut self, to: &NodeId, previous: LogId, entries: Vec<Entry>) {
        let commit = self.log.committed;
        if let Some(peer) = self.role.peer_mut(to) {
            peer.sent_commit = commit;
        }
        let append = AppendEntries {
            term: self.hard_state.term,
            leader_id: self.config.id.clone(),
            previous,
            entries,
            leader_commit: commit,
            round: self.round,
        };
        // The leader sends entries before its own write is durable. Its own log counts only afterwards
        // (dissertation §10.2.1).
        self.request(to, RaftRequest::AppendEntries(append), 0);
    }

    /// Sends each peer the entries that it lacks, as far as its window allows, and the commit index.
    pub(super) fn replicate_to_all(&mut self) {
        let now = self.now;
        let Some(leader) = self.role.as_leader_mut() else {
            return;
        };
        let due = leader.commit_notice_deadline.take_if(|at| *at <= now);
        let mut delayed = false;
        for peer in self.peer_ids() {
            while self.replicate_to(&peer) {}
            delayed |= self.send_commit_index(&peer, due.is_some());
        }
        if let Some(leader) = self.role.as_leader_mut() {
            let earlier = leader.commit_notice_deadline.filter(|_| delayed);
            let new = delayed.then(|| now + self.config.limits.commit_delay);
            leader.commit_notice_deadline = earlier.or(new);
        }
    }

    /// Clients of this peer have sent a command or a read. For a minimum election timeout, the peer receives every commit
    /// index without [`Limits::commit_delay`](crate::raft::Limits::commit_delay).
    pub fn note_client_activity(&mut self, peer: &NodeId) {
        let until = self.now + self.config.election_timeout_min;
        if let Some(peer) = self.role.peer_mut(peer) {
            peer.eager_until = until;
        }
    }

    /// An entry has ended the waits of clients that may be connected to any node: a commit index that is delayed is sent now.
    pub fn announce_commit(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let now = self.now;
        if let Some(leader) = self.role.as_leader_mut()
            && let Some(deadline) = &mut leader.commit_notice_deadline
        {
            *deadline = now;
        }
    }

    /// Sends one message with entries. Returns whether another may follow.
    fn replicate_to(&mut self, to: &NodeId) -> bool {
        let limits = &self.config.limits;
        let Some(peer) = self.role.peer_mut(to) else {
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
            // Nothing to send. A probe is sent once without entries.
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
        if let (Some(peer), Some(last)) = (self.role.peer_mut(to), entries.last()) {
            peer.sent(last.id.index, size);
        }
        self.send_entries(to, previous, entries);
    }

    /// Entries for a follower that is far behind were read from the disk.
    pub(super) fn send_read_entries(&mut self, to: &NodeId, entries: Vec<Entry>) {
        let limits = &self.config.limits;
        let Some(peer) = self.role.peer_mut(to) else {
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

    /// Sends a new commit index to a peer, so that its clients need not wait for a heartbeat. If none of its clients waits and
    /// the index is not `due`, it is delayed: under load the next entries carry it soon. Returns whether it was delayed.
    fn send_commit_index(&mut self, to: &NodeId, due: bool) -> bool {
        let committed = self.log.committed;
        let Some(peer) = self.role.peer(to) else {
            return false;
        };
        let behind =
            matches!(peer.state, ProgressState::Replicate { .. }) && peer.sent_commit < committed;
        if !behind || peer.next <= committed {
            return false;
        }
        let delay =
            !due && self.now >= peer.eager_until && !self.config.limits.commit_delay.is_zero();
        if !delay {
            self.send_heartbeat(to);
        }
        delay
    }

    /// Appends an entry to the leader's own log. The next [`Core::ready`] sends it to the peers.
    /// `wall_ms` is this node's wall clock, from which the time of the entry follows by the rules of [`super::clock`]. 0: the
    /// entry has the time of the entry before it.
    pub(super) fn append_own(&mut self, wall_ms: u64, mut payload: Payload) -> LogId {
        let time_ms = if wall_ms == 0 { 0 } else { self.stamp(wall_ms) };
        if let Some(membership) = payload.membership_mut() {
            // A new node has no addresses and takes them from this entry.
            membership.fill_in_addresses(&self.config.addresses);
        }
        let id = LogId::new(self.hard_state.term, self.log.last().index.next());
        let entry = Entry {
            id,
            time_ms: time_ms.max(self.log.last_time_ms()),
            payload,
        };
        let changes_members = self.adopt_configuration(&entry);
        if let Some(leader) = self.role.as_leader_mut() {
            leader.uncommitted.push(id.index, entry.cost());
        }
        self.log.append(entry);
        if changes_members {
            self.on_members_changed();
        }
        id
    }

    /// Commits the entries that a majority has on its disks, if an entry of this term is among them. Without one, an older
    /// entry could still be overwritten (§5.4.2, Figure 8).
    pub(super) fn advance_commit(&mut self) {
        let index = self.membership().reached(|voter| {
            if *voter == self.config.id {
                return self.log.stable();
            }
            let peer = self.role.peer(voter);
            peer.map_or(Index::ZERO, |peer| peer.matched)
        });
        if index > self.log.committed && self.log.term_at(index) == Some(self.hard_state.term) {
            self.log.committed = index;
            if let Some(leader) = self.role.as_leader_mut() {
                leader.uncommitted.complete(index);
            }
            self.confirm_reads();
            self.after_commit();
        }
    }

    /// A follower has responded.
    pub(super) fn on_append_response(&mut self, sender: &Sender, response: &AppendEntriesResponse) {
        let from = &sender.id;
        self.observe_term(response.term);
        if response.term != self.hard_state.term {
            return;
        }
        let (now, newest, last) = (self.now, self.round, self.log.last().index);
        let Some(peer) = self.role.peer_mut(from) else {
            return;
        };
        peer.responds_from(sender.store_id, last, now);
        peer.heard_at = now;
        peer.round = peer.round.max(response.round.min(newest));
        match response.result {
            AppendResult::Matched(index) => {
                if peer.matched_up_to(index.min(last), newest) {
                    self.advance_commit();
                    self.promote_rejoined();
                }
            }
            AppendResult::Mismatch { rejected, .. }
                if peer.lacks_acknowledged(rejected, response.round) =>
            {
                self.on_lost_entries(sender);
            }
            AppendResult::Mismatch { rejected, hint } => self.on_mismatch(from, rejected, hint),
            AppendResult::Ignored => {}
        }
        self.confirm_reads();
        self.advance_transfer();
        self.forget_removed();
    }

    /// A peer lacks an entry that it has acknowledged in this term: its store went backwards under the running node. Its former
    /// acknowledgements are void.
    fn on_lost_entries(&mut self, sender: &Sender) {
        let (now, last) = (self.now, self.log.last().index);
        if let Some(peer) = self.role.peer_mut(&sender.id) {
            *peer = Progress {
                heard_at: peer.heard_at,
                removed: peer.removed,
                store_id: peer.store_id,
                ..Progress::new(last, now)
            };
        }
        self.report_replaced(sender);
    }

    /// The logs differ at `rejected`. Retries where they may agree, skipping whole terms (§5.3).
    fn on_mismatch(&mut self, from: &NodeId, rejected: LogId, hint: LogId) {
        let agreement = self.log.agreement_below(hint);
        let Some(peer) = self.role.peer_mut(from) else {
            return;
        };
        if peer.store_id.is_some() && rejected.index <= peer.matched {
            // A late acknowledgement of its former store had set `matched`. A lower value is always safe.
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
}
