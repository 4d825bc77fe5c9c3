//! One task.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_ERROR_BYTES, MAX_ERRORS};
use crate::messages::{Failure, Stage};
use crate::payload::Payload;
use crate::retry::Retry;

/// A task, until it is acknowledged or removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Index of its queue.
    pub(crate) queue: u32,
    /// Number of its fairness key in the queue; 0 for none.
    pub(crate) key: u32,
    pub(crate) priority: i64,
    /// Deliveries so far.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) place: PackedPlace,
    /// When it was added: replicated time, in milliseconds.
    pub(crate) enqueued_ms: u64,
    /// The last delivery while its token is valid: until the next delivery, also after the lease expired.
    pub(crate) delivery: Option<Box<Delivery>>,
    pub(crate) payload: Payload,
    /// What few tasks have.
    pub(crate) extra: Option<Box<Extra>>,
}

/// Fields that few tasks have. They cost memory only where one of them is used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extra {
    pub(crate) content_type: Option<Box<str>>,
    pub(crate) attributes: Vec<(Box<str>, Box<str>)>,
    pub(crate) retry: Option<Retry>,
    /// When it expires if it is not delivered, in milliseconds; 0 for never.
    pub(crate) expires_ms: u64,
    /// When its delay is over, in milliseconds, while it waits for another task.
    pub(crate) not_before_ms: u64,
    pub(crate) dedupe_key: Option<Box<str>>,
    /// Whether the deduplication key ends at a fixed time, whatever becomes of the task.
    pub(crate) dedupe_is_timed: bool,
    pub(crate) ordering_key: Option<Box<str>>,
    pub(crate) group: Option<Box<str>>,
    /// Tasks it waits for that are not done.
    pub(crate) waits_for: Vec<u64>,
    /// Whether it was cancelled while a worker held it.
    pub(crate) is_cancelled: bool,
    /// Failed attempts, oldest first.
    pub(crate) failures: VecDeque<Failure>,
    /// The queue in which it died, if it was moved to a dead-letter queue.
    pub(crate) died_in: Option<Box<str>>,
}

/// State of a task. It decides which index of the queue contains the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    Ready,
    /// Until this replicated time, in milliseconds.
    Delayed(u64),
    /// Until this replicated time, in milliseconds.
    Leased(u64),
    Dead,
    /// Until the task before it with the same ordering key, or the tasks that it waits for, are done.
    Waiting,
}

/// A place in half the memory. Encoded as a [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Place", into = "Place")]
pub(crate) struct PackedPlace(u64);

/// Bits of a packed place that tell which one it is. The others are the time: enough for 73 million years.
const KIND_BITS: u32 = 3;

impl From<Place> for PackedPlace {
    fn from(place: Place) -> Self {
        let (kind, until_ms) = match place {
            Place::Ready => (0, 0),
            Place::Delayed(until_ms) => (1, until_ms),
            Place::Leased(until_ms) => (2, until_ms),
            Place::Dead => (3, 0),
            Place::Waiting => (4, 0),
        };
        Self(until_ms.min(u64::MAX >> KIND_BITS) << KIND_BITS | kind)
    }
}

impl From<PackedPlace> for Place {
    fn from(packed: PackedPlace) -> Self {
        packed.get()
    }
}

impl PackedPlace {
    pub(crate) fn get(self) -> Place {
        let until_ms = self.0 >> KIND_BITS;
        match self.0 & ((1 << KIND_BITS) - 1) {
            0 => Place::Ready,
            1 => Place::Delayed(until_ms),
            2 => Place::Leased(until_ms),
            3 => Place::Dead,
            _ => Place::Waiting,
        }
    }
}

impl Place {
    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Ready => Stage::Ready,
            Self::Delayed(_) => Stage::Delayed,
            Self::Leased(_) => Stage::Leased,
            Self::Dead => Stage::Dead,
            Self::Waiting => Stage::Waiting,
        }
    }

    pub(crate) fn is_leased(self) -> bool {
        matches!(self, Self::Leased(_))
    }
}

/// A delivery to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// Makes the token hard to guess.
    pub(crate) nonce: u64,
    /// Number of the worker.
    pub(crate) worker: u32,
    /// How often its lease was extended.
    pub(crate) extended: u32,
    /// When it was delivered, in milliseconds.
    pub(crate) since_ms: u64,
}

impl Task {
    /// The token of the last delivery, if it is valid. The attempt in it makes the tokens of one task differ even if two
    /// nonces are equal.
    pub(crate) fn token(&self) -> Option<String> {
        let delivery = self.delivery.as_ref()?;
        Some(format!("{}-{:016x}", self.attempt, delivery.nonce))
    }

    /// Whether a token is that of the last delivery. Compares without building the text.
    pub(crate) fn has_token(&self, token: &str) -> bool {
        let Some((attempt, nonce)) = token.split_once('-') else {
            return false;
        };
        let parsed = u64::from_str_radix(nonce, 16);
        let is_canonical = nonce.len() == 16
            && nonce
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_canonical
            && self
                .delivery
                .as_ref()
                .is_some_and(|delivery| Ok(delivery.nonce) == parsed)
            && attempt.parse() == Ok(self.attempt)
            && !attempt.starts_with(['+', '0'])
    }

    pub(crate) fn place(&self) -> Place {
        self.place.get()
    }

    /// Number of the worker of the last delivery while its token is valid.
    pub(crate) fn worker(&self) -> Option<u32> {
        self.delivery.as_ref().map(|delivery| delivery.worker)
    }

    /// Whether the current attempt is the last one.
    pub(crate) fn is_spent(&self) -> bool {
        self.attempt >= self.max_attempts
    }

    /// Time since it was added, in milliseconds; 0 if version 1 of the state added it, which did not record the time.
    pub(crate) fn age_ms(&self, now_ms: u64) -> u64 {
        if self.enqueued_ms == 0 {
            0
        } else {
            now_ms.saturating_sub(self.enqueued_ms)
        }
    }

    pub(crate) fn extra(&self) -> Option<&Extra> {
        self.extra.as_deref()
    }

    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.extra().is_some_and(|extra| extra.is_cancelled)
    }

    pub(crate) fn ordering_key(&self) -> Option<&str> {
        self.extra().and_then(|extra| extra.ordering_key.as_deref())
    }

    /// When it expires, in milliseconds; 0 for never.
    pub(crate) fn expires_ms(&self) -> u64 {
        self.extra().map_or(0, |extra| extra.expires_ms)
    }

    /// When its timer fires, in milliseconds. Each task has at most one.
    pub(crate) fn timer(&self) -> Option<u64> {
        let expires_ms = self.expires_ms();
        let expiry = (expires_ms != 0).then_some(expires_ms);
        match self.place() {
            Place::Leased(until_ms) => Some(until_ms),
            Place::Delayed(until_ms) => {
                Some(expiry.map_or(until_ms, |expiry| expiry.min(until_ms)))
            }
            Place::Ready | Place::Waiting => expiry,
            Place::Dead => None,
        }
    }

    /// Adds a failure, its error cut to the limit. Drops the oldest one if there are too many.
    pub(crate) fn add_failure(&mut self, at_ms: u64, worker: &str, error: &str) {
        let attempt = self.attempt;
        let failures = &mut self.extra_mut().failures;
        if failures.len() == MAX_ERRORS {
            failures.pop_front();
        }
        let end = error.floor_char_boundary(MAX_ERROR_BYTES);
        failures.push_back(Failure {
            attempt,
            at_ms,
            worker: worker.to_owned(),
            error: error[..end].to_owned(),
        });
    }
}
