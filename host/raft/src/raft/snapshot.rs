//! Snapshot transfer to a follower whose entries are purged: §7.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use crate::entry::SnapshotMeta;
use crate::identity::Sender;
use crate::ids::{LogId, NodeId};
use crate::message::{InstallSnapshot, InstallSnapshotResponse, RaftRequest, RaftResponse};
use crate::raft::Core;
use crate::raft::durable::Received;
use crate::raft::progress::{Progress, ProgressState, SnapshotTransfer};
use crate::raft::ready::SnapshotTask;
use crate::raft::role::Leader;

impl Core {
    // ----- as the leader -----

    pub(super) fn start_snapshot_transfer(&mut self, to: &NodeId) {
        let sendable = self.snapshot.clone().filter(|_| self.checks.may_send());
        let (Some(meta), Some(peer)) = (sendable, self.role.peer_mut(to)) else {
            return;
        };
        peer.transfer(meta, self.now);
    }

    /// Requests the chunks that may be sent now from the disk. The peers take turns, and share one rate limit.
    pub(super) fn collect_chunks(&mut self) {
        while let Some(to) = self.next_for_chunk() {
            let Some(ProgressState::Snapshot(transfer)) =
                self.role.peer_mut(&to).map(|peer| &mut peer.state)
            else {
                return;
            };
            transfer.reading = true;
            let task = SnapshotTask::ReadChunk {
                to: to.clone(),
                meta: transfer.meta.clone(),
                offset: transfer.next,
            };
            self.chunk_rate.begin_read(to);
            self.add_snapshot_task(task);
        }
    }

    /// The peer for which a chunk may be read now: the first one that waits, after the one that was served last.
    fn next_for_chunk(&self) -> Option<NodeId> {
        let leader = self.role.as_leader()?;
        let limited = self.config.limits.snapshot_bytes_per_second.is_some();
        let wait = limited && !self.chunk_rate.is_due(self.now);
        if wait || self.reinstallation.awaits_state() {
            return None;
        }
        let waiting = || self.waiting_for_chunks(leader);
        let last = self.chunk_rate.last_served();
        let next = waiting().find(|id| last < Some(id));
        next.or_else(|| waiting().next()).cloned()
    }

