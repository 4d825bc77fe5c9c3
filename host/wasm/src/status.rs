//! What a machine says of itself to other threads.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::audit::Audit;
use crate::images::RollbackMethod;
use crate::module::{GuestModule, Sha256};
use crate::readers::QueryCounts;
use crate::upgrade::state::{History, PendingUpgrade};
use crate::upgrade::{CheckResult, PastUpgrade, UpgradeStatus};

/// A machine after the last entry that it applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineStatus {
    /// The guest's name for itself.
    pub name: String,
    /// The guest's version of itself.
    pub version: u32,
    /// Digest of the module.
    pub sha256: Sha256,
    /// How it comes back after a call that failed.
    pub rollback_method: RollbackMethod,
    /// What changes with each entry.
    pub counts: MachineCounters,
    /// Of questions.
    pub queries: QueryStatus,
}

/// The part of a status that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineCounters {
    /// The last entry that was applied.
    pub applied: Moment,
    /// The running hash over everything applied so far; displayed in hexadecimal. Equal on all nodes at an index.
    pub state_hash: Sha256,
    /// Events that the guest published since the beginning of the log. Equal on all nodes.
    pub events: u64,
    /// Commands and wake-ups at which the guest failed, since the beginning of the log. Equal on all nodes.
    pub failures: u64,
    /// Idempotency keys that are remembered.
    pub keys: u64,
    /// Deferred commands without an answer.
    pub deferred: u64,
    /// When the guest wants to be woken, in milliseconds of replicated time; 0: never. The leader then proposes
    /// [`Envelope::wake`](crate::Envelope::wake).
    pub wake_at_ms: u64,
    /// Linear memory of the guest on this node, in bytes; 0 while it is rebuilt.
    pub memory_bytes: u64,
    /// How often this node built a state again after a failure.
    pub rollbacks: u64,
    /// How long the last of these took, in microseconds; 0: there was none.
    pub last_rollback_us: u64,
}

/// What a machine knows of upgrades.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpgradeSummary {
    /// Rises with each change.
    pub revision: u64,
    /// The one under way.
    pub pending: Option<UpgradeStatus>,
    /// What this node found when it tried a module out, and for which upgrade. It is said in the log by a report.
    own: Option<(Index, CheckResult)>,
    /// Those that have ended, the latest last.
    pub past: Vec<PastUpgrade>,
    /// The module that the log began with, once a node has said so.
    pub first: Option<Sha256>,
}

impl UpgradeSummary {
    /// What this node found when it tried out the module of the upgrade under way.
    #[must_use]
    pub fn own_check(&self) -> Option<&CheckResult> {
        let upgrade = self.pending.as_ref()?.upgrade;
        let (found_for, verdict) = self.own.as_ref()?;
        (*found_for == upgrade).then_some(verdict)
    }

    /// The latest upgrade that ended with another module, if that was the one with this digest.
    #[must_use]
    pub fn activated(&self, sha256: Sha256) -> Option<&PastUpgrade> {
        let mut activated = self.past.iter().rev();
        activated
            .find(|past| past.module.is_some())
            .filter(|past| past.sha256 == sha256)
    }
}

/// Questions that are answered beside apply, on this node since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStatus {
    /// Those that wait for a copy of the guest.
    pub waiting: u64,
    /// Those that were answered, in whichever way.
    pub completed: u64,
    /// Those that were refused because too many waited.
    pub overloaded: u64,
}

type StatusListener = Box<dyn Fn() + Send + Sync>;

/// Reads the status of a machine that runs on another thread. Cheap to clone; the locks behind it are only held to copy
/// a little, so neither side ever waits for a guest.
#[derive(Clone)]
pub struct StatusHandle {
    shared: Arc<StatusShared>,
}

struct StatusShared {
    module: Mutex<GuestModule>,
    counts: Mutex<MachineCounters>,
    upgrades: Mutex<UpgradeSummary>,
    audit: Mutex<Audit>,
    listener: OnceLock<StatusListener>,
    queries: Arc<QueryCounts>,
}

impl fmt::Debug for StatusHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusHandle")
            .field("status", &self.get())
            .finish_non_exhaustive()
    }
}

impl StatusHandle {
    pub(crate) fn new(module: GuestModule) -> Self {
        Self {
            shared: Arc::new(StatusShared {
                module: Mutex::new(module),
                counts: Mutex::default(),
                upgrades: Mutex::default(),
                audit: Mutex::default(),
                listener: OnceLock::new(),
                queries: Arc::default(),
            }),
        }
    }

    /// The status now.
    #[must_use]
    pub fn get(&self) -> MachineStatus {
        // Module first: one that is new goes with counts that are at least as new.
        let module = self.module();
        let description = module.description();
        MachineStatus {
            name: description.name.clone(),
            version: description.version,
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

    fn queries(&self) -> QueryStatus {
        let counts = &self.shared.queries;
        QueryStatus {
            waiting: counts.waiting.load(Ordering::Relaxed),
            completed: counts.answered.load(Ordering::Relaxed),
            overloaded: counts.overloaded.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn query_counts(&self) -> Arc<QueryCounts> {
        Arc::clone(&self.shared.queries)
    }

    /// What is known of upgrades.
    #[must_use]
    pub fn upgrades(&self) -> UpgradeSummary {
        lock(&self.shared.upgrades).clone()
    }

    /// What nodes said of their hashes.
    #[must_use]
    pub fn audit(&self) -> Audit {
        lock(&self.shared.audit).clone()
    }

    /// Has `listener` called after each change of [`Self::upgrades`] and of [`Self::audit`], on the thread that applies or on one that tries a
    /// module out. There is one listener: a second one is not taken.
    pub fn on_upgrade(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.shared.listener.set(Box::new(listener));
    }

    pub(crate) fn set(&self, counts: MachineCounters) {
        *lock(&self.shared.counts) = counts;
    }

    pub(crate) fn set_module(&self, module: GuestModule) {
        *lock(&self.shared.module) = module;
    }

    /// What an entry or a snapshot has left.
    pub(crate) fn set_upgrades(&self, history: &History, pending: Option<&PendingUpgrade>) {
        self.change(|upgrades| {
            upgrades.pending = pending.map(PendingUpgrade::status);
            upgrades.past = history.past().cloned().collect();
            upgrades.first = history.first;
        });
    }

    /// What this node thinks of the module of an upgrade. It may be known before the entry that staged it is through.
    pub(crate) fn set_own_check(&self, upgrade: Index, result: CheckResult) {
        self.change(|upgrades| upgrades.own = Some((upgrade, result)));
    }

    /// What an entry or a snapshot has left of the audit. Most entries leave it as it was.
    pub(crate) fn set_audit(&self, audit: &Audit) {
        {
            let mut known = lock(&self.shared.audit);
            if *known == *audit {
                return;
            }
            known.clone_from(audit);
        }
        self.tell();
    }

    fn change(&self, change: impl FnOnce(&mut UpgradeSummary)) {
        {
            let mut upgrades = lock(&self.shared.upgrades);
            change(&mut upgrades);
            upgrades.revision += 1;
        }
        self.tell();
    }

    fn tell(&self) {
        if let Some(listener) = self.shared.listener.get() {
            listener();
        }
    }
}

/// A thread that panicked under one of these locks left whole values, which are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
