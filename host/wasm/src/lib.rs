//! A WebAssembly component as the replicated state machine of Oarlock.
//!
//! The way in: [`GuestEngine`] compiles, [`GuestModule`] is a guest that was checked, [`WasmMachine`] is one that
//! runs as a [`StateMachine`](task_queue_raft::state_machine::StateMachine). Commands travel in an [`Envelope`].
//!
//! What holds everywhere here:
//! - nothing that a guest sees or that a client gets depends on this node: no clock, no randomness, no address;
//! - a command that fails changes nothing, and says how it failed ([`GuestFailure`]);
//! - bytes from a guest, from the log and from a snapshot are not trusted: each has a limit and a typed refusal;
//! - the only `unsafe` is in `images/map.rs` and `compiled.rs`, which say why it is sound.

// A panic ends the process of the caller; return an error, or write in `unreachable!` why it cannot happen.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]
#![deny(unsafe_code)]

mod audit;
mod bindings;
mod check;
mod chunks;
mod compiled;
mod deferred;
mod engine;
mod entry;
mod envelope;
mod failure;
mod guest_log;
mod hash;
mod host;
mod images;
mod instance;
mod keys;
mod limits;
mod machine;
mod module;
mod outcome;
mod random;
mod readers;
mod recover;
mod snapshot;
mod status;
#[cfg(test)]
mod testing;
mod upgrade;
mod wasi;
mod wire;

pub use audit::{Audit, AuditRecord};
pub use check::{CheckError, CheckReason};
pub use compiled::CompiledStore;
pub use engine::{EngineError, GuestEngine, THREAD_STACK_BYTES};
pub use envelope::{Envelope, EnvelopeError, MAX_KEY_BYTES};
pub use failure::GuestFailure;
pub use host::{Completion, Effects, GuestEvent};
pub use images::RollbackMethod;
pub use limits::{LimitsError, MachineLimits};
pub use machine::{EffectsListener, MachineFailure, WasmMachine};
pub use module::{Description, GuestModule, Sha256};
pub use outcome::{CommandOutcome, GuestQueryError};
pub use snapshot::MachineSnapshotError;
pub use status::{MachineCounters, MachineStatus, QueryStatus, StatusHandle, UpgradeSummary};
pub use upgrade::{
    AbortCause, CheckResult, MigrationRoute, PastUpgrade, PreparationSpawner, PreparationTask,
    UpgradeBegin, UpgradeEnd, UpgradeOutcome, UpgradeRecord, UpgradeRefusal, UpgradeStatus,
};