    fn waiting_for_chunks<'a>(&self, leader: &'a Leader) -> impl Iterator<Item = &'a NodeId> {
        let window = self.config.limits.in_flight_chunks;
        let withheld = self.snapshot.as_ref().filter(|_| !self.checks.may_send());
        let wants = move |peer: &Progress| {
            matches!(&peer.state, ProgressState::Snapshot(transfer)
            if transfer.wants_chunk(window) && Some(&transfer.meta) != withheld)
        };
        let peers = leader.peers.iter();
        peers.filter(move |(_, peer)| wants(peer)).map(|(id, _)| id)
    }

    #[cfg(test)]
    pub(super) fn limit_chunks(&mut self, window: usize, bytes_per_second: Option<u64>) {
        self.config.limits.in_flight_chunks = window;
        self.config.limits.snapshot_bytes_per_second = bytes_per_second;
    }

    /// When a chunk that the rate limit delays may be sent.
    pub(super) fn chunk_deadline(&self, leader: &Leader) -> Option<Duration> {
        self.config.limits.snapshot_bytes_per_second?;
        let due = self.chunk_rate.next_due()?;
        let waits =
            !self.reinstallation.awaits_state() && self.waiting_for_chunks(leader).next().is_some();
        waits.then_some(due)
    }

    /// Repeats chunks whose responses are overdue, from the offset that the follower has confirmed. A follower that does not
    /// respond at all receives the newest snapshot later, so that the old one need not be kept for it.
    pub(super) fn retry_snapshot_chunk(&mut self, to: &NodeId) {
        let (now, timeout) = (self.now, self.config.election_timeout_min);
        let Some(peer) = self.role.peer_mut(to) else {
            return;
        };
        let silent = now.saturating_sub(peer.heard_at) >= timeout;
        let ProgressState::Snapshot(transfer) = &mut peer.state else {
            return;
        };
        if transfer.in_flight.is_empty() || now.saturating_sub(transfer.moved_at) < timeout {
            return;
        }
        // A follower that has not confirmed any offset loses nothing by a change of the snapshot.
        let replace = silent || !transfer.confirmed;
        transfer.restart(now);
        let newer = |newest: &&SnapshotMeta| replace && newest.last > transfer.meta.last;
        if let Some(newest) = self.snapshot.as_ref().filter(newer).cloned() {
            *transfer = SnapshotTransfer::new(newest, now);
            self.compact();
        }
    }

    /// A chunk for a peer was read. `None`: the snapshot cannot be read any more.
    pub fn chunk_read(
        &mut self,
        now: Duration,
        to: &NodeId,
        chunk_of: &SnapshotMeta,
        offset: u64,
        data: Option<Bytes>,
    ) {
        self.now = self.now.max(now);
        let bytes = data.as_ref().map_or(0, |data| data.len() as u64);
        let wanted = self.role.peer_mut(to).filter(|peer| {
            matches!(&peer.state, ProgressState::Snapshot(transfer)
                if transfer.reading && transfer.meta == *chunk_of && transfer.next == offset)
        });
        let rate = self.config.limits.snapshot_bytes_per_second;
        self.chunk_rate
            .end_read(self.now, if wanted.is_some() { bytes } else { 0 }, rate);
        let Some(peer) = wanted else {
            return;
        };
        // An empty chunk of a snapshot that is not empty: it cannot be read either.
        let readable = data.filter(|data| !data.is_empty() || chunk_of.length == 0);
        match (readable, &mut peer.state) {
            (Some(data), ProgressState::Snapshot(transfer)) => {
                transfer.sent(bytes, self.now);
                self.send_chunk(to, chunk_of, offset, data);
            }
            (_, ProgressState::Snapshot(transfer)) => {
                transfer.restart(self.now);
                self.suspect(chunk_of, to);
            }
            _ => {}
        }
    }

    fn send_chunk(&mut self, to: &NodeId, meta: &SnapshotMeta, offset: u64, data: Bytes) {
        let chunk = InstallSnapshot {
            term: self.hard_state.term,
            leader_id: self.config.id.clone(),
            meta: meta.clone(),
            offset,
            data,
        };
        let cluster = chunk.meta.cluster;
        let request = match chunk.meta.membership.clone() {
            None => RaftRequest::InstallSnapshot(chunk),
            Some(membership) if cluster.level == 0 => {
                RaftRequest::InstallMembers(chunk, membership)
            }
            Some(membership) => RaftRequest::InstallCluster(chunk, membership, cluster),
        };
        self.request(to, request, 0);
    }

    /// The follower reports how many bytes it has, or that the snapshot is installed.
    pub(super) fn on_snapshot_response(
        &mut self,
        sender: &Sender,
        response: &InstallSnapshotResponse,
    ) {
        let from = &sender.id;
        self.observe_term(response.term);
        if response.term != self.hard_state.term {
            return;
        }
        let (now, round, last) = (self.now, self.round, self.log.last().index);
        let Some(peer) = self.role.peer_mut(from) else {
            return;
        };
        peer.responds_from(sender.store_id, last, now);
        peer.heard_at = now;
        let ProgressState::Snapshot(transfer) = &mut peer.state else {
            return;
        };
        if transfer.meta.last != response.last {
            return;
        }
        if response.installed {
            let index = response.last.index;
            peer.acknowledged(index, round);
            peer.probe(index.next());
            self.advance_commit();
            self.promote_rejoined();
            return;
        }
        let has_lost = transfer.is_lost(response.next_offset);
        transfer.reached(response.next_offset.min(transfer.meta.length), now);
        // It has found the snapshot corrupt, or has lost it.
        if let Some(meta) = has_lost.then(|| transfer.meta.clone()) {
            self.suspect(&meta, from);
        }
    }

    // ----- as the follower -----

    pub(super) fn on_install_snapshot(&mut self, from: &NodeId, chunk: InstallSnapshot) {
        if chunk.term < self.hard_state.term {
            return self.respond_to_chunk(from, chunk.meta.last, 0, false);
        }
        if !self.follow(chunk.term, from) || self.conflicts(from, chunk.meta.last) {
            return;
        }
        if !self.may_acknowledge(from) {
            return;
        }
        if !self.needs_snapshot(&chunk.meta) {
            return self.respond_to_chunk(from, chunk.meta.last, chunk.meta.length, true);
        }
        // A disk that hangs gets no more of what the leader repeats. The leader sends it again.
        if self.receiving >= 2 * self.config.limits.in_flight_chunks.max(1) {
            return;
        }
        self.receiving += 1;
        self.add_snapshot_task(SnapshotTask::Receive {
            meta: chunk.meta,
            offset: chunk.offset,
            data: chunk.data,
        });
    }

    /// Whether the snapshot contains entries that are not committed here, or replaces the state of a diverged machine.
    fn needs_snapshot(&self, meta: &SnapshotMeta) -> bool {
        let last = meta.last.index;
        let wanted = self.reinstallation.wanted_from();
        last > self.log.committed || wanted.is_some_and(|from| last >= from)
    }

    /// A chunk from the leader was written.
    pub fn chunk_received(&mut self, now: Duration, meta: &SnapshotMeta, received: Received) {
        self.now = self.now.max(now);
        self.receiving = self.receiving.saturating_sub(1);
        let complete = received == Received::Complete;
        if complete && self.needs_snapshot(meta) {
            self.install(meta);
        }
        let leader = self.leader().filter(|leader| **leader != self.config.id);
        let Some(leader) = leader.cloned() else {
            return;
        };
        let next_offset = match received {
            Received::Partial { next_offset } => next_offset,
            Received::Complete => meta.length,
            Received::Corrupt => 0,
        };
        self.respond_to_chunk(&leader, meta.last, next_offset, complete);
    }

    /// A chunk was not written, because the disk is full.
    pub fn chunk_dropped(&mut self) {
        self.receiving = self.receiving.saturating_sub(1);
    }

    /// A snapshot is complete and durable: the log continues after it, and the state machine restores it.
    fn install(&mut self, meta: &SnapshotMeta) {
        let keeps_later = self.log.holds(meta.last);
        self.log.install(meta);
        self.configurations.install(meta, keeps_later);
        self.clusters.install(meta, keeps_later);
        self.on_members_changed();
        self.snapshot = Some(meta.clone());
        let interval = self.config.limits.snapshot_check_interval;
        self.checks.is_new(self.now, interval);
        self.out.purge = Some(meta.last);
        // The snapshot contains the entries that the machine was about to receive.
        self.out.apply.clear();
        self.unapplied.clear();
        self.apply_read_in_flight = false;
        self.add_snapshot_task(SnapshotTask::Restore(meta.clone()));
        self.restoring = Some(meta.clone());
        self.reinstallation.restoring(meta.last.index);
        self.check_level(meta.cluster.level);
        self.check_named_store();
        self.update_eligibility();
    }

    fn respond_to_chunk(&mut self, to: &NodeId, last: LogId, next_offset: u64, installed: bool) {
        let response = InstallSnapshotResponse {
            term: self.hard_state.term,
            last,
            next_offset,
            installed,
        };
        self.respond(to, RaftResponse::InstallSnapshot(response));
    }
}
