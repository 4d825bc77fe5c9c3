//! Upgrades of the guest, on this node: requests of clients, and the node's part in the upgrade protocol.
//!
//! `oarlock_wasm` replicates the upgrade itself: its module `upgrade` describes the steps. This module contains the parts
//! that are not replicated.
//!
//! | module | what it does |
//! |---|---|
//! | [`request`] | one client's request: checks the module, sends it through the log, waits for the end |
//! | [`check_queue`] | uploaded modules that wait for their check |
//! | [`coordinator`] | proposes this node's report, and on the leader the decision to activate or abort |
//! | [`signature`] | whether this node accepts a module by its signature |
//! | [`succession`] | whether a module may take over the state of the active one, by name, version and layout |
//! | [`watch`] | the upgrade in progress and past upgrades, with notification of changes |

mod check_queue;
mod coordinator;
mod request;
mod signature;
mod succession;
mod watch;

pub(crate) use check_queue::CheckQueue;
pub(crate) use coordinator::run;
pub(crate) use request::{Upgrade, UpgradeError, UpgradeRequestOptions, load_module};
pub(crate) use signature::check as check_signature;
pub(crate) use succession::{SuccessionError, check as check_succession};
pub(crate) use watch::UpgradeWatch;

/// Runs the preparation of a new module on a thread of its own, while other entries are applied.
///
/// # Errors
/// The operating system can't start a thread.
pub(crate) fn spawn_preparation(work: oarlock_wasm::PreparationTask) -> std::io::Result<()> {
    let thread = std::thread::Builder::new()
        .name("oarlock-upgrade".to_owned())
        .stack_size(oarlock_wasm::THREAD_STACK_BYTES);
    thread.spawn(work).map(drop)
}
