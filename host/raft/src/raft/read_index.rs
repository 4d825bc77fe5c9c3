//! Linearizable reads without log entries: ReadIndex (dissertation §6.4).
//!
//! A leader records the commit index when a read arrives. The read may be served from this index once a majority has
//! responded to a heartbeat round that began after the read arrived. This proves that no other leader had committed a later
//! entry. A leader with a [lease](super::lease) needs no round. A follower sends the read to its leader. Responses carry the
//! term and a number, so a late response is never taken for that of another read.

use std::time::Duration;

use crate::ids::{Index, NodeId};
use crate::message::{
    AppendEntriesResponse, RaftRequest, RaftResponse, ReadIndex, ReadIndexResponse,
};
use crate::raft::Core;
use crate::raft::membership::Membership;
use crate::raft::reads::{PendingRead, Reader};

impl Core {
    /// Requests the index from which a read is linearizable. The result is a [`ReadState`](super::ready::ReadState) with this
    /// `id`.
    pub fn read(&mut self, now: Duration, id: u64) {
        self.now = self.now.max(now);
        if self.pending_reads() + self.forwarded_reads.len() >= self.config.limits.pending_reads {
            return self.resolve_read(id, None);
        }
        if self.role.is_leader() {
            return self.queue_read(Reader::Local(id));
        }
        let Some(leader) = self.leader().cloned() else {
            return self.resolve_read(id, None);
        };
        self.forwarded_reads.insert(id, self.now);
        let term = self.hard_state.term;
        self.request(&leader, RaftRequest::ReadIndex(ReadIndex { term, id }), 0);
    }

    fn pending_reads(&self) -> usize {
        let leader = self.role.as_leader();
        leader.map_or(0, |leader| leader.reads.queue.len())
    }

    fn queue_read(&mut self, reader: Reader) {
        if self.lease_until().is_some() {
            return self.respond_to_read(reader, Some(self.log.committed));
        }
        let index = self.has_committed_in_term().then_some(self.log.committed);
        let Some(leader) = self.role.as_leader_mut() else {
            return;
        };
        let idle = leader.reads.confirmed_round == self.round;
        leader.reads.queue.push_back(PendingRead {
            reader,
            index,
            round: self.round + 1,
        });
        // While a round is in flight, further reads wait for it and share the next one.
        if idle && index.is_some() {
            self.broadcast_heartbeat();
        }
    }

    /// Resolves the reads that a majority has confirmed, and begins a round for those that arrived later.
    pub(super) fn confirm_reads(&mut self) {
        if !self.has_committed_in_term() {
            return;
        }
        let confirmed = self.membership().reached(|voter| {
            if *voter == self.config.id {
                return self.round;
            }
            self.role.peer(voter).map_or(0, |peer| peer.round)
        });
        let Some(leader) = self.role.as_leader_mut() else {
            return;
        };
        leader.reads.confirmed_round = leader.reads.confirmed_round.max(confirmed);
        while let Some(read) = self.next_confirmed_read() {
            // A read without an index arrived before the leader knew the commit index. The current one includes it.
            let index = read.index.unwrap_or(self.log.committed);
            self.respond_to_read(read.reader, Some(index));
        }
        let round = self.round;
        let needs_round = self.role.as_leader().is_some_and(|leader| {
            let waiting = leader.reads.queue.front();
            waiting.is_some_and(|read| read.round > round) && leader.reads.confirmed_round == round
        });
        if needs_round {
            self.broadcast_heartbeat();
        }
    }

    fn next_confirmed_read(&mut self) -> Option<PendingRead> {
        let reads = &mut self.role.as_leader_mut()?.reads;
        let confirmed = reads.confirmed_round;
        reads.queue.pop_front_if(|read| read.round <= confirmed)
    }

    fn respond_to_read(&mut self, reader: Reader, index: Option<Index>) {
        match reader {
            Reader::Local(id) => self.resolve_read(id, index),
            Reader::Peer(peer, id) => {
                let response = ReadIndexResponse {
                    term: self.hard_state.term,
                    id,
                    index,
                };
                self.respond_in_term(&peer, RaftResponse::ReadIndex(response));
            }
        }
    }

