//! The status of a machine, for other threads.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::images::RollbackMethod;
use crate::machine::audit::{Audit, Audits};
use crate::machine::operations::{Operations, PastOperation};
use crate::records::digest::Sha256;
use crate::records::upgrade::CheckResult;
use crate::rollback::query_pool::QueryCounts;
use crate::settings::ReplicatedSettings;
use crate::upgrade::state::{PastUpgrade, UpgradeStatus};
use crate::upgrade::state::{PendingUpgrade, UpgradeState};

/// Most modules whose names are known; further ones are not noted.
const MAX_KNOWN_MODULES: usize = 256;

/// The status after the last applied entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// The guest's name, from its description.
    pub name: String,
    /// The guest's version, from its description.
    pub version: u32,
    /// Fingerprint of the layout of the guest's state; `None` if the guest does not tell it.
    pub layout: Option<String>,
    /// Digest of the module.
    pub sha256: Sha256,
    /// How the guest is rolled back after a failed call.
    pub rollback_method: RollbackMethod,
    /// Values that change with each entry.
    pub counts: MachineCounters,
    /// Queries on other threads.
    pub queries: QueryStatus,
}

/// The part of a status that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineCounters {
    /// The last applied entry.
    pub applied: Moment,
    /// The running hash over everything applied so far. Equal on all nodes at the same index.
    pub state_hash: Sha256,
    /// Events published since the beginning of the log. Equal on all nodes.
    pub events: u64,
    /// Failed commands and wake-ups since the beginning of the log. Equal on all nodes.
    pub failures: u64,
    /// Stored idempotency keys.
    pub keys: u64,
    /// Deferred commands without a completion.
    pub deferred: u64,
    /// The lowest token of these commands. While it stays the same, a command waits.
    pub lowest_deferred: Option<u64>,
    /// What operators did since the beginning of the log.
    pub operations: u64,
    /// The wake time that the guest requested, in milliseconds of replicated time; 0: never. The leader then proposes
    /// [`Envelope::wake`](crate::Envelope::wake).
    pub wake_at_ms: u64,
    /// Linear memory of the guest on this node, in bytes; 0 between a failure and the rollback.
    pub memory_bytes: u64,
    /// Limit of that memory, in bytes. Equal on all nodes.
    pub memory_limit_bytes: u64,
    /// A node has reported that the memory of its guest is low, so the guest sees memory pressure. Equal on all nodes.
    pub memory_is_low: bool,
    /// The memory of the guest on this node is low: it reached 80 % of its limit, and has not been below 70 % since. The
    /// node then proposes [`Envelope::memory`](crate::Envelope::memory).
    pub own_memory_is_low: bool,
    /// Rollbacks on this node since its start.
    pub rollbacks: u64,
    /// Duration of the last rollback, in microseconds; 0: there was none.
    pub last_rollback_us: u64,
}

/// Upgrades, as this node has applied them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpgradeSummary {
    /// Incremented with each change.
    pub revision: u64,
    /// The upgrade in progress.
    pub pending: Option<UpgradeStatus>,
    /// The signature of its module, if it has one.
    pub signature: Option<String>,
    /// This node's result of preparing a module, and the upgrade that it belongs to. The node then proposes it as a
    /// report.
    own: Option<(Index, CheckResult)>,
    /// Ended upgrades, the latest last.
    pub past: Vec<PastUpgrade>,
    /// The module that the log began with, once a node has recorded it.
    pub first: Option<Sha256>,
}

impl UpgradeSummary {
    /// This node's result of preparing the module of the upgrade in progress.
    #[must_use]
    pub fn own_check(&self) -> Option<&CheckResult> {
        let upgrade = self.pending.as_ref()?.upgrade;
        let (of, result) = self.own.as_ref()?;
        (*of == upgrade).then_some(result)
    }

    /// The latest activated upgrade, if its module has this digest.
    #[must_use]
    pub fn activated(&self, sha256: Sha256) -> Option<&PastUpgrade> {
        let mut activated = self.past.iter().rev();
        activated
            .find(|past| past.module.is_some())
            .filter(|past| past.sha256 == sha256)
    }
}

/// Queries that run concurrently with apply, on this node since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStatus {
    /// Queries that wait for a thread.
    pub waiting: u64,
    /// Queries that run now.
    pub running: u64,
    /// Queries that have ended, with or without success.
    pub completed: u64,
    /// Queries that were refused because too many were waiting.
    pub overloaded: u64,
    /// Queries that were dropped before they began, because their client had gone.
    pub abandoned_waiting: u64,
    /// Queries that were interrupted, because their client had gone.
    pub abandoned_running: u64,
}

type StatusListener = Box<dyn Fn() + Send + Sync>;

