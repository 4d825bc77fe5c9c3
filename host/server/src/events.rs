//! What the guest has published, kept for a while for clients that listen.
//!
//! Nothing waits for a listener: the latest events are kept up to a number and a size, each listener reads on from its own
//! place at its own pace, and one that falls so far behind that events it has not seen are gone is told so.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oarlock_wasm::GuestEvent;
use task_queue_raft::ids::Index;
use tokio::sync::watch;

/// Events that are kept, and their bytes.
const KEPT: usize = 10_000;
const KEPT_BYTES: usize = 16 << 20;
/// What an event costs beside its own bytes, about.
const EVENT_BYTES: usize = 96;

/// An event's place in the log: the index of its entry, and its number there. The same on every node.
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

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) id: EventId,
    pub(crate) event: GuestEvent,
}

/// What comes next for a listener.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This.
    Event(Placed),
    /// Events after its place may be gone; those after this one are not.
    Gap(EventId),
    /// Nothing yet.
    Nothing,
}

/// The latest events.
pub(crate) struct Events {
    state: Mutex<State>,
    /// True: there is something new. False, at the end of the node.
    changes: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    kept: VecDeque<Placed>,
    bytes: usize,
    /// How many were published since the beginning of the log, as far as this node has seen.
    published: u64,
    /// Events up to here may be gone.
    lost: Option<EventId>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            changes: watch::Sender::new(true),
        }
    }
}

impl Events {
    /// An entry published these, after `before` others since the beginning of the log. Called on the thread that applies,
    /// in the order of the log; and with nothing after a snapshot, which has the state and not the events.
    pub(crate) fn publish(&self, index: Index, events: &[GuestEvent], before: u64) {
        if self.lock().publish(index.0, events, before) {
            self.changes.send_modify(|_| {});
        }
    }

    /// What follows a place.
    pub(crate) fn after(&self, place: EventId) -> Next {
        self.lock().after(place)
    }

    /// The place from which on there is nothing yet.
    pub(crate) fn latest(&self) -> EventId {
        let state = self.lock();
        let kept = state.kept.back().map(|kept| kept.id);
        kept.max(state.lost).unwrap_or_default()
    }

    /// Tells of changes; gives `false` at the end.
    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.changes.subscribe()
    }

    /// The node stops: who listens is let go.
    pub(crate) fn close(&self) {
        self.changes.send_replace(false);
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.changes.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here is left half-done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there is anything new.
    fn publish(&mut self, index: u64, events: &[GuestEvent], before: u64) -> bool {
        let skipped = before != self.published;
        if skipped {
            // What lies between came in a snapshot.
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
            self.kept.push_back(Placed {
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

    fn after(&self, place: EventId) -> Next {
        if let Some(lost) = self.lost.filter(|lost| place < *lost) {
            return Next::Gap(lost);
        }
        let first = self.kept.partition_point(|kept| kept.id <= place);
        match self.kept.get(first) {
            Some(next) => Next::Event(next.clone()),
            None => Next::Nothing,
        }
    }
}

fn cost(event: &GuestEvent) -> usize {
    EVENT_BYTES + event.topic.len() + event.payload.len()
}

#[cfg(test)]
mod tests;