    /// A follower sends a read.
    pub(super) fn on_read_index(&mut self, from: &NodeId, read: &ReadIndex) {
        let full = self.pending_reads() >= self.config.limits.pending_reads;
        let reader = Reader::Peer(from.clone(), read.id);
        self.note_client_activity(from);
        if self.role.is_leader() && read.term == self.hard_state.term && !full {
            self.queue_read(reader);
        } else {
            self.respond_to_read(reader, None);
        }
    }

    /// The leader has responded to a read.
    pub(super) fn on_read_response(&mut self, response: &ReadIndexResponse) {
        self.observe_term(response.term);
        if response.term == self.hard_state.term && self.forwarded_reads.remove(response.id) {
            self.resolve_read(response.id, response.index);
        }
    }

    /// The leader has changed or steps down: no read that waits can be confirmed.
    pub(super) fn fail_reads(&mut self) {
        self.forwarded_reads.fail(&mut self.out.reads);
        if let Some(leader) = self.role.as_leader_mut() {
            leader.reads.fail(&mut self.out.reads);
        }
    }

    // ----- leases -----

    /// A node that starts may have granted a lease just before, under its settings of then. Not one that is the only member in every
    /// configuration that its log still has: in an earlier one it may have granted a lease to a leader that has not yet learned that it
    /// was removed.
    pub(super) fn withhold_vote_at_start(&mut self, earlier: Duration) {
        let only = |members: &Membership| members.members().keys().eq([&self.config.id]);
        if self.configurations.all(only) {
            return;
        }
        let own = self.config.longest_lease();
        self.lease_granted_until = self.now + own.max(earlier);
        self.earlier_leases_end = (earlier > own).then_some(self.lease_granted_until);
    }

    /// Records that the longer leases of earlier runs have ended, so that the next start waits no longer than it has to.
    pub(super) fn end_earlier_leases(&mut self) {
        if self.earlier_leases_end.is_some_and(|end| self.now >= end) {
            self.earlier_leases_end = None;
            self.out.lease = Some(self.config.longest_lease());
        }
    }

    /// Whether a lease keeps this node from voting.
    pub(super) fn has_granted_lease(&self) -> bool {
        self.now < self.lease_granted_until
    }

    /// Grants the leader a lease that starts now. Returns its length in milliseconds; none if leases are off.
    pub(super) fn grant_lease(&mut self) -> Option<u64> {
        self.config.lease_drift_percent?;
        let length = self.config.longest_lease();
        self.lease_granted_until = self.lease_granted_until.max(self.now + length);
        u64::try_from(length.as_millis()).ok()
    }

    /// A follower has granted a lease.
    pub(super) fn on_lease_granted(
        &mut self,
        from: &NodeId,
        response: &AppendEntriesResponse,
        ms: u64,
    ) {
        let Some(drift) = self.config.lease_drift_percent else {
            return;
        };
        let current = response.term == self.hard_state.term;
        let Some(leader) = self.role.as_leader_mut().filter(|_| current) else {
            return;
        };
        let Some(began) = leader.lease.began(response.round) else {
            return;
        };
        // No lease counts for longer than this node would grant: a wrong number from a peer cannot extend it.
        let length = Duration::from_millis(ms).min(self.config.election_timeout_min);
        let counts = length * 100 / (100 + drift);
        if let Some(peer) = leader.peers.get_mut(from) {
            peer.lease_until = peer.lease_until.max(began + counts);
        }
    }

    /// Until when no other node can be elected, on this leader's clock; none without a lease.
    #[must_use]
    pub fn lease_until(&self) -> Option<Duration> {
        self.config.lease_drift_percent?;
        let leader = self.role.as_leader()?;
        let invalid = leader.lease.is_invalidated() || leader.transfer.is_some();
        if invalid || !self.has_committed_in_term() {
            return None;
        }
        let until = self.membership().reached(|voter| {
            if *voter == self.config.id {
                return Duration::MAX;
            }
            let peer = leader.peers.get(voter);
            peer.map_or(Duration::ZERO, |peer| peer.lease_until)
        });
        (self.now < until).then_some(until)
    }
}
