//! Why snapshots could not be taken.

use std::sync::Arc;

/// The snapshots that could not be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotFailures {
    /// How many, since the start.
    pub count: u64,
    /// Why the last one failed. Empty if none has.
    pub reason: Arc<str>,
}
