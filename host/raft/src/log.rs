//! The core's view of the log: the terms of all entries, the newest entries in memory, and the positions
//! purged ≤ applied ≤ applying ≤ committed, stable ≤ last.
//!
//! Entries are kept in memory up to a limit of bytes. Older entries are read from the disk, for a follower that lags or
//! after a restart.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::entry::{Entry, SnapshotMeta};
use crate::ids::{Index, LogId, Term};

/// Invariants, checked by [`RaftLog::check`] after every input in tests and simulation:
/// `purged ≤ applied ≤ applying ≤ committed ≤ last` and `stable ≤ written ≤ last`; `cache` ends with the entry `last`.
#[derive(Clone, Debug)]
pub struct RaftLog {
    /// The entry before the first one in the log: everything up to it was purged.
    purged: LogId,
    /// The last entry.
    last: LogId,
    /// Time of the last entry, in milliseconds since 1970; of a later one that was removed, if it is not known any more.
    last_time_ms: u64,
    /// The first index of each term in the log, in ascending order.
    terms: VecDeque<(Index, Term)>,
    /// The newest entries, without a gap, up to `last`.
    cache: VecDeque<Entry>,
    /// Sum of [`Entry::cost`] in `cache`.
    cache_bytes: u64,
    /// Above this limit, durable entries are evicted from `cache`.
    cache_limit_bytes: u64,
    /// Entries up to this index are durable on this node.
    stable: Index,
    /// Entries up to this index are part of the write in progress or of a completed one.
    written: Index,
    /// The next write removes the entries from this index on from the disk.
    truncate_from: Option<Index>,
    /// Entries up to this index are durable on a majority and never change.
    pub(crate) committed: Index,
    /// Entries up to this index were handed to the state machine.
    pub(crate) applying: Index,
    /// Entries up to this index were applied by the state machine.
    pub(crate) applied: Index,
}

impl RaftLog {
    /// The log of a node at its start: `applied` is the last index of the snapshot that its state machine restores.
    #[must_use]
    pub fn new(
        purged: LogId,
        last: LogId,
        last_time_ms: u64,
        terms: &[(Index, Term)],
        applied: Index,
        cache_limit_bytes: u64,
    ) -> Self {
        Self {
            purged,
            last,
            last_time_ms,
            terms: terms.iter().copied().collect(),
            cache: VecDeque::new(),
            cache_bytes: 0,
            cache_limit_bytes,
            stable: last.index,
            written: last.index,
            truncate_from: None,
            committed: applied,
            applying: applied,
            applied,
        }
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> LogId {
        self.last
    }

    /// Time of the last entry, in milliseconds since 1970.
    #[must_use]
    pub fn last_time_ms(&self) -> u64 {
        self.last_time_ms
    }

    /// The entry before the first one in the log: everything up to it was purged.
    #[must_use]
    pub fn purged(&self) -> LogId {
        self.purged
    }

    /// Entries up to this index are durable on this node.
    #[must_use]
    pub fn stable(&self) -> Index {
        self.stable
    }

    /// Entries up to this index are committed.
    #[must_use]
    pub fn committed(&self) -> Index {
        self.committed
    }

    /// Entries up to this index are applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Number of entries in the log.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.last.index.0 - self.purged.index.0
    }

