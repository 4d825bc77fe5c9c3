//! One task.

use std::collections::VecDeque;

use oarlock_guest::JsonText;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_ERROR_BYTES, MAX_ERRORS};
use crate::messages::Stage;

/// A task, until it is acknowledged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Index of its queue in `Queues::lanes`.
    pub(crate) lane: u32,
    pub(crate) priority: i64,
    /// Deliveries so far.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) place: Place,
    /// The last delivery while its token is valid: until the next delivery, also after the lease expired.
    pub(crate) delivery: Option<Delivery>,
    pub(crate) dedupe_key: Option<String>,
    pub(crate) errors: VecDeque<String>,
    pub(crate) payload: JsonText,
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
}

impl Place {
    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Ready => Stage::Ready,
            Self::Delayed(_) => Stage::Delayed,
            Self::Leased(_) => Stage::Leased,
            Self::Dead => Stage::Dead,
        }
    }
}

/// A delivery to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// Makes the token hard to guess.
    pub(crate) nonce: u64,
    pub(crate) worker: String,
}

impl Task {
    /// The token of the last delivery, if it is valid. The attempt in it makes the tokens of one task differ even if two
    /// nonces are equal.
    pub(crate) fn token(&self) -> Option<String> {
        let delivery = self.delivery.as_ref()?;
        Some(format!("{}-{:016x}", self.attempt, delivery.nonce))
    }

    /// Whether the current attempt is the last one.
    pub(crate) fn is_spent(&self) -> bool {
        self.attempt >= self.max_attempts
    }

    /// Adds an error, cut to its limit. Drops the oldest one if there are too many.
    pub(crate) fn add_error(&mut self, error: &str) {
        if self.errors.len() == MAX_ERRORS {
            self.errors.pop_front();
        }
        let end = error.floor_char_boundary(MAX_ERROR_BYTES);
        self.errors.push_back(error[..end].to_owned());
    }
}
