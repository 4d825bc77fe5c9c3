//! Copies of applied entries, for an archive of the log: requests that wait for the disk.

use std::collections::BTreeMap;

use crate::entry::Entry;
use crate::ids::{Index, Term};

/// A part of the applied log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogCopy {
    /// Entries from the requested one on.
    Entries(CopiedEntries),
    /// The log of this node begins after the requested entry: a snapshot has replaced it.
    Compacted {
        /// The first entry that the log has, or will have.
        first: Index,
    },
}

/// Applied entries, without a gap. None if the requested one is not applied yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedEntries {
    /// The entries: the first one always, then as many as fit into the requested bytes.
    pub entries: Vec<Entry>,
    /// Term of the entry before the requested one, if the log knows it.
    pub term_before: Option<Term>,
    /// The last applied entry.
    pub applied: Index,
    /// Time of the last entry of the log, in milliseconds since 1970.
    pub time_ms: u64,
}

/// Receives a copy.
pub type CopyCallback = Box<dyn FnOnce(LogCopy) + Send>;

/// A request for a copy.
pub struct CopyRequest {
    /// The first entry.
    pub from: Index,
    /// Most bytes of entries, counted with [`Entry::cost`].
    pub max_bytes: u64,
    /// Receives the copy. Dropped without a call if the node stops.
    pub respond: CopyCallback,
}

/// Requests for which the disk reads.
#[derive(Default)]
pub(super) struct LogCopies {
    next_id: u64,
    reading: BTreeMap<u64, CopyRequest>,
}

impl LogCopies {
    /// Adds a request. Returns its number.
    pub(super) fn insert(&mut self, request: CopyRequest) -> u64 {
        self.next_id += 1;
        self.reading.insert(self.next_id, request);
        self.next_id
    }

    /// Takes the request with this number.
    pub(super) fn remove(&mut self, id: u64) -> Option<CopyRequest> {
        self.reading.remove(&id)
    }

    /// Drops all requests.
    pub(super) fn clear(&mut self) {
        self.reading.clear();
    }
}
