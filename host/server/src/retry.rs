//! How long the background tasks of a node wait before they retry.

use std::time::Duration;

/// Pause after a proposal or a request of a background task was rejected or timed out. Short compared with an election
/// timeout, so that a task continues soon after a new leader is elected.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(200);
