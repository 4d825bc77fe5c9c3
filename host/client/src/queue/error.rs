//! Errors of the queue's client.

use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use crate::error::{ApplyError, QueryError, RequestError};

/// The queue's refusal of a command or query. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct QueueRefusal {
    /// The code for programs, for example `stale_token` or `full`.
    pub code: String,
    /// The message for people.
    #[serde(default)]
    pub message: String,
    /// Path of the field that is wrong, if there is one.
    #[serde(default)]
    pub field: Option<String>,
}

impl fmt::Display for QueueRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// The body of a refusal.
#[derive(Debug, Deserialize)]
pub(super) struct RefusalBody {
    pub(super) error: QueueRefusal,
}

/// Why a call to the queue has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The queue refused the command or query. Nothing changed.
    #[error("the queue refused: {0}")]
    Refused(QueueRefusal),
    /// The command has no reply. Each variant states whether it was applied.
    #[error(transparent)]
    Apply(ApplyError),
    /// The query has no response.
    #[error(transparent)]
    Query(QueryError),
    /// Another request has no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A message can't be encoded. Nothing was sent.
    #[error("a message can't be written as JSON: {0}")]
    Encode(String),
    /// A message is not one of the task queue, so the state machine is another one. A command was applied.
    #[error("the state machine did not respond like the task queue: {0}")]
    Decode(String),
    /// The state machine is not the task queue of version 2 or later. Nothing was sent to it.
    #[error("{0}")]
    NotAQueue(String),
}

impl QueueError {
    /// The code of the refusal, if the queue refused.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// Whether the delivery is over: the token is stale, or the task was removed. The worker drops the task.
    #[must_use]
    pub fn is_lost_delivery(&self) -> bool {
        matches!(self.code(), Some("stale_token" | "no_such_task"))
    }

    /// Whether no node has an outcome: no leader, no connection, too many requests or no response in time. The same
    /// command with the same idempotency key may succeed later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Apply(ApplyError::OutcomeUnknown { .. }) => true,
            Self::Apply(ApplyError::NotApplied(error))
            | Self::Query(QueryError::Request(error))
            | Self::Request(error) => {
                error.is_unavailable() || matches!(error, RequestError::Overloaded { .. })
            }
            _ => false,
        }
    }
}

/// The error of a refused message, in the form of the SDK's refusals.
pub(super) fn refused(body: &[u8]) -> QueueError {
    match serde_json::from_slice::<RefusalBody>(body) {
        Ok(refusal) => QueueError::Refused(refusal.error),
        Err(_) => QueueError::Decode(format!(
            "its refusal has another form: {}",
            String::from_utf8_lossy(body)
                .chars()
                .take(200)
                .collect::<String>()
        )),
    }
}
