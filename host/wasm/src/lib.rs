//! Runs a WebAssembly component as the replicated state machine of Oarlock.
//!
//! [`GuestEngine`] compiles; [`GuestModule`] is a checked guest; [`WasmMachine`] runs a guest as a
//! [`ReplicatedStateMachine`](task_queue_raft::state_machine::ReplicatedStateMachine). The log contains commands as
//! [`Envelope`]s.
//!
//! The modules are layers. A module uses only modules below it:
//!
//! ```text
//! duties     what a node does besides: its part in audits and upgrades, and what it concludes from them; pure
//! machine    WasmMachine: executes entries; idempotency keys, deferred commands, state hash, audit, queries, snapshots
//! upgrade    switching to another module: protocol, preparation, replicated state
//! rollback   a guest that is rolled back after a failed call: journal, checkpoints, memory image, query replicas
//! failure    why a machine stops
//! settings   replicated settings: what decides outcomes besides the guest
//! guest      one guest: engine, checks, module, instance, functions of the host, WASI, limits. Independent of the log
//! images     memory images
//! records    what log and snapshots contain: envelope, outcomes, upgrade and audit records, digests, frames, chunks
//! ```
//!
//! Invariants:
//! - Nothing that a guest observes or that a client receives depends on this node: no clock, no random numbers, no address.
//! - A failed command changes nothing, and its outcome contains the kind of failure ([`GuestFailure`]).
//! - Bytes from a guest, from the log and from a snapshot are not trusted: each has a limit and a typed error.
//! - `unsafe` is allowed only in `images/map.rs` and `guest/compiled.rs`, which explain why it is sound.

#![deny(unsafe_code)]

mod duties;
mod failure;
mod guest;
mod images;
mod machine;
mod records;
mod rollback;
mod settings;
#[cfg(test)]
mod testing;
mod upgrade;

pub use duties::audit::{AuditDuties, AuditSituation};
pub use duties::findings::{Findings, StateFindings};
pub use duties::quarantine::{Quarantine, QuarantineState};
pub use duties::retry::{Backoff, RETRY_PAUSE};
pub use duties::upgrade::{UpgradeSituation, UpgradeStep};
pub use duties::verdict::AuditVerdict;
pub use failure::MachineFailure;
pub use guest::check::{CheckError, CheckReason};
pub use guest::compiled::CompiledStore;
pub use guest::effects::{Completion, Effects, GuestEvent};
pub use guest::engine::{EngineError, GuestEngine, THREAD_STACK_BYTES};
pub use guest::guest_log::is_unprintable;
pub use guest::limits::{LimitsError, MachineLimits};
pub use guest::metering::COST_TABLE;
pub use guest::module::{Description, GuestModule};
pub use guest::module_check::ModuleCheck;
pub use guest::semantics::GuestSemantics;
pub use guest::shape::ShapeFault;
pub use images::RollbackMethod;
pub use machine::audit::Audit;
pub use machine::decisions::EntryDecision;
pub use machine::operations::{OperationEnd, PastOperation};
pub use machine::status::{
    MachineCounters, MachineStatus, QueryStatus, StatusHandle, UpgradeSummary,
};
pub use machine::{EffectsListener, WasmMachine};
pub use records::audit::{AuditRecord, StateAcceptance};
pub use records::caller::{GuestCaller, GuestCallerError};
pub use records::digest::Sha256;
pub use records::envelope::{Envelope, EnvelopeError, MAX_KEY_BYTES};
pub use records::failure::GuestFailure;
pub use records::memory::MemoryRecord;
pub use records::operation::OperationRecord;
pub use records::outcome::{CommandOutcome, GuestQueryError, UpgradeOutcome, UpgradeRefusal};
pub use records::query::{MachineQuery, QueryClass, QueryCost};
pub use records::settings::SettingsChange;
pub use records::settings_outcome::{SettingsOutcome, SettingsRefusal};
pub use records::signature::{MAX_SIGNATURE_BYTES, UpgradeSignature};
pub use records::snapshot_error::MachineSnapshotError;
pub use records::upgrade::{
    AbortCause, CheckResult, MigrationRoute, UpgradeBegin, UpgradeEnd, UpgradeRecord,
};
pub use rollback::query_pool::QueryThreads;
pub use settings::{ReplicatedSettings, SettingDifference, SettingsFault};
pub use upgrade::prepare::{PreparationSpawner, PreparationTask};
pub use upgrade::state::{PastUpgrade, UpgradeStatus};
