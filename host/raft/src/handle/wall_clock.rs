//! The wall clock of a node.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the current time in milliseconds since 1970.
pub(super) type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The clock of the machine; 0 if it is set before 1970.
pub(super) fn of_the_machine() -> WallClock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    })
}
