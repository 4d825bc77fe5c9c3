//! Counters of the log of segments.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters and sizes of the segments, since the log was opened.
#[derive(Debug, Default)]
pub struct SegmentStats {
    pub(super) begun: AtomicU64,
    pub(super) waited: AtomicU64,
    pub(super) created: AtomicU64,
    pub(super) used: AtomicU64,
    pub(super) spare: AtomicU64,
}

impl SegmentStats {
    /// Segments that the log has begun to write to.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Writes that waited because the next segment was not ready.
    #[must_use]
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Segments that were created, because there was none to use again.
    #[must_use]
    pub fn created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    /// Segments that contain entries of the log, or are prepared for the next ones.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Segments that can be used again.
    #[must_use]
    pub fn spare(&self) -> u64 {
        self.spare.load(Ordering::Relaxed)
    }

    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set(gauge: &AtomicU64, value: usize) {
        gauge.store(value as u64, Ordering::Relaxed);
    }
}
