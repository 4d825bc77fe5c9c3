//! The rate at which snapshot chunks are sent.

use std::time::Duration;

use crate::ids::NodeId;

/// Limits the chunks to all peers together. It outlives a leader's term, because chunks are still read from the disk then.
#[derive(Clone, Debug, Default)]
pub(super) struct RateLimiter {
    /// The next chunk is sent no earlier than this.
    due: Duration,
    /// Chunks that are being read from the disk. With a limit, at most one: the size of a chunk is known only after the read.
    reading: usize,
    /// The peer that was served last. The next one in order has its turn.
    last_served: Option<NodeId>,
}

impl RateLimiter {
    /// Whether a chunk may be read now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.reading == 0 && self.due <= now
    }

    /// When the next chunk may be read; none while one is being read.
    pub(super) fn next_due(&self) -> Option<Duration> {
        (self.reading == 0).then_some(self.due)
    }

    pub(super) fn last_served(&self) -> Option<&NodeId> {
        self.last_served.as_ref()
    }

    /// A chunk for this peer is being read.
    pub(super) fn begin_read(&mut self, to: NodeId) {
        self.reading += 1;
        self.last_served = Some(to);
    }

    /// A chunk was read, and this number of its bytes is sent.
    pub(super) fn end_read(&mut self, now: Duration, bytes: u64, bytes_per_second: Option<u64>) {
        self.reading = self.reading.saturating_sub(1);
        if let Some(rate) = bytes_per_second {
            let micros = bytes.saturating_mul(1_000_000) / rate.max(1);
            self.due = self.due.max(now) + Duration::from_micros(micros);
        }
    }
}
