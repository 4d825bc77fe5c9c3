//! Writes to the log store: their numbers, the one in flight, and what to do when the disk is full.

use std::time::Duration;

use crate::ids::Index;
use crate::raft::ready::WriteId;

/// The writes of this node. At most one is in flight.
#[derive(Clone, Debug)]
pub(super) struct Writes {
    pub(super) in_flight: Option<WriteInFlight>,
    /// Number of the next write. Numbers grow by one and start at 1.
    pub(super) next: WriteId,
    /// The last write was refused because the disk was full. When it is tried again.
    pub(super) full_until: Option<Duration>,
}

/// The write that the disk is working on.
#[derive(Clone, Debug)]
pub(super) struct WriteInFlight {
    pub(super) id: WriteId,
    /// The last entry of the log when the write began.
    pub(super) up_to: Index,
    /// When it began.
    pub(super) since: Duration,
    /// How to undo its bookkeeping if the disk has no space for it.
    pub(super) undo: RefusedWrite,
}

/// What a refused write had taken, so that a later write takes it again.
#[derive(Clone, Debug)]
pub(super) struct RefusedWrite {
    /// Entries up to here had been given to earlier writes.
    pub(super) written: Index,
    /// The write was to remove the entries from here on.
    pub(super) truncate_from: Option<Index>,
    /// The write contained term and vote.
    pub(super) hard_state: bool,
}

impl Default for Writes {
    fn default() -> Self {
        Self {
            in_flight: None,
            next: 1,
            full_until: None,
        }
    }
}

impl Writes {
    /// A write begins. Returns its number.
    pub(super) fn begin(&mut self, up_to: Index, since: Duration, undo: RefusedWrite) -> WriteId {
        let id = self.next;
        self.next += 1;
        self.in_flight = Some(WriteInFlight {
            id,
            up_to,
            since,
            undo,
        });
        id
    }

    /// The write in flight, if it has this number: it is no longer in flight.
    pub(super) fn end(&mut self, id: WriteId) -> Option<WriteInFlight> {
        self.in_flight.take_if(|write| write.id == id)
    }

    /// Whether the write in flight has taken longer than `limit`.
    pub(super) fn hang(&self, now: Duration, limit: Duration) -> bool {
        let write = self.in_flight.as_ref();
        write.is_some_and(|write| now.saturating_sub(write.since) > limit)
    }

    /// When a refused write is tried again. While the retry is in flight, there is nothing to wait for but the disk.
    pub(super) fn retry_deadline(&self) -> Option<Duration> {
        self.full_until.filter(|_| self.in_flight.is_none())
    }
}
