//! Compaction, and snapshots for followers whose entries are gone: §7.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use super::durable::Received;
use crate::entry::SnapshotMeta;
use crate::ids::{Index, LogId, NodeId};
use crate::message::{InstallSnapshot, InstallSnapshotResponse, RaftRequest, RaftResponse};
use crate::raft::progress::{Progress, ProgressState, SnapshotTransfer};
use crate::raft::ready::SnapshotTask;
use crate::raft::{Core, Role};

/// How fast chunks leave, for all peers together.
#[derive(Clone, Debug, Default)]
pub(super) struct RateLimiter {
    /// The next chunk leaves no earlier than this.
    due: Duration,
    /// Chunks that are being read. Where there is a rate it is one at a time: what it costs is known once it is here.
    reading: usize,
    /// Whose turn it was.
    served: Option<NodeId>,
}

impl RateLimiter {
    fn is_due(&self, now: Duration) -> bool {
        self.reading == 0 && self.due <= now
    }

    fn asked(&mut self, by: NodeId) {
        self.reading += 1;
        self.served = Some(by);
    }

    /// A chunk is here, and so many bytes of it leave.
    fn read(&mut self, now: Duration, bytes: u64, bytes_per_second: Option<u64>) {
        self.reading = self.reading.saturating_sub(1);
        if let Some(rate) = bytes_per_second {
            let micros = bytes.saturating_mul(1_000_000) / rate.max(1);
            self.due = self.due.max(now) + Duration::from_micros(micros);
        }
    }
}

impl Core {
    // ----- its own -----

    /// Asks for a snapshot once enough was applied since the last one, or where only one makes room in a full log.
    pub(super) fn gather_snapshot(&mut self) {
        let last = self
            .snapshot
            .as_ref()
            .map_or(Index::ZERO, |meta| meta.last.index);
        let since = self.log.applied.0.saturating_sub(last.0);
        let full = self.log.len() >= self.config.max_log_entries;
        let enough = since >= self.config.snapshot_threshold || full && since > 0;
        if enough && self.now >= self.snapshot_retry_at && !self.awaits_state() {
            self.take_snapshot();
        }
    }

    /// Asks for a snapshot now, unless one is under way.
    pub fn take_snapshot(&mut self) {
        if !self.snapshot_under_way && !self.has_written_its_last() {
            self.snapshot_under_way = true;
            self.snapshot_task(SnapshotTask::Take);
        }
    }

    /// A snapshot was taken, or could not be: then it is tried again after the longest election timeout.
    pub fn snapshot_taken(&mut self, now: Duration, meta: Option<SnapshotMeta>) {
        self.now = self.now.max(now);
        self.snapshot_under_way = false;
        self.reinstall_written(meta.as_ref());
        let Some(meta) = meta else {
            self.snapshot_retry_at = self.now + self.config.election_timeout_max;
            return;
        };
        if self
            .snapshot
            .as_ref()
            .is_none_or(|newest| newest.last.index < meta.last.index)
        {
            self.snapshot = Some(meta);
            self.compact();
        }
    }

    /// Purges the log behind the snapshot, but for some entries that slow followers may still want.
    pub(super) fn compact(&mut self) {
        let Some(meta) = self.snapshot.clone() else {
            return;
        };
        let threshold = self.config.snapshot_threshold;
        let room = self.config.max_log_entries.saturating_sub(threshold);
        let travelling = self.peers.values().filter_map(|peer| match &peer.state {
            ProgressState::Snapshot(transfer) => Some(transfer.meta.clone()),
            _ => None,
        });
        let oldest = travelling.min_by_key(|meta| meta.last);
        // What a snapshot that is travelling ends with should still be here when it has arrived.
        let trailing = if oldest.is_some() {
            room
        } else {
            (threshold / 2).min(room)
        };
        let index = Index(meta.last.index.0.saturating_sub(trailing));
        if let Some(term) = self
            .log
            .term_at(index)
            .filter(|_| index > self.log.purged().index)
        {
            let up_to = LogId::new(term, index);
            self.log.purge(up_to);
            self.out.purge = Some(up_to);
        }
        self.snapshot_task(SnapshotTask::Retain(oldest.unwrap_or(meta)));
    }

