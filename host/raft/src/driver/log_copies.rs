//! Copies of applied entries, for an archive of the log.
//!
//! A copy is answered at once from memory where the entries are still there. Otherwise the disk reads them between its other tasks.

use std::collections::BTreeMap;

use super::Driver;
use super::environment::Environment;
use crate::disk::DiskTask;
use crate::entry::Entry;
use crate::ids::{Index, Term};
use crate::state_machine::ReplicatedStateMachine;

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
    fn insert(&mut self, request: CopyRequest) -> u64 {
        self.next_id += 1;
        self.reading.insert(self.next_id, request);
        self.next_id
    }

    pub(super) fn clear(&mut self) {
        self.reading.clear();
    }
}

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    pub(super) fn on_copy_log(&mut self, request: CopyRequest) {
        let log = self.core.log();
        let applied = log.applied();
        if request.from <= log.purged().index || request.from > applied {
            return self.respond_copy(request, Vec::new());
        }
        match log.cached(request.from, applied, request.max_bytes) {
            Some(entries) => self.respond_copy(request, entries),
            None => {
                let (from, max_bytes) = (request.from, request.max_bytes);
                let id = self.log_copies.insert(request);
                self.env.disk(DiskTask::CopyLog {
                    id,
                    from,
                    to: applied,
                    max_bytes,
                });
            }
        }
    }

    /// The disk has read entries for a copy. None: a snapshot has replaced them in the meantime.
    pub(super) fn on_log_copied(&mut self, id: u64, entries: Vec<Entry>) {
        if let Some(request) = self.log_copies.reading.remove(&id) {
            self.respond_copy(request, entries);
        }
    }

    fn respond_copy(&self, request: CopyRequest, entries: Vec<Entry>) {
        let log = self.core.log();
        let is_compacted = entries.is_empty() && request.from <= log.purged().index;
        (request.respond)(if is_compacted {
            LogCopy::Compacted {
                first: log.purged().index.next(),
            }
        } else {
            LogCopy::Entries(CopiedEntries {
                entries,
                term_before: log.term_at(request.from.previous()),
                applied: log.applied(),
                time_ms: log.last_time_ms(),
            })
        });
    }
}
