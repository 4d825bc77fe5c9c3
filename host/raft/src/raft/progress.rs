//! What a leader knows of a peer, and how it sends to it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::{Index, SnapshotMeta};

/// How the leader sends entries to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It doesn't know where the logs agree: one message at a time until one is accepted.
    Probe {
        /// A message is under way.
        waiting: bool,
    },
    /// The logs agree: messages follow each other without waiting, within a window.
    Replicate {
        /// Last index and size in bytes of each message under way.
        in_flight: VecDeque<(Index, u64)>,
        /// Their size together.
        bytes: u64,
    },
    /// The entries that the peer needs are gone: it gets a snapshot, chunk by chunk.
    Snapshot {
        /// Which one.
        meta: SnapshotMeta,
        /// How many of its bytes the peer has.
        offset: u64,
        /// When the chunk under way was asked for.
        asked_at: Duration,
    },
}

/// A peer as its leader sees it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The peer's disk holds the leader's entries up to here.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How to send.
    pub state: State,
    /// When the peer last answered.
    pub heard_at: Duration,
    /// The newest heartbeat round that it answered in this term.
    pub round: u64,
    /// Entries for it are being read from the disk.
    pub reading: bool,
    /// The commit index that it was told last.
    pub told_commit: Index,
    /// Until then its clients are likely to wait for a commit: they have lately sent a command or asked a question.
    pub eager_until: Duration,
    /// It was removed by the entry at this index, and is told so until this time.
    pub leaves: Option<(Index, Duration)>,
}

impl Progress {
    /// A peer of a leader that has just been elected: presumed to be up to date, not yet asked.
    #[must_use]
    pub fn new(last: Index, now: Duration) -> Self {
        Self {
            matched: Index::ZERO,
            next: last.next(),
            state: State::Probe { waiting: false },
            heard_at: now,
            round: 0,
            reading: false,
            told_commit: Index::ZERO,
            eager_until: Duration::ZERO,
            leaves: None,
        }
    }

    /// Goes back to asking where the logs agree, from `next`.
    pub fn probe(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.state = State::Probe { waiting: false };
    }

    /// The peer holds all up to `index`. Says whether that is news.
    pub fn matched_up_to(&mut self, index: Index) -> bool {
        let news = index > self.matched;
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched.next());
        match &mut self.state {
            State::Probe { .. } if index.next() >= self.next => {
                self.state = State::Replicate {
                    in_flight: VecDeque::new(),
                    bytes: 0,
                };
            }
            State::Replicate { in_flight, bytes } => {
                while in_flight.front().is_some_and(|&(last, _)| last <= index) {
                    *bytes -= in_flight.pop_front().map_or(0, |(_, size)| size);
                }
            }
            State::Probe { .. } | State::Snapshot { .. } => {}
        }
        news
    }

    /// Whether another message with entries may be sent.
    #[must_use]
    pub fn has_room(&self, max_messages: usize, max_bytes: u64) -> bool {
        match &self.state {
            State::Probe { waiting } => !waiting,
            State::Replicate { in_flight, bytes } => {
                in_flight.len() < max_messages && *bytes < max_bytes
            }
            State::Snapshot { .. } => false,
        }
    }

    /// A message with entries up to `last` leaves.
    pub fn sent(&mut self, last: Index, size: u64) {
        match &mut self.state {
            State::Probe { waiting } => *waiting = true,
            State::Replicate { in_flight, bytes } => {
                in_flight.push_back((last, size));
                *bytes += size;
                self.next = last.next();
            }
            State::Snapshot { .. } => {}
        }
    }
}