/// Reads the status of a machine on another thread. Cheap to clone. Its locks are held only for short copies, so no
/// thread waits for a guest.
#[derive(Clone)]
pub struct StatusHandle {
    shared: Arc<StatusShared>,
}

struct StatusShared {
    module: Mutex<GuestModule>,
    /// Names and versions of the modules that ran on this node or were ready to. Not replicated.
    known: Mutex<HashMap<Sha256, (String, u32)>>,
    counts: Mutex<MachineCounters>,
    upgrades: Mutex<UpgradeSummary>,
    audit: Mutex<Audit>,
    state_audit: Mutex<Audit>,
    own_state: Mutex<Option<(Index, Sha256)>>,
    low_memory: Mutex<BTreeSet<String>>,
    operations: Mutex<Operations>,
    listener: OnceLock<StatusListener>,
    queries: Arc<QueryCounts>,
    settings: Mutex<Option<ReplicatedSettings>>,
    limits: Mutex<MachineLimits>,
    /// `command_bytes` of the limits, which each request reads.
    command_bytes: AtomicU64,
}

impl fmt::Debug for StatusHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusHandle")
            .field("status", &self.get())
            .finish_non_exhaustive()
    }
}

impl StatusHandle {
    pub(crate) fn new(module: GuestModule, limits: &MachineLimits) -> Self {
        let status = Self {
            shared: Arc::new(StatusShared {
                module: Mutex::new(module.clone()),
                known: Mutex::default(),
                counts: Mutex::default(),
                upgrades: Mutex::default(),
                audit: Mutex::default(),
                state_audit: Mutex::default(),
                own_state: Mutex::default(),
                low_memory: Mutex::default(),
                operations: Mutex::default(),
                listener: OnceLock::new(),
                queries: Arc::default(),
                settings: Mutex::default(),
                limits: Mutex::new(*limits),
                command_bytes: AtomicU64::new(limits.command_bytes),
            }),
        };
        status.note_module(&module);
        status
    }

    /// The status now.
    #[must_use]
    pub fn get(&self) -> MachineStatus {
        // The module is read first, so that a new module comes with counters that are at least as new.
        let module = self.module();
        let description = module.description();
        MachineStatus {
            name: description.name.clone(),
            version: description.version,
            layout: description.layout.clone(),
            sha256: module.sha256(),
            rollback_method: module.rollback_method().clone(),
            counts: *lock(&self.shared.counts),
            queries: self.queries(),
        }
    }

    /// The module that runs.
    #[must_use]
    pub fn module(&self) -> GuestModule {
        lock(&self.shared.module).clone()
    }

    /// Name and version of a module that has run on this node, or was ready to, since the node was started.
    #[must_use]
    pub fn known_module(&self, sha256: Sha256) -> Option<(String, u32)> {
        lock(&self.shared.known).get(&sha256).cloned()
    }

    pub(crate) fn note_module(&self, module: &GuestModule) {
        let mut known = lock(&self.shared.known);
        if known.len() < MAX_KNOWN_MODULES {
            let description = module.description();
            let named = (description.name.clone(), description.version);
            known.insert(module.sha256(), named);
        }
    }