    /// Whether the log has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Term of the entry at `index`; `None` outside the log. The term of the purged entry is defined too.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.purged.index {
            return Some(self.purged.term);
        }
        if index < self.purged.index || index > self.last.index {
            return None;
        }
        let run = self.terms.partition_point(|&(start, _)| start <= index);
        run.checked_sub(1).map(|run| self.terms[run].1)
    }

    /// Whether the log has an entry with this index and term.
    #[must_use]
    pub fn holds(&self, id: LogId) -> bool {
        self.term_at(id.index) == Some(id.term)
    }

    /// The last entry with an index and a term that are not higher than those of `id`: the highest entry where two logs
    /// can match. Both sides skip whole terms (Raft paper §5.3, last paragraphs).
    #[must_use]
    pub fn agreement_below(&self, id: LogId) -> LogId {
        let mut index = id.index.min(self.last.index);
        while index > self.purged.index {
            match self.term_at(index) {
                Some(term) if term <= id.term => return LogId::new(term, index),
                Some(term) => index = self.start_of(term).previous(),
                None => break,
            }
        }
        self.purged
    }

    fn start_of(&self, term: Term) -> Index {
        let run = self.terms.partition_point(|&(_, t)| t < term);
        self.terms
            .get(run)
            .map_or(self.purged.index, |&(start, _)| start)
    }

    /// Appends an entry. Its index must be the next one; a gap is a bug and panics.
    pub fn append(&mut self, entry: Entry) {
        assert_eq!(
            entry.id.index,
            self.last.index.next(),
            "entries follow each other without a gap"
        );
        if self.term_at(self.last.index) != Some(entry.id.term) || self.is_empty() {
            self.terms.push_back((entry.id.index, entry.id.term));
        }
        self.last = entry.id;
        self.last_time_ms = self.last_time_ms.max(entry.time_ms);
        self.cache_bytes += entry.cost();
        self.cache.push_back(entry);
    }

    /// Removes the entries from `from` on, which conflict with the leader's. Removing a committed entry is a bug and
    /// panics.
    pub fn truncate(&mut self, from: Index) {
        assert!(
            from > self.committed,
            "entry {from} is committed up to {} and must not be removed",
            self.committed
        );
        while self
            .cache
            .back()
            .is_some_and(|entry| entry.id.index >= from)
        {
            self.cache_bytes -= self.cache.pop_back().map_or(0, |entry| entry.cost());
        }
        while self.terms.back().is_some_and(|&(start, _)| start >= from) {
            self.terms.pop_back();
        }
        let index = from.previous();
        let term = self
            .terms
            .back()
            .map_or(self.purged.term, |&(_, term)| term);
        self.last = LogId::new(term, index);
        if let Some(last) = self.cache.back() {
            // An entry that is not on a majority must not move the time of the log.
            self.last_time_ms = last.time_ms;
        }
        if self.written >= from {
            self.truncate_from = Some(self.truncate_from.map_or(from, |earlier| earlier.min(from)));
            self.written = index;
        }
        self.stable = self.stable.min(index);
    }

    /// The next write: the index to truncate from, then the entries to append. They count as written from now on.
    pub fn take_write(&mut self) -> (Option<Index>, Vec<Entry>) {
        let entries = self
            .cached(self.written.next(), self.last.index, u64::MAX)
            .unwrap_or_default();
        self.written = self.last.index;
        (self.truncate_from.take(), entries)
    }

    /// Entries up to this index are part of the write in progress or of a completed one.
    #[must_use]
    pub fn written(&self) -> Index {
        self.written
    }

    /// The write in progress was refused and changed nothing on the disk. `written` is the value of [`RaftLog::written`]
    /// before it, `truncated` its truncation. Both are repeated, except for what a later truncation or snapshot replaced.
    pub fn write_undone(&mut self, written: Index, truncated: Option<Index>) {
        let again = truncated.filter(|from| *from > self.purged.index);
        // The disk has no entries after `written`, except those that the refused truncation was to remove.
        let later = self
            .truncate_from
            .filter(|from| *from <= written || again.is_some());
        self.truncate_from = match (again, later) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.written = written.min(self.written).max(self.purged.index);
    }

    /// Whether the disk lacks entries or a truncation.
    #[must_use]
    pub fn needs_write(&self) -> bool {
        self.written < self.last.index || self.truncate_from.is_some()
    }

    /// The write in progress is durable. There is one at a time, so everything up to `written` is durable. A truncation in
    /// the meantime has lowered `written`.
    pub fn write_done(&mut self, up_to: Index) {
        self.stable = self.stable.max(up_to.min(self.written));
        self.evict();
    }

    /// The entries from `from` to `to` if they are in memory: at least one, then as many as fit into `max_bytes`.
    #[must_use]
    pub fn cached(&self, from: Index, to: Index, max_bytes: u64) -> Option<Vec<Entry>> {
        let first = self.cache.front()?.id.index;
        if from < first || from > to {
            return None;
        }
        let skip = usize::try_from(from.0 - first.0).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.cache.range(skip..) {
            bytes += entry.cost();
            if entry.id.index > to || (bytes > max_bytes && !entries.is_empty()) {
                break;
            }
            entries.push(entry.clone());
        }
        Some(entries)
    }

    /// Removes the entries up to `up_to`, which a snapshot contains.
    pub fn purge(&mut self, up_to: LogId) {
        if up_to.index <= self.purged.index {
            return;
        }
        while self
            .cache
            .front()
            .is_some_and(|entry| entry.id.index <= up_to.index)
        {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |entry| entry.cost());
        }
        while self
            .terms
            .get(1)
            .is_some_and(|&(start, _)| start <= up_to.index.next())
        {
            self.terms.pop_front();
        }
        if let Some(first) = self.terms.front_mut() {
            first.0 = first.0.max(up_to.index.next());
        }
        self.purged = up_to;
        if self.last.index <= up_to.index {
            self.terms.clear();
        }
    }

    /// Continues after a snapshot of the leader. If the log has the snapshot's last entry, its later entries stay.
    pub fn install(&mut self, meta: &SnapshotMeta) {
        let last = meta.last;
        if self.holds(last) {
            self.purge(last);
            // If a truncation before it is pending, the disk has another entry there, and its purge removes the whole log.
            self.truncate_from = self.truncate_from.filter(|from| *from > last.index);
        } else {
            self.cache.clear();
            self.cache_bytes = 0;
            self.terms.clear();
            self.truncate_from = None;
            self.purged = last;
            self.last = last;
            self.written = last.index;
            self.stable = last.index;
            self.last_time_ms = meta.time_ms;
        }
        self.last_time_ms = self.last_time_ms.max(meta.time_ms);
        self.stable = self.stable.max(last.index);
        self.written = self.written.max(last.index);
        self.committed = self.committed.max(last.index);
        self.applying = self.applying.max(last.index);
    }

    /// Evicts durable entries from memory, oldest first, while the memory is over its limit. They are read from the disk
    /// when they are needed again.
    pub fn evict(&mut self) {
        while self.cache_bytes > self.cache_limit_bytes
            && self
                .cache
                .front()
                .is_some_and(|entry| entry.id.index <= self.stable)
        {
            self.cache_bytes -= self.cache.pop_front().map_or(0, |entry| entry.cost());
        }
    }

    /// Panics if an invariant of the type is broken.
    pub fn check(&self) {
        assert!(
            self.applied <= self.applying && self.applying <= self.committed,
            "{self:?}"
        );
        assert!(
            self.committed <= self.last.index && self.purged.index <= self.applying,
            "{self:?}"
        );
        assert!(
            self.stable <= self.last.index && self.stable <= self.written,
            "{self:?}"
        );
        assert!(
            self.cache.back().is_none_or(|entry| entry.id == self.last),
            "{self:?}"
        );
    }
}