    // ----- for a follower, as a leader -----

    pub(super) fn start_snapshot_transfer(&mut self, to: &NodeId) {
        let (Some(meta), Some(peer)) = (self.snapshot.clone(), self.peers.get_mut(to)) else {
            return;
        };
        peer.transfer(meta, self.now);
    }

    /// Asks the disk for the chunks that may leave, for each peer in its turn, within the rate that all have together.
    pub(super) fn gather_chunks(&mut self) {
        while let Some(to) = self.next_for_chunk() {
            let Some(ProgressState::Snapshot(transfer)) =
                self.peers.get_mut(&to).map(|peer| &mut peer.state)
            else {
                return;
            };
            transfer.reading = true;
            let task = SnapshotTask::ReadChunk {
                to: to.clone(),
                meta: transfer.meta.clone(),
                offset: transfer.next,
            };
            self.pace.asked(to);
            self.snapshot_task(task);
        }
    }

    /// The next peer behind the one that was served last which waits for a chunk, if one may be read now.
    fn next_for_chunk(&self) -> Option<NodeId> {
        let limited = self.config.limits.snapshot_bytes_per_second.is_some();
        if self.role != Role::Leader
            || limited && !self.pace.is_due(self.now)
            || self.awaits_state()
        {
            return None;
        }
        let waiting = || self.waiting_for_chunks();
        let behind = waiting().find(|id| self.pace.served.as_ref() < Some(id));
        behind.or_else(|| waiting().next()).cloned()
    }

    fn waiting_for_chunks(&self) -> impl Iterator<Item = &NodeId> {
        let window = self.config.limits.in_flight_chunks;
        let wants = move |peer: &Progress| matches!(&peer.state, ProgressState::Snapshot(transfer) if transfer.wants_chunk(window));
        let peers = self.peers.iter();
        peers.filter(move |(_, peer)| wants(peer)).map(|(id, _)| id)
    }

    #[cfg(test)]
    pub(super) fn limit_chunks(&mut self, window: usize, bytes_per_second: Option<u64>) {
        self.config.limits.in_flight_chunks = window;
        self.config.limits.snapshot_bytes_per_second = bytes_per_second;
    }

    /// When a chunk that the rate holds back may leave.
    pub(super) fn chunk_deadline(&self) -> Option<Duration> {
        self.config.limits.snapshot_bytes_per_second?;
        let waits = self.pace.reading == 0
            && !self.awaits_state()
            && self.waiting_for_chunks().next().is_some();
        waits.then_some(self.pace.due)
    }

    /// Chunks or their answers may have been lost: sends them again, from where the follower stands. One that is out of
    /// reach gets the newest snapshot when it is back; the one that it was being sent need not be kept for it.
    pub(super) fn retry_snapshot_chunk(&mut self, to: &NodeId) {
        let (now, patience) = (self.now, self.config.election_timeout_min);
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let gone = now.saturating_sub(peer.heard_at) >= patience;
        let ProgressState::Snapshot(transfer) = &mut peer.state else {
            return;
        };
        if transfer.in_flight.is_empty() || now.saturating_sub(transfer.moved_at) < patience {
            return;
        }
        // Of this one it has nothing that would be lost.
        let gone = gone || !transfer.answered;
        transfer.again(now);
        let newer = |newest: &&SnapshotMeta| gone && newest.last > transfer.meta.last;
        if let Some(newest) = self.snapshot.as_ref().filter(newer).cloned() {
            *transfer = SnapshotTransfer::new(newest, now);
            self.compact();
        }
    }

    /// A chunk to be sent is here; none where the snapshot can no longer be read.
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
        let wanted = self.peers.get_mut(to).filter(|peer| {
            matches!(&peer.state, ProgressState::Snapshot(transfer)
                if transfer.reading && transfer.meta == *chunk_of && transfer.next == offset)
        });
        let rate = self.config.limits.snapshot_bytes_per_second;
        self.pace
            .read(self.now, if wanted.is_some() { bytes } else { 0 }, rate);
        let Some(peer) = wanted else {
            return;
        };
        // Nothing where there should be something: it can't be read either.
        let readable = data.filter(|data| !data.is_empty() || chunk_of.length == 0);
        match (readable, &mut peer.state) {
            (Some(data), ProgressState::Snapshot(transfer)) => {
                transfer.sent(bytes, self.now);
                self.send_chunk(to, chunk_of, offset, data);
            }
            _ => peer.probe(self.log.last().index.next()),
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
        let request = match &chunk.meta.membership {
            None => RaftRequest::InstallSnapshot(chunk),
            Some(membership) => {
                let membership = membership.clone();
                RaftRequest::InstallMembers(chunk, membership)
            }
        };
        self.request(to, request, 0);
    }

