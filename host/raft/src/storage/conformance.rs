//! The contract of a store, as checks for any [`LogStore`] and [`SnapshotStore`]. A check that fails panics with what was
//! expected.

mod log;
mod random;
mod snapshots;

use super::{LogStore, SnapshotStore};

/// Checks the contract of a log store.
///
/// `open` opens the same store at each call, like a node that restarts. It is called only after the previous store was
/// dropped. At the first call the store must be empty.
///
/// # Panics
/// The store breaks the contract.
pub(super) fn check_log_store(open: &mut dyn FnMut() -> Box<dyn LogStore>) {
    log::check(open);
    random::check(open);
}

/// Checks the contract of a snapshot store; `open` is as in [`check_log_store`].
///
/// # Panics
/// The store breaks the contract.
pub(super) fn check_snapshot_store(open: &mut dyn FnMut() -> Box<dyn SnapshotStore>) {
    snapshots::check(open);
}
