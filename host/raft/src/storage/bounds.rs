//! The first and last index of a log, and the checks of requests against them. All stores use the same checks.

use super::{StorageError, WriteBatch, schema};
use crate::entry::Entry;
use crate::ids::{Index, LogId};

/// The range of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogBounds {
    /// The entry before the first one in the log: everything up to it was purged.
    pub(super) purged: LogId,
    /// The last entry in the log; equal to `purged` if the log is empty.
    pub(super) last: LogId,
}

impl LogBounds {
    /// The index of the first entry, or of the next one if the log is empty.
    pub(super) fn first(self) -> Index {
        self.purged.index.next()
    }

    /// Whether the log has an entry at `index`.
    pub(super) fn contains(self, index: Index) -> bool {
        self.first() <= index && index <= self.last.index
    }

    /// Refuses to read an entry that is not in the log.
    pub(super) fn check_read(self, from: Index) -> Result<(), StorageError> {
        if self.contains(from) {
            Ok(())
        } else {
            Err(self.out_of_range(from))
        }
    }

    /// Refuses a batch that leaves a gap, truncates outside the log, or has an entry over the limit.
    pub(super) fn check_batch(self, batch: &WriteBatch) -> Result<(), StorageError> {
        let mut next = self.last.index.next();
        if let Some(from) = batch.truncate_from {
            if from < self.first() || from > next {
                return Err(self.out_of_range(from));
            }
            next = from;
        }
        for entry in &batch.entries {
            if entry.id.index != next {
                return Err(self.out_of_range(entry.id.index));
            }
            schema::check_entry_size(entry)?;
            next = next.next();
        }
        Ok(())
    }

    fn out_of_range(self, wanted: Index) -> StorageError {
        StorageError::OutOfRange {
            first: self.first(),
            last: self.last.index,
            wanted,
        }
    }
}

/// Refuses entries with decreasing terms. A Raft log has none (Raft paper §5.3), and a store with such entries would be
/// reported as corrupt at its next start.
pub(super) fn check_terms(mut before: LogId, entries: &[Entry]) -> Result<(), StorageError> {
    for entry in entries {
        if entry.id.term < before.term {
            let reason = format!(
                "entry {} would follow entry {before}, and terms never decrease; this is a bug, please report it",
                entry.id
            );
            return Err(StorageError::Database {
                doing: "appending entries",
                source: reason.into(),
            });
        }
        before = entry.id;
    }
    Ok(())
}
