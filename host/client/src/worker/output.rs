//! What a handler returns.

use std::error::Error;
use std::fmt::{self, Display, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

/// Longest reason that is sent, in characters. The queue keeps the first 1,024 bytes.
const MAX_REASON_CHARS: usize = 2_000;

/// What a handler returns for a task that is done. `()` is one without a result.
#[derive(Clone, Debug, Default)]
pub struct TaskOutput {
    pub(super) result: Option<Box<RawValue>>,
}

impl TaskOutput {
    /// A result as JSON, at most 64 KiB. It is kept for `task` and `wait_for`.
    ///
    /// # Errors
    /// The value has no form in JSON.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        let result = serde_json::value::to_raw_value(value)?;
        Ok(Self {
            result: Some(result),
        })
    }
}

impl From<()> for TaskOutput {
    fn from((): ()) -> Self {
        Self::default()
    }
}

/// Why a handler failed. The operator `?` makes one of any error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFailure {
    pub(super) reason: String,
    pub(super) delay: Option<Duration>,
    pub(super) is_final: bool,
}

impl TaskFailure {
    /// A failure with a reason. The task is tried again as its retry policy says.
    pub fn new(reason: impl Display) -> Self {
        let mut reason = reason.to_string();
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON_CHARS) {
            reason.truncate(end);
        }
        Self {
            reason,
            delay: None,
            is_final: false,
        }
    }

    /// Tries the task again after this time.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Makes the task dead, whatever attempts are left.
    #[must_use]
    pub fn dead(mut self) -> Self {
        self.is_final = true;
        self
    }
}

impl Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl<E: Error> From<E> for TaskFailure {
    /// The error and its sources, in one line.
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        Self::new(text)
    }
}
