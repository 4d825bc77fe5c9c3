//! The leader's record of a peer's log, and how it sends entries to the peer.

use std::collections::VecDeque;
use std::time::Duration;

use crate::entry::SnapshotMeta;
use crate::ids::{Index, LogId, StoreId};

/// How the leader sends entries to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// It is not known up to which entry the logs agree: one message at a time, until one is accepted.
    Probe {
        /// The message in flight: its last index and its size in bytes.
        in_flight: Option<(Index, u64)>,
    },
    /// The logs agree: messages are pipelined within a window.
    Replicate {
        /// Last index and size in bytes of each message in flight.
        in_flight: VecDeque<(Index, u64)>,
        /// Sum of the sizes.
        bytes: u64,
    },
    /// The entries that the peer needs are purged: it receives a snapshot, chunk by chunk.
    Snapshot(SnapshotTransfer),
}

/// A snapshot transfer to a peer. Chunks are pipelined within a window; after a loss, all later chunks are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotTransfer {
    /// The snapshot.
    pub meta: SnapshotMeta,
    /// Number of bytes that the peer has confirmed.
    pub offset: u64,
    /// Offset of the next chunk.
    pub next: u64,
    /// End offset of each chunk in flight.
    pub in_flight: VecDeque<u64>,
    /// The next chunk is being read from the disk.
    pub reading: bool,
    /// The peer has confirmed an offset: an interrupted transfer continues there.
    pub confirmed: bool,
    /// When a chunk was last sent or confirmed.
    pub moved_at: Duration,
}

impl SnapshotTransfer {
    /// A transfer that has not begun.
    #[must_use]
    pub fn new(meta: SnapshotMeta, now: Duration) -> Self {
        Self {
            meta,
            offset: 0,
            next: 0,
            in_flight: VecDeque::new(),
            reading: false,
            confirmed: false,
            moved_at: now,
        }
    }

    /// Whether another chunk may be read, with at most `window` in flight.
    #[must_use]
    pub fn wants_chunk(&self, window: usize) -> bool {
        // The response to the first chunk carries the offset of the peer.
        let window = if self.confirmed { window.max(1) } else { 1 };
        let more = self.next < self.meta.length || self.next == 0;
        more && !self.reading && self.in_flight.len() < window
    }

    /// A chunk of this size is sent.
    pub fn sent(&mut self, bytes: u64, now: Duration) {
        self.reading = false;
        self.next += bytes;
        self.in_flight.push_back(self.next);
        self.moved_at = now;
    }

    /// The peer has bytes up to `offset`.
    pub fn reached(&mut self, offset: u64, now: Duration) {
        self.confirmed = true;
        // A chunk after a lost one, or a duplicated response, repeats the offset.
        if offset == self.offset {
            return;
        }
        self.moved_at = now;
        self.offset = offset;
        match self.in_flight.iter().position(|&end| end == offset) {
            Some(place) => drop(self.in_flight.drain(..=place)),
            // The peer has more or fewer bytes than expected.
            None => self.go_on_from(offset),
        }
    }

    /// Whether a peer that has bytes up to `offset` had more, or has discarded the first chunk: it has lost them, or found them corrupt.
    #[must_use]
    pub fn is_lost(&self, offset: u64) -> bool {
        let discarded = offset == 0 && self.offset == 0 && !self.in_flight.is_empty();
        offset < self.offset || discarded && self.meta.length > 0
    }

    /// Chunks or responses were lost: everything after the confirmed offset is sent again.
    pub fn restart(&mut self, now: Duration) {
        self.moved_at = now;
        self.go_on_from(self.offset);
    }

    fn go_on_from(&mut self, offset: u64) {
        self.next = offset;
        self.in_flight.clear();
        self.reading = false;
    }
}

/// The leader's record of a peer.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The disk of the peer contains the leader's entries up to here. Always less than `next`.
    pub matched: Index,
    /// The newest heartbeat round of the leader when `matched` has grown last. A request of a later round was sent afterwards.
    pub matched_in: u64,
    /// The next entry to send.
    pub next: Index,
    /// How entries are sent.
    pub state: ProgressState,
    /// When the last response arrived.
    pub heard_at: Duration,
    /// The newest heartbeat round of this term to which the peer has responded.
    pub round: u64,
    /// End of the lease that the peer has granted, on the leader's clock.
    pub lease_until: Duration,
    /// Entries for the peer are being read from the disk.
    pub reading: bool,
    /// The commit index that was last sent to the peer.
    pub sent_commit: Index,
    /// Until then, clients of the peer probably wait for a commit: they have sent a command or a read.
    pub eager_until: Duration,
    /// The peer was removed by the entry at this index, and still receives entries until this time.
    pub removed: Option<(Index, Duration)>,
    /// Id of the store that has acknowledged `matched`; [`StoreId::NONE`] if none has, or in protocol 1.
    pub acknowledged_by: StoreId,
    /// Id of its store, if it has reported that this store lacks its earlier votes and acknowledgements.
    pub store_id: Option<StoreId>,
}

