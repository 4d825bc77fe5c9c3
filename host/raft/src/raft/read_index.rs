//! Linearizable reads without the log: ReadIndex (dissertation §6.4).
//!
//! A leader answers with the commit index at the time of the question, once a majority has confirmed, in a round
//! that began after the question, that it still leads; one with a lease ([`super::lease`]) knows it already. A follower
//! asks its leader. Answers belong to a term and to a number, so that a late one can't be taken for another.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ids::{Index, NodeId};
use crate::message::{RaftRequest, RaftResponse, ReadIndex, ReadIndexResponse};
use crate::raft::ready::ReadState;
use crate::raft::{Core, Role};

/// Who wants to read.
#[derive(Clone, Debug)]
enum Reader {
    Here(u64),
    Peer(NodeId, u64),
}

/// A read that waits for the leader's majority.
#[derive(Clone, Debug)]
struct Pending {
    reader: Reader,
    /// Commit index when it was asked; none while the leader has not committed in its own term.
    index: Option<Index>,
    /// The first round that began after it was asked.
    round: u64,
}

/// Reads under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// Heartbeat rounds of this leader, counted over all of its terms.
    round: u64,
    confirmed: u64,
    pending: VecDeque<Pending>,
    /// What a follower asked its leader, and when.
    asked: BTreeMap<u64, Duration>,
    /// None of these was asked before this.
    oldest_asked: Duration,
}

impl Reads {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Whether anyone waits for an answer.
    pub(super) fn are_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.asked.is_empty()
    }

    pub(super) fn next_round(&mut self) {
        self.round += 1;
    }

    pub(super) fn begin_term(&mut self) {
        self.confirmed = self.round;
    }

    /// No leader vouches for these any more.
    pub(super) fn fail_all(&mut self, out: &mut Vec<ReadState>) {
        let asked = std::mem::take(&mut self.asked).into_keys();
        let here = self.pending.drain(..).filter_map(|read| match read.reader {
            Reader::Here(id) => Some(id),
            Reader::Peer(..) => None,
        });
        out.extend(asked.chain(here).map(|id| ReadState { id, index: None }));
    }

    /// The leader's answer to these was lost.
    pub(super) fn expire(&mut self, now: Duration, patience: Duration, out: &mut Vec<ReadState>) {
        // Time passes often, and seldom far enough.
        if now.saturating_sub(self.oldest_asked) < patience {
            return;
        }
        self.oldest_asked = now;
        self.asked.retain(|&id, &mut at| {
            let waits = now.saturating_sub(at) < patience;
            self.oldest_asked = if waits {
                self.oldest_asked.min(at)
            } else {
                self.oldest_asked
            };
            if !waits {
                out.push(ReadState { id, index: None });
            }
            waits
        });
    }
}

impl Core {
    /// Asks from which index on a read is linearizable. The answer comes as a [`ReadState`] of this number.
    pub fn read(&mut self, now: Duration, id: u64) {
        self.now = self.now.max(now);
        if self.reads.pending.len() + self.reads.asked.len() >= self.config.limits.pending_reads {
            return self.settle(id, None);
        }
        if self.role == Role::Leader {
            return self.queue_read(Reader::Here(id));
        }
        let Some(leader) = self.leader.clone() else {
            return self.settle(id, None);
        };
        if self.reads.asked.is_empty() {
            self.reads.oldest_asked = self.now;
        }
        self.reads.asked.insert(id, self.now);
        let term = self.hard_state.term;
        self.request(&leader, RaftRequest::ReadIndex(ReadIndex { term, id }), 0);
    }

    fn queue_read(&mut self, reader: Reader) {
        if self.lease_until().is_some() {
            return self.answer_read(reader, Some(self.log.committed));
        }
        let index = self.has_committed_in_term().then_some(self.log.committed);
        let idle = self.reads.confirmed == self.reads.round;
        let round = self.reads.round + 1;
        self.reads.pending.push_back(Pending {
            reader,
            index,
            round,
        });
        // While a round is under way, the next one takes along all that have come meanwhile.
        if idle && index.is_some() {
            self.broadcast_heartbeat();
        }
    }

    /// Settles the reads that a majority has confirmed, and begins a round for those that came later.
    pub(super) fn confirm_reads(&mut self) {
        if self.role != Role::Leader || !self.has_committed_in_term() {
            return;
        }
        let confirmed = self.membership().reached(|voter| {
            if *voter == self.config.id {
                return self.reads.round;
            }
            self.peers.get(voter).map_or(0, |peer| peer.round)
        });
        self.reads.confirmed = self.reads.confirmed.max(confirmed);
        let committed = self.log.committed;
        while self
            .reads
            .pending
            .front()
            .is_some_and(|read| read.round <= self.reads.confirmed)
        {
            if let Some(read) = self.reads.pending.pop_front() {
                // Asked before this leader knew what was committed: all that is now, was then or is newer.
                self.answer_read(read.reader, Some(read.index.unwrap_or(committed)));
            }
        }
        let waiting = self
            .reads
            .pending
            .front()
            .is_some_and(|read| read.round > self.reads.round);
        if waiting && self.reads.confirmed == self.reads.round {
            self.broadcast_heartbeat();
        }
    }

    fn answer_read(&mut self, reader: Reader, index: Option<Index>) {
        match reader {
            Reader::Here(id) => self.settle(id, index),
            Reader::Peer(peer, id) => {
                let answer = ReadIndexResponse {
                    term: self.hard_state.term,
                    id,
                    index,
                };
                self.respond_in_term(&peer, RaftResponse::ReadIndex(answer));
            }
        }
    }

    /// A follower asks.
    pub(super) fn on_read_index(&mut self, from: &NodeId, read: &ReadIndex) {
        let full = self.reads.pending.len() >= self.config.limits.pending_reads;
        let reader = Reader::Peer(from.clone(), read.id);
        self.note_client_activity(from);
        if self.role == Role::Leader && read.term == self.hard_state.term && !full {
            self.queue_read(reader);
        } else {
            self.answer_read(reader, None);
        }
    }

    /// The leader has answered.
    pub(super) fn on_read_response(&mut self, answer: &ReadIndexResponse) {
        self.observe_term(answer.term);
        if answer.term == self.hard_state.term && self.reads.asked.remove(&answer.id).is_some() {
            self.settle(answer.id, answer.index);
        }
    }
}