    fn queries(&self) -> QueryStatus {
        let counts = &self.shared.queries;
        QueryStatus {
            waiting: counts.waiting.load(Ordering::Relaxed),
            running: counts.running.load(Ordering::Relaxed),
            completed: counts.completed.load(Ordering::Relaxed),
            overloaded: counts.overloaded.load(Ordering::Relaxed),
            abandoned_waiting: counts.abandoned_waiting.load(Ordering::Relaxed),
            abandoned_running: counts.abandoned_running.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn query_counts(&self) -> Arc<QueryCounts> {
        Arc::clone(&self.shared.queries)
    }

    /// The upgrades.
    #[must_use]
    pub fn upgrades(&self) -> UpgradeSummary {
        lock(&self.shared.upgrades).clone()
    }

    /// The latest audit.
    #[must_use]
    pub fn audit(&self) -> Audit {
        lock(&self.shared.audit).clone()
    }

    /// The settings of the cluster; `None` at cluster level 0, and before this node has applied the entry that sets them.
    #[must_use]
    pub fn settings(&self) -> Option<ReplicatedSettings> {
        lock(&self.shared.settings).clone()
    }

    /// The limits that apply on this node.
    #[must_use]
    pub fn limits(&self) -> MachineLimits {
        *lock(&self.shared.limits)
    }

    /// `command_bytes` of [`Self::limits`].
    #[must_use]
    pub fn command_bytes(&self) -> u64 {
        self.shared.command_bytes.load(Ordering::Relaxed)
    }

    /// The latest audit of the complete state. Its `own` digest is computed concurrently with apply. It is zeros if the guest
    /// writes the same state in different ways, so that digests can't be compared.
    #[must_use]
    pub fn state_audit(&self) -> Audit {
        let mut audit = lock(&self.shared.state_audit).clone();
        let own = *lock(&self.shared.own_state);
        let own = own.filter(|(requested_at, _)| audit.requested_at == Some(*requested_at));
        audit.own = own.map(|(_, digest)| digest);
        audit
    }

    /// The nodes that have reported that the memory of their guest is low. At most 64.
    #[must_use]
    pub fn low_memory(&self) -> BTreeSet<String> {
        lock(&self.shared.low_memory).clone()
    }

    /// What operators did last, oldest first. At most 256.
    #[must_use]
    pub fn operations(&self) -> Vec<PastOperation> {
        lock(&self.shared.operations).kept().cloned().collect()
    }

    /// How many operations the log has had.
    #[must_use]
    pub fn operations_begun(&self) -> u64 {
        lock(&self.shared.operations).begun()
    }

    /// Publishes what operators did, after an entry or a restore. Most entries do not change it.
    pub(crate) fn set_operations(&self, operations: &Operations) {
        let mut published = lock(&self.shared.operations);
        if !published.is_same(operations) {
            published.clone_from(operations);
        }
    }

    /// Sets a listener that is called after each change of [`Self::upgrades`], [`Self::settings`], of the audits, of
    /// [`Self::low_memory`] and of [`MachineCounters::own_memory_is_low`], on the applying thread or on one that prepares a
    /// module or computes a digest. Only the first listener is kept.
    pub fn on_upgrade(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.shared.listener.set(Box::new(listener));
    }

    pub(crate) fn set(&self, counts: MachineCounters) {
        let before = std::mem::replace(&mut *lock(&self.shared.counts), counts);
        if before.own_memory_is_low != counts.own_memory_is_low {
            self.notify();
        }
    }

    /// Publishes the nodes whose memory is low, after an entry or a restore. Most entries do not change them.
    pub(crate) fn set_low_memory(&self, nodes: &BTreeSet<String>) {
        {
            let mut published = lock(&self.shared.low_memory);
            if *published == *nodes {
                return;
            }
            published.clone_from(nodes);
        }
        self.notify();
    }

    pub(crate) fn set_module(&self, module: GuestModule) {
        self.note_module(&module);
        *lock(&self.shared.module) = module;
    }

    /// Publishes the upgrades after an entry or a restore.
    pub(crate) fn set_upgrades(&self, state: &UpgradeState) {
        self.change(|upgrades| {
            upgrades.pending = state.pending.as_ref().map(PendingUpgrade::status);
            upgrades.signature = state.signature().map(str::to_owned);
            upgrades.past = state.history.past().cloned().collect();
            upgrades.first = state.history.first;
        });
    }

    /// Publishes the settings and the limits after an entry or a restore.
    pub(crate) fn set_settings(
        &self,
        settings: Option<&ReplicatedSettings>,
        limits: &MachineLimits,
    ) {
        *lock(&self.shared.limits) = *limits;
        let command_bytes = &self.shared.command_bytes;
        command_bytes.store(limits.command_bytes, Ordering::Relaxed);
        {
            let mut published = lock(&self.shared.settings);
            if published.as_ref() == settings {
                return;
            }
            *published = settings.cloned();
        }
        self.notify();
    }

    /// Publishes this node's result of a preparation. It may come before the entry that staged the module has ended.
    pub(crate) fn set_own_check(&self, upgrade: Index, result: CheckResult) {
        self.change(|upgrades| upgrades.own = Some((upgrade, result)));
    }

    /// Publishes the audits after an entry or a restore. Most entries do not change them.
    pub(crate) fn set_audits(&self, audits: &Audits) {
        let mut has_changed = false;
        for (published, audit) in [
            (&self.shared.audit, &audits.hashes),
            (&self.shared.state_audit, &audits.states),
        ] {
            let mut published = lock(published);
            if *published != *audit {
                published.clone_from(audit);
                has_changed = true;
            }
        }
        if has_changed {
            self.notify();
        }
    }

    /// Publishes the digest of this node's state after the entry of an audit request.
    pub(crate) fn set_own_state(&self, requested_at: Index, digest: Sha256) {
        *lock(&self.shared.own_state) = Some((requested_at, digest));
        self.notify();
    }

    fn change(&self, change: impl FnOnce(&mut UpgradeSummary)) {
        {
            let mut upgrades = lock(&self.shared.upgrades);
            change(&mut upgrades);
            upgrades.revision += 1;
        }
        self.notify();
    }

    fn notify(&self) {
        if let Some(listener) = self.shared.listener.get() {
            listener();
        }
    }
}

/// A panic under one of these locks leaves consistent values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