    /// The follower says how far it has come.
    pub(super) fn on_snapshot_response(&mut self, from: &NodeId, answer: &InstallSnapshotResponse) {
        self.observe_term(answer.term);
        if self.role != Role::Leader || answer.term != self.hard_state.term {
            return;
        }
        let now = self.now;
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        peer.heard_at = now;
        let ProgressState::Snapshot(transfer) = &mut peer.state else {
            return;
        };
        if transfer.meta.last != answer.last {
            return;
        }
        if answer.installed {
            let index = answer.last.index;
            peer.matched = peer.matched.max(index);
            peer.probe(index.next());
            self.advance_commit();
            self.take_in_returned();
            return;
        }
        transfer.reached(answer.next_offset.min(transfer.meta.length), now);
    }

    // ----- as a follower -----

    pub(super) fn on_install_snapshot(&mut self, from: &NodeId, chunk: InstallSnapshot) {
        if chunk.term < self.hard_state.term {
            return self.answer_snapshot(from, chunk.meta.last, 0, false);
        }
        if !self.follow(chunk.term, from) || !self.is_welcome(from) {
            return;
        }
        if chunk.meta.last.index <= self.log.committed && !self.wants_state_of(&chunk.meta) {
            // It holds all of it already.
            return self.answer_snapshot(from, chunk.meta.last, chunk.meta.length, true);
        }
        self.snapshot_task(SnapshotTask::Receive {
            meta: chunk.meta,
            offset: chunk.offset,
            data: chunk.data,
        });
    }

    /// A chunk from the leader is on the disk.
    pub fn chunk_received(&mut self, now: Duration, meta: &SnapshotMeta, received: Received) {
        self.now = self.now.max(now);
        let whole = received == Received::Complete;
        if whole && (meta.last.index > self.log.committed || self.wants_state_of(meta)) {
            self.install(meta);
        }
        let Some(leader) = self
            .leader
            .clone()
            .filter(|leader| *leader != self.config.id)
        else {
            return;
        };
        let next_offset = match received {
            Received::Partial { next_offset } => next_offset,
            Received::Complete => meta.length,
            Received::Corrupt => 0,
        };
        self.answer_snapshot(&leader, meta.last, next_offset, whole);
    }

    /// The snapshot is whole and on the disk: the log continues behind it, and the machine restores it.
    fn install(&mut self, meta: &SnapshotMeta) {
        let keeps_later = self.log.holds(meta.last);
        self.log.install(meta);
        self.configurations.install(meta, keeps_later);
        self.members_changed();
        self.snapshot = Some(meta.clone());
        self.out.purge = Some(meta.last);
        // What was handed over just now stands in the snapshot.
        self.out.apply.clear();
        self.handed.clear();
        self.handed_bytes = 0;
        self.apply_read_under_way = false;
        self.snapshot_task(SnapshotTask::Restore(meta.clone()));
        self.restoring = Some(meta.clone());
        self.reinstall_restores(meta);
        self.update_eligibility();
    }

    /// Removes the snapshots before the last one installed, once the machine has restored that: until then it may
    /// still have an earlier one to restore.
    pub(super) fn retain_restored(&mut self, applied: Index) {
        let restored = |meta: &mut SnapshotMeta| meta.last.index <= applied;
        if let Some(meta) = self.restoring.take_if(restored) {
            self.snapshot_task(SnapshotTask::Retain(meta));
        }
    }

    fn answer_snapshot(&mut self, to: &NodeId, last: LogId, next_offset: u64, installed: bool) {
        let answer = InstallSnapshotResponse {
            term: self.hard_state.term,
            last,
            next_offset,
            installed,
        };
        self.respond(to, RaftResponse::InstallSnapshot(answer));
    }
}
