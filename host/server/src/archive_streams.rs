//! The streams of `GET /v1/entries` that a node sends: how many, and how far each has come. For metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most streams of entries that a node sends at the same time.
pub(crate) const MAX_STREAMS: usize = 4;

/// The streams of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ArchiveStreams {
    places: Arc<Semaphore>,
    shared: Arc<Positions>,
}

#[derive(Debug, Default)]
struct Positions {
    sent: AtomicU64,
    next_id: AtomicU64,
    /// The last entry that each open stream has sent.
    open: Mutex<BTreeMap<u64, u64>>,
}

/// What the metrics show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArchiveCounts {
    /// Open streams.
    pub(crate) streams: u64,
    /// Entries sent since the start.
    pub(crate) sent: u64,
    /// Applied entries that the stream which is furthest behind has not sent yet.
    pub(crate) lag: u64,
}

/// The place of one stream. Given back when dropped.
#[derive(Debug)]
pub(crate) struct ArchiveStream {
    id: u64,
    shared: Arc<Positions>,
    _place: OwnedSemaphorePermit,
}

impl Default for ArchiveStreams {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            shared: Arc::default(),
        }
    }
}

impl ArchiveStreams {
    /// A place for a stream that continues after the entry `position`; none if all are taken.
    pub(crate) fn open(&self, position: u64) -> Option<ArchiveStream> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        self.shared.set(id, Some(position));
        Some(ArchiveStream {
            id,
            shared: Arc::clone(&self.shared),
            _place: place,
        })
    }

    /// The counts of a node that has applied the entries up to `applied`.
    pub(crate) fn counts(&self, applied: u64) -> ArchiveCounts {
        let open = self.shared.open.lock();
        let open = open.unwrap_or_else(PoisonError::into_inner);
        ArchiveCounts {
            streams: open.len() as u64,
            sent: self.shared.sent.load(Ordering::Relaxed),
            lag: open
                .values()
                .map(|position| applied.saturating_sub(*position))
                .max()
                .unwrap_or(0),
        }
    }
}

impl Positions {
    fn set(&self, id: u64, position: Option<u64>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match position {
            Some(position) => open.insert(id, position),
            None => open.remove(&id),
        };
    }
}

impl ArchiveStream {
    /// The stream has sent `entries` more, up to `position`.
    pub(crate) fn sent(&self, entries: u64, position: u64) {
        self.shared.sent.fetch_add(entries, Ordering::Relaxed);
        self.shared.set(self.id, Some(position));
    }
}

impl Drop for ArchiveStream {
    fn drop(&mut self) {
        self.shared.set(self.id, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_that_of_the_stream_that_is_furthest_behind() {
        let streams = ArchiveStreams::default();
        assert_eq!(streams.counts(100), ArchiveCounts::default());
        let (slow, quick) = (streams.open(10).unwrap(), streams.open(10).unwrap());
        quick.sent(85, 95);
        slow.sent(20, 30);
        let counts = streams.counts(100);
        assert_eq!((counts.streams, counts.sent, counts.lag), (2, 105, 70));
        drop(slow);
        assert_eq!(streams.counts(100).lag, 5);
    }

    #[test]
    fn a_place_is_given_back() {
        let streams = ArchiveStreams::default();
        let all: Vec<_> = (0..MAX_STREAMS).map_while(|_| streams.open(0)).collect();
        assert_eq!(all.len(), MAX_STREAMS);
        assert!(streams.open(0).is_none());
        drop(all);
        assert!(streams.open(0).is_some());
    }
}
