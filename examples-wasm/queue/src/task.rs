//! One task.

use std::collections::VecDeque;

use oarlock_guest::JsonText;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_ERROR_BYTES, MAX_ERRORS};
use crate::messages::Stage;

/// A task, from when it is added until it is acknowledged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Number of its queue.
    pub(crate) lane: u32,
    pub(crate) priority: i64,
    /// Deliveries so far.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) place: Place,
    /// The last delivery, while its token works: also after the lease ran out, until the next one.
    pub(crate) delivery: Option<Delivery>,
    pub(crate) dedupe_key: Option<String>,
    pub(crate) errors: VecDeque<String>,
    pub(crate) payload: JsonText,
}

/// Where a task is, and so which index of its queue holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    Ready,
    /// Until this time.
    Delayed(u64),
    /// Until this time.
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

/// A task being with a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// What makes the token one that nobody can guess.
    pub(crate) nonce: u64,
    pub(crate) worker: String,
}

impl Task {
    /// The token of the last delivery, while it works. The attempt in it tells deliveries of a task apart
    /// whatever the nonce is.
    pub(crate) fn token(&self) -> Option<String> {
        let delivery = self.delivery.as_ref()?;
        Some(format!("{}-{:016x}", self.attempt, delivery.nonce))
    }

    /// Whether the attempt that ends now was the last.
    pub(crate) fn is_spent(&self) -> bool {
        self.attempt >= self.max_attempts
    }

    /// Remembers an error, cut to its limit, and forgets the oldest beyond theirs.
    pub(crate) fn remember(&mut self, error: &str) {
        if self.errors.len() == MAX_ERRORS {
            self.errors.pop_front();
        }
        let end = error.floor_char_boundary(MAX_ERROR_BYTES);
        self.errors.push_back(error[..end].to_owned());
    }
}
