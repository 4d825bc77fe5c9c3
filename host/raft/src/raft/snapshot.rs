//! Compaction, and snapshots for followers whose entries are gone: §7.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

use crate::message::{InstallSnapshot, InstallSnapshotResponse, RaftRequest, RaftResponse};
use crate::raft::progress::State;
use crate::raft::ready::SnapshotTask;
use crate::raft::{Core, Role};
use crate::storage::Received;
use crate::types::{Index, LogId, NodeId, SnapshotMeta};

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
        if enough && self.now >= self.snapshot_retry_at {
            self.take_snapshot();
        }
    }

    /// Asks for a snapshot now, unless one is under way.
    pub fn take_snapshot(&mut self) {
        if !self.snapshot_under_way {
            self.snapshot_under_way = true;
            self.snapshot_task(SnapshotTask::Take);
        }
    }

    /// A snapshot was taken, or could not be: then it is tried again after the longest election timeout.
    pub fn snapshot_taken(&mut self, now: Duration, meta: Option<SnapshotMeta>) {
        self.now = self.now.max(now);
        self.snapshot_under_way = false;
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
        let travelling = self
            .peers
            .values()
            .any(|peer| matches!(peer.state, State::Snapshot { .. }));
        // What a snapshot that is travelling ends with should still be here when it has arrived.
        let trailing = if travelling {
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
        if !travelling {
            self.snapshot_task(SnapshotTask::Retain(meta));
        }
    }

    // ----- for a follower, as a leader -----

    pub(super) fn start_snapshot_transfer(&mut self, to: &NodeId) {
        let (Some(meta), Some(peer)) = (self.snapshot.clone(), self.peers.get_mut(to)) else {
            return;
        };
        peer.state = State::Snapshot {
            meta,
            offset: 0,
            asked_at: self.now,
        };
        self.ask_for_chunk(to);
    }

    fn ask_for_chunk(&mut self, to: &NodeId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        if let State::Snapshot {
            meta,
            offset,
            asked_at,
        } = &mut peer.state
        {
            *asked_at = now;
            let task = SnapshotTask::ReadChunk {
                to: to.clone(),
                meta: meta.clone(),
                offset: *offset,
            };
            self.snapshot_task(task);
        }
    }

    /// A chunk or its answer may have been lost: sends it again, from where the follower stands.
    pub(super) fn retry_snapshot_chunk(&mut self, to: &NodeId) {
        let patience = self.config.election_timeout_min;
        let lost = self.peers.get(to).is_some_and(|peer| match &peer.state {
            State::Snapshot { asked_at, .. } => self.now.saturating_sub(*asked_at) >= patience,
            _ => false,
        });
        if lost {
            self.ask_for_chunk(to);
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
        let Some(peer) = self.peers.get_mut(to) else {
            return;
        };
        let wanted = matches!(&peer.state, State::Snapshot { meta, offset: at, .. } if meta == chunk_of && *at == offset);
        match data {
            Some(data) if wanted => {
                let (term, leader_id) = (self.hard_state.term, self.config.id.clone());
                let chunk = InstallSnapshot {
                    term,
                    leader_id,
                    meta: chunk_of.clone(),
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
            None if wanted => {
                let next = self.log.last().index.next();
                peer.probe(next);
            }
            _ => {}
        }
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
        let State::Snapshot { meta, offset, .. } = &mut peer.state else {
            return;
        };
        if meta.last != answer.last {
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
        let next_offset = answer.next_offset.min(meta.length);
        // The same as before is said by an answer that came twice: the chunk is on its way.
        if next_offset != *offset {
            *offset = next_offset;
            self.ask_for_chunk(from);
        }
    }

    // ----- as a follower -----

    pub(super) fn on_install_snapshot(&mut self, from: &NodeId, chunk: InstallSnapshot) {
        if chunk.term < self.hard_state.term {
            return self.answer_snapshot(from, chunk.meta.last, 0, false);
        }
        if !self.follow(chunk.term, from) || !self.is_welcome(from) {
            return;
        }
        if chunk.meta.last.index <= self.log.committed {
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
        let whole = received == Received::Whole;
        if whole && meta.last.index > self.log.committed {
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
            Received::Whole => meta.length,
            Received::Damaged => 0,
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
        self.claim_say();
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
