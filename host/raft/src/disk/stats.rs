//! Counters of the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::entry::{Entry, Payload};
use crate::storage::{SegmentStats, WriteBatch};

/// Counters of a [`Disk`](super::Disk) since its start. They only grow.
///
/// Entries and commands per write show how much one sync makes durable. The higher, the cheaper each command is.
#[derive(Debug, Default)]
pub struct DiskStats {
    writes: AtomicU64,
    entries: AtomicU64,
    commands: AtomicU64,
    /// `None` for a log in memory.
    segments: Option<Arc<SegmentStats>>,
    write_us: AtomicU64,
    slowest_us: AtomicU64,
}

impl DiskStats {
    pub(super) fn of(segments: Option<Arc<SegmentStats>>) -> Self {
        Self {
            segments,
            ..Self::default()
        }
    }

    /// Counters of the files of the log; `None` for a log in memory.
    #[must_use]
    pub fn segments(&self) -> Option<&SegmentStats> {
        self.segments.as_deref()
    }

    /// Durable writes of the log. Each is one sync.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Entries in these writes.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Commands in these entries.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// How long the durable writes took, all together, in microseconds. 0 where no thread measures it.
    #[must_use]
    pub fn write_us(&self) -> u64 {
        self.write_us.load(Ordering::Relaxed)
    }

    /// How long the slowest write since the last call of [`Self::take_slowest_us`] took, in microseconds.
    #[must_use]
    pub fn slowest_us(&self) -> u64 {
        self.slowest_us.load(Ordering::Relaxed)
    }

    /// How long the slowest write since the last call of this function took, in microseconds.
    #[must_use]
    pub fn take_slowest_us(&self) -> u64 {
        self.slowest_us.swap(0, Ordering::Relaxed)
    }

    /// Counts the time of a write. The disk itself has no clock, so its thread measures.
    pub(crate) fn record_time(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.write_us.fetch_add(took_us, Ordering::Relaxed);
        self.slowest_us.fetch_max(took_us, Ordering::Relaxed);
    }

    pub(super) fn record_write(&self, batch: &WriteBatch) {
        let commands = |entry: &Entry| match &entry.payload {
            Payload::Commands(commands) => commands.len() as u64,
            Payload::Noop | Payload::Membership(_) | Payload::Cluster(_) => 0,
        };
        let entries = &batch.entries;
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.entries
            .fetch_add(entries.len() as u64, Ordering::Relaxed);
        self.commands
            .fetch_add(entries.iter().map(commands).sum(), Ordering::Relaxed);
    }
}