impl Progress {
    /// A peer that is assumed to have the entries up to `last`, until a probe shows it.
    #[must_use]
    pub fn new(last: Index, now: Duration) -> Self {
        Self {
            matched: Index::ZERO,
            matched_in: 0,
            next: last.next(),
            state: ProgressState::Probe { in_flight: None },
            heard_at: now,
            round: 0,
            lease_until: Duration::ZERO,
            reading: false,
            sent_commit: Index::ZERO,
            eager_until: Duration::ZERO,
            removed: None,
            acknowledged_by: StoreId::NONE,
            store_id: None,
        }
    }

    /// This store responds. If another one has acknowledged entries, these do not count any more.
    pub fn responds_from(&mut self, store_id: StoreId, last: Index, now: Duration) {
        if store_id == StoreId::NONE || store_id == self.acknowledged_by {
            return;
        }
        if self.acknowledged_by != StoreId::NONE {
            *self = Self {
                heard_at: self.heard_at,
                removed: self.removed,
                store_id: self.store_id,
                ..Self::new(last, now)
            };
        }
        self.acknowledged_by = store_id;
    }

    /// Returns to probing, from `next`.
    pub fn probe(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.state = ProgressState::Probe { in_flight: None };
    }

    /// Begins a snapshot transfer.
    pub fn transfer(&mut self, meta: SnapshotMeta, now: Duration) {
        self.state = ProgressState::Snapshot(SnapshotTransfer::new(meta, now));
    }

    /// The peer has these entries on its disk. `round` is the newest heartbeat round.
    pub fn acknowledged(&mut self, index: Index, round: u64) {
        if index > self.matched {
            self.matched = index;
            self.matched_in = round;
        }
    }

    /// The peer has acknowledged all entries up to `index`. Returns whether this is new.
    pub fn matched_up_to(&mut self, index: Index, round: u64) -> bool {
        let news = index > self.matched;
        self.acknowledged(index, round);
        self.next = self.next.max(self.matched.next());
        match &mut self.state {
            ProgressState::Probe { in_flight } if index.next() >= self.next => {
                // The response to a heartbeat may arrive first: the entries of the probe are still in flight.
                let pending: VecDeque<_> = in_flight
                    .take()
                    .filter(|&(last, _)| last > index)
                    .into_iter()
                    .collect();
                let bytes = pending.iter().map(|(_, size)| size).sum();
                if let Some((last, _)) = pending.back() {
                    self.next = last.next();
                }
                self.state = ProgressState::Replicate {
                    in_flight: pending,
                    bytes,
                };
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

    /// Whether the peer rejects an entry that it has acknowledged before the request was sent. A late response to an earlier
    /// request may reject it too.
    #[must_use]
    pub fn lacks_acknowledged(&self, rejected: LogId, round: u64) -> bool {
        rejected.index > Index::ZERO && rejected.index <= self.matched && round > self.matched_in
    }

    /// Whether another message with entries may be sent.
    #[must_use]
    pub fn has_room(&self, max_messages: usize, max_bytes: u64) -> bool {
        match &self.state {
            ProgressState::Probe { in_flight } => in_flight.is_none(),
            ProgressState::Replicate { in_flight, bytes } => {
                in_flight.len() < max_messages && *bytes < max_bytes
            }
            ProgressState::Snapshot(_) => false,
        }
    }

    /// A message with entries up to `last` is sent.
    pub fn sent(&mut self, last: Index, size: u64) {
        match &mut self.state {
            ProgressState::Probe { in_flight } => *in_flight = Some((last, size)),
            ProgressState::Replicate { in_flight, bytes } => {
                in_flight.push_back((last, size));
                *bytes += size;
                self.next = last.next();
            }
            ProgressState::Snapshot(_) => {}
        }
    }
}
