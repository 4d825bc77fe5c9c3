//! From where to where a log reaches, and which requests fit that. Every store asks here, so all refuse alike.

use super::{StorageError, WriteBatch, schema};
use crate::types::{Entry, Index, LogId};

/// From where to where a log reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogBounds {
    /// The entry right before the first one kept.
    pub(super) purged: LogId,
    /// The last entry kept; equal to `purged` where none is.
    pub(super) last: LogId,
}

impl LogBounds {
    /// Where the first entry kept is, or would be.
    pub(super) fn first(self) -> Index {
        self.purged.index.next()
    }

    /// Whether the log keeps an entry at `index`.
    pub(super) fn contains(self, index: Index) -> bool {
        self.first() <= index && index <= self.last.index
    }

    /// Refuses to read an entry that is not kept.
    pub(super) fn check_read(self, from: Index) -> Result<(), StorageError> {
        if self.contains(from) {
            Ok(())
        } else {
            Err(self.out_of_range(from))
        }
    }

    /// Refuses a batch that would leave a gap, cut the log where it doesn't reach, or hold too long an entry.
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

/// Refuses entries whose terms run backwards: no Raft log has them (Raft paper §5.3), and a store that took
/// them would call itself damaged when it is opened again.
pub(super) fn check_terms(mut before: LogId, entries: &[Entry]) -> Result<(), StorageError> {
    for entry in entries {
        if entry.id.term < before.term {
            let reason = format!(
                "entry {} was to follow {before}, and terms never decrease; this is a bug",
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
