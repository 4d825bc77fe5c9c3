//! Answers requests for copies of applied entries. A copy comes from memory where the entries are still there. Otherwise the disk reads them
//! between its other tasks.

use super::Driver;
use super::environment::Environment;
use super::log_copies::{CopiedEntries, CopyRequest, LogCopy};
use crate::disk::DiskTask;
use crate::entry::Entry;
use crate::state_machine::ReplicatedStateMachine;

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
        if let Some(request) = self.log_copies.remove(id) {
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
