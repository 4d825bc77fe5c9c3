//! The latest events of the guest, stored in memory for the clients of `GET /v1/events`.
//!
//! The apply thread never waits for a client. Each client reads the stored events at its own speed. A client that falls
//! so far behind that an event is dropped before it has read it receives a gap notice.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use oarlock_wasm::GuestEvent;
use task_queue_raft::ids::Index;
use tokio::sync::watch;

/// Most stored events; the oldest are dropped.
const KEPT: usize = 10_000;
/// Most bytes of stored events, including [`EVENT_BYTES`] for each.
const KEPT_BYTES: usize = 16 << 20;
/// Most events that are stored as they are sent.
const FRAMED: usize = 4;
/// Approximate memory per event in addition to topic and payload, in bytes.
const EVENT_BYTES: usize = 96;

/// The position of an event in the log: the index of its entry, and its number in this entry. Equal on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventId {
    index: u64,
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.number)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (index, number) = text.split_once('.').ok_or(())?;
        let number_of = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or(())
        };
        Ok(Self {
            index: number_of(index)?,
            number: number_of(number)?,
        })
    }
}

/// An event with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    pub(crate) id: EventId,
    pub(crate) event: GuestEvent,
}

/// The next item for a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextEvent {
    /// The next event.
    Event(StoredEvent),
    /// Events up to this position may have been dropped. Later ones are stored.
    Gap(EventId),
    /// There is no later event yet.
    None,
}

/// The latest events of the guest.
#[derive(Default)]
pub(crate) struct Events {
    store: Mutex<EventStore>,
    /// The latest events as they are sent, so that many clients share one copy.
    framed: Mutex<VecDeque<(EventId, Bytes)>>,
    /// Notifies of new events.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct EventStore {
    kept: VecDeque<StoredEvent>,
    bytes: usize,
    /// Number of events since the beginning of the log, up to the last stored event.
    published: u64,
    /// Events up to this position may have been dropped.
    lost: Option<EventId>,
}

impl Events {
    /// Stores the events of the entry at `index`. `before` is the number of earlier events since the beginning of the
    /// log. Called on the apply thread, in the order of the log. Also called without events after a snapshot is
    /// installed: a snapshot holds the number of events, but not the events.
    pub(crate) fn publish(&self, index: Index, events: &[GuestEvent], before: u64) {
        if self.lock().publish(index.0, events, before) {
            self.changes.send_replace(());
        }
    }

    /// The first item after a position.
    pub(crate) fn after(&self, place: EventId) -> NextEvent {
        self.lock().after(place)
    }

    /// The event as it is sent: made by `frame`, or the copy that was made for another client.
    pub(crate) fn framed(
        &self,
        event: &StoredEvent,
        frame: impl FnOnce(&StoredEvent) -> String,
    ) -> Bytes {
        let mut framed = self.framed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = framed.iter().find(|(id, _)| *id == event.id) {
            return known.clone();
        }
        if framed.len() == FRAMED {
            framed.pop_front();
        }
        let made = Bytes::from(frame(event));
        framed.push_back((event.id, made.clone()));
        made
    }

    /// The position of the latest event, where a client without a position starts.
    pub(crate) fn latest(&self) -> EventId {
        let store = self.lock();
        let kept = store.kept.back().map(|kept| kept.id);
        kept.max(store.lost).unwrap_or_default()
    }

    /// Notifies of new events.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Number of open streams.
    pub(crate) fn listeners(&self) -> usize {
        self.changes.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, EventStore> {
        // No method leaves the store inconsistent when it panics.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStore {
    /// Returns whether there is a new event or gap.
    fn publish(&mut self, index: u64, events: &[GuestEvent], before: u64) -> bool {
        let skipped = before != self.published;
        if skipped {
            // The events in between are missing: their entries came in a snapshot.
            self.kept.clear();
            self.bytes = 0;
            self.lost = Some(EventId {
                index: if events.is_empty() { index } else { index - 1 },
                number: u64::MAX,
            });
        }
        self.published = before + events.len() as u64;
        for (number, event) in (0..).zip(events) {
            let id = EventId { index, number };
            self.bytes += cost(event);
            self.kept.push_back(StoredEvent {
                id,
                event: event.clone(),
            });
        }
        while self.kept.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest.event);
            self.lost = Some(oldest.id);
        }
        skipped || !events.is_empty()
    }

    fn after(&self, place: EventId) -> NextEvent {
        if let Some(lost) = self.lost.filter(|lost| place < *lost) {
            return NextEvent::Gap(lost);
        }
        let first = self.kept.partition_point(|kept| kept.id <= place);
        match self.kept.get(first) {
            Some(next) => NextEvent::Event(next.clone()),
            None => NextEvent::None,
        }
    }
}

fn cost(event: &GuestEvent) -> usize {
    EVENT_BYTES + event.topic.len() + event.payload.len()
}

#[cfg(test)]
mod tests;
