//! The replicated state of a machine, besides the guest's own.

use task_queue_raft::state_machine::Moment;

use crate::machine::decisions::AppliedDecisions;
use crate::machine::deferred::DeferredCommands;
use crate::machine::hash::StateHash;
use crate::machine::keys::KeyTable;
use crate::machine::memory::LowMemory;
use crate::machine::operations::Operations;
use crate::records::digest::Sha256;
use crate::settings::ReplicatedSettings;
use crate::upgrade::state::UpgradeState;

/// The replicated state besides the guest's own. A snapshot contains all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicatedState {
    /// The last applied entry.
    pub(crate) applied: Moment,
    pub(crate) hash: StateHash,
    /// The wake time that the guest requested, in milliseconds of replicated time; 0: never.
    pub(crate) wake_at_ms: u64,
    /// Events published since the beginning of the log.
    pub(crate) events: u64,
    /// Failed commands and wake-ups since the beginning of the log.
    pub(crate) failures: u64,
    pub(crate) keys: KeyTable,
    pub(crate) deferred: DeferredCommands,
    pub(crate) upgrades: UpgradeState,
    /// `None` at cluster level 0: the node's own limits apply.
    pub(crate) settings: Option<ReplicatedSettings>,
    pub(crate) memory: LowMemory,
    /// Decisions of an operator that were applied.
    pub(crate) decisions: AppliedDecisions,
    pub(crate) operations: Operations,
}

impl ReplicatedState {
    /// The state before the first entry, for a log that begins with this module.
    pub(crate) fn first(module: Sha256) -> Self {
        Self {
            applied: Moment::default(),
            hash: StateHash::first(module),
            wake_at_ms: 0,
            events: 0,
            failures: 0,
            keys: KeyTable::default(),
            deferred: DeferredCommands::default(),
            upgrades: UpgradeState::default(),
            settings: None,
            memory: LowMemory::default(),
            decisions: AppliedDecisions::default(),
            operations: Operations::default(),
        }
    }
}
