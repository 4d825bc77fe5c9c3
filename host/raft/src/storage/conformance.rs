//! What every store must do, as checks that any [`LogStore`] and [`SnapshotStore`] can be put through.
//!
//! For whoever writes a store: call these from a test. They panic and say what was expected.

mod log;
mod random;
mod snapshots;

use super::{LogStore, SnapshotStore};

/// Puts a log store through its contract.
///
/// `open` opens the same store each time it is called, like a node that starts again; it is called only after
/// the one from before was dropped. The first time the store must be empty.
///
/// # Panics
/// Where the store breaks the contract.
pub(super) fn check_log_store(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    log::check(open);
    random::check(open);
}

/// Puts a snapshot store through its contract; `open` as in [`check_log_store`].
///
/// # Panics
/// Where the store breaks the contract.
pub(super) fn check_snapshot_store(open: &mut dyn FnMut() -> Box<dyn SnapshotStore>) {
    snapshots::check(open);
}
