//! What a leader knows of a peer, and how it sends to it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::entry::SnapshotMeta;
use crate::ids::Index;

/// How the leader sends entries to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// It doesn't know where the logs agree: one message at a time until one is accepted.
    Probe {
        /// The message under way: its last index and its size in bytes.
        under_way: Option<(Index, u64)>,
    },
    /// The logs agree: messages follow each other without waiting, within a window.
    Replicate {
        /// Last index and size in bytes of each message under way.
        in_flight: VecDeque<(Index, u64)>,
        /// Their size together.
        bytes: u64,
    },
    /// The entries that the peer needs are gone: it gets a snapshot, chunk by chunk.
    Snapshot(SnapshotTransfer),
}

/// A snapshot on its way to a peer: some chunks follow each other without waiting, and where one is lost all behind it
/// are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotTransfer {
    /// Which one.
    pub meta: SnapshotMeta,
    /// How many of its bytes the peer has.
    pub offset: u64,
    /// Where the next chunk to be sent starts.
    pub next: u64,
    /// Where each chunk under way ends.
    pub in_flight: VecDeque<u64>,
    /// That chunk is being read from the disk.
    pub reading: bool,
    /// The peer has said where it stands: a transfer that was cut goes on there.
    pub answered: bool,
    /// When something was last sent or answered.
    pub moved_at: Duration,
}

impl SnapshotTransfer {
    /// Nothing of it was sent yet.
    #[must_use]
    pub fn new(meta: SnapshotMeta, now: Duration) -> Self {
        Self {
            meta,
            offset: 0,
            next: 0,
            in_flight: VecDeque::new(),
            reading: false,
            answered: false,
            moved_at: now,
        }
    }

    /// Whether another chunk may be read, with so many under way at most.
    #[must_use]
    pub fn wants_chunk(&self, window: usize) -> bool {
        // The first one asks where the peer stands.
        let window = if self.answered { window.max(1) } else { 1 };
        let more = self.next < self.meta.length || self.next == 0;
        more && !self.reading && self.in_flight.len() < window
    }

    /// A chunk of so many bytes leaves.
    pub fn sent(&mut self, bytes: u64, now: Duration) {
        self.reading = false;
        self.next += bytes;
        self.in_flight.push_back(self.next);
        self.moved_at = now;
    }

    /// The peer has bytes up to `offset`.
    pub fn reached(&mut self, offset: u64, now: Duration) {
        self.answered = true;
        // The same as before is said of a chunk behind a lost one, and by an answer that came twice.
        if offset == self.offset {
            return;
        }
        self.moved_at = now;
        self.offset = offset;
        match self.in_flight.iter().position(|&end| end == offset) {
            Some(place) => drop(self.in_flight.drain(..=place)),
            // It had more than was thought, or less.
            None => self.go_on_from(offset),
        }
    }

    /// Chunks or answers were lost: all from where the peer stands is sent again.
    pub fn again(&mut self, now: Duration) {
        self.moved_at = now;
        self.go_on_from(self.offset);
    }

    fn go_on_from(&mut self, offset: u64) {
        self.next = offset;
        self.in_flight.clear();
        self.reading = false;
    }
}

/// A peer as its leader sees it.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The peer's disk holds the leader's entries up to here.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// How to send.
    pub state: ProgressState,
    /// When the peer last answered.
    pub heard_at: Duration,
    /// The newest heartbeat round that it answered in this term.
    pub round: u64,
    /// Until then it has promised not to vote for another leader, on the leader's clock.
    pub promised_until: Duration,
    /// Entries for it are being read from the disk.
    pub reading: bool,
    /// The commit index that it was told last.
    pub told_commit: Index,
    /// Until then its clients are likely to wait for a commit: they have lately sent a command or asked a question.
    pub eager_until: Duration,
    /// It was removed by the entry at this index, and is told so until this time.
    pub leaves: Option<(Index, Duration)>,
    /// Number of its store, where it has said that this holds none of its former promises.
    pub store_id: Option<u64>,
}

impl Progress {
    /// A peer of a leader that has just been elected: presumed to be up to date, not yet asked.
    #[must_use]
    pub fn new(last: Index, now: Duration) -> Self {
        Self {
            matched: Index::ZERO,
            next: last.next(),
            state: ProgressState::Probe { under_way: None },
            heard_at: now,
            round: 0,
            promised_until: Duration::ZERO,
            reading: false,
            told_commit: Index::ZERO,
            eager_until: Duration::ZERO,
            leaves: None,
            store_id: None,
        }
    }

    /// Goes back to asking where the logs agree, from `next`.
    pub fn probe(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.state = ProgressState::Probe { under_way: None };
    }

    /// Gets a snapshot from now on.
    pub fn transfer(&mut self, meta: SnapshotMeta, now: Duration) {
        self.state = ProgressState::Snapshot(SnapshotTransfer::new(meta, now));
    }

    /// The peer holds all up to `index`. Says whether that is news.
    pub fn matched_up_to(&mut self, index: Index) -> bool {
        let news = index > self.matched;
        self.matched = self.matched.max(index);
        self.next = self.next.max(self.matched.next());
        match &mut self.state {
            ProgressState::Probe { under_way } if index.next() >= self.next => {
                // A heartbeat may say so before the probe does: what that holds is on its way and not sent again.
                let in_flight: VecDeque<_> = under_way
                    .take()
                    .filter(|&(last, _)| last > index)
                    .into_iter()
                    .collect();
                let bytes = in_flight.iter().map(|(_, size)| size).sum();
                if let Some((last, _)) = in_flight.back() {
                    self.next = last.next();
                }
                self.state = ProgressState::Replicate { in_flight, bytes };
            }
            ProgressState::Replicate { in_flight, bytes } => {
                while in_flight.front().is_some_and(|&(last, _)| last <= index) {
                    *bytes -= in_flight.pop_front().map_or(0, |(_, size)| size);
                }
            }
            ProgressState::Probe { .. } | ProgressState::Snapshot(_) => {}
        }
        news
    }

    /// Whether another message with entries may be sent.
    #[must_use]
    pub fn has_room(&self, max_messages: usize, max_bytes: u64) -> bool {
        match &self.state {
            ProgressState::Probe { under_way } => under_way.is_none(),
            ProgressState::Replicate { in_flight, bytes } => {
                in_flight.len() < max_messages && *bytes < max_bytes
            }
            ProgressState::Snapshot(_) => false,
        }
    }

    /// A message with entries up to `last` leaves.
    pub fn sent(&mut self, last: Index, size: u64) {
        match &mut self.state {
            ProgressState::Probe { under_way } => *under_way = Some((last, size)),
            ProgressState::Replicate { in_flight, bytes } => {
                in_flight.push_back((last, size));
                *bytes += size;
                self.next = last.next();
            }
            ProgressState::Snapshot(_) => {}
        }
    }
}
