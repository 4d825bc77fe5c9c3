//! The replicated machine: the state machine to which Raft applies entries.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::entry::CommandClass;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{
    ClientWatch, MachineError, Moment, QueryCallback, ReplicatedStateMachine, SnapshotWork,
};

use crate::failure::MachineFailure;
use crate::guest::effects::Effects;
use crate::guest::engine::THREAD_STACK_BYTES;
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::guest::rules::Rules;
use crate::records::digest::Sha256;
use crate::records::envelope::Envelope;
use crate::records::outcome::{CommandOutcome, GuestQueryError};
use crate::records::query::MachineQuery;
use crate::records::snapshot_error::MachineSnapshotError;
use crate::rollback::query_pool::QueryThreads;
use crate::rollback::recoverable::RecoverableGuest;
use crate::settings::ReplicatedSettings;
use crate::upgrade::prepare::PreparationSpawner;
use crate::upgrade::state::PendingUpgrade;
use crate::upgrade::{UpgradeScope, Upgrader};

pub(crate) mod audit;
pub(crate) mod decisions;
pub(crate) mod deferred;
pub(crate) mod entry;
pub(crate) mod hash;
pub(crate) mod host_state;
pub(crate) mod keys;
pub(crate) mod memory;
pub(crate) mod operations;
pub(crate) mod queries;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod state_digest;
pub(crate) mod status;

use audit::Audits;
use decisions::{EntryDecision, OwnDecisions};
use entry::EntryExecutor;
use queries::{QueryDispatcher, query_now};
use snapshot::{MachineSnapshot, ModuleBytes};
use state::ReplicatedState;
use state_digest::StateDigest;
use status::{MachineCounters, StatusHandle};

/// Receives the effects of each entry, on the applying thread, after the entry and before its replies. The number is
/// the count of events published before it since the beginning of the log.
///
/// It is called only for entries with effects, in the order of the log. After a restore it is called with empty effects:
/// the count shows whether it missed events. After a restart the log is applied again from the last
/// snapshot on, so the same effects are delivered again: the entry's index and the position identify an event.
pub type EffectsListener = Box<dyn FnMut(Moment, &Effects, u64) + Send>;

/// A guest as a replicated state machine, with idempotency keys, upgrades and a running hash.
///
/// Commands are [`Envelope`](crate::Envelope)s; replies are [`CommandOutcome`]s.
pub struct WasmMachine {
    guest: RecoverableGuest,
    replicated: ReplicatedState,
    upgrader: Upgrader,
    audits: Audits,
    /// The limits with which the node was started.
    own_limits: MachineLimits,
    /// The limits that apply: the cluster's settings, or the node's own limits at cluster level 0.
    limits: MachineLimits,
    effects: Option<EffectsListener>,
    status: StatusHandle,
    queries: QueryDispatcher,
    /// See [`MachineCounters::own_memory_is_low`].
    own_memory_is_low: bool,
    decisions: OwnDecisions,
    /// The last entry has given deferred commands their replies.
    has_ended_waits: bool,
}

impl WasmMachine {
    /// Creates a machine with the guest in its initial state.
    ///
    /// # Errors
    /// The limits are invalid, or the guest can't be started.
    pub fn new(
        module: GuestModule,
        limits: MachineLimits,
        effects: Option<EffectsListener>,
    ) -> Result<Self, MachineFailure> {
        limits.validate()?;
        let status = StatusHandle::new(module.clone(), &limits);
        let prepared = status.clone();
        let on_prepared = Arc::new(move |upgrade, result, module: Option<&GuestModule>| {
            if let Some(module) = module {
                prepared.note_module(module);
            }
            prepared.set_own_check(upgrade, result);
        });
        let mut machine = Self {
            own_memory_is_low: false,
            has_ended_waits: false,
            replicated: ReplicatedState::first(module.sha256()),
            upgrader: Upgrader::new(&module, &limits, on_prepared),
            audits: Audits::default(),
            status,
            guest: RecoverableGuest::start(module, &limits)?,
            own_limits: limits,
            limits,
            effects,
            queries: QueryDispatcher::default(),
            decisions: OwnDecisions::default(),
        };
        machine.publish();
        Ok(machine)
    }

    /// Runs queries on these threads, concurrently with apply, and writes checkpoints on another thread, if
    /// the guest has a memory image. Outcomes and responses are the same.
    ///
    /// # Errors
    /// The operating system can't start a thread.
    pub fn with_query_threads(mut self, threads: QueryThreads) -> io::Result<Self> {
        if threads.count > 0 {
            self.queries
                .start_threads(threads, self.status.query_counts())?;
            self.guest.checkpoint_on_threads();
        }
        Ok(self)
    }

    /// Prepares the module of an upgrade with this spawner, concurrently with apply, instead of at once. Outcomes are
    /// the same.
    #[must_use]
    pub fn with_preparation_spawner(mut self, spawner: PreparationSpawner) -> Self {
        self.upgrader.set_spawner(spawner);
        self
    }

    /// Uses these loaded modules when an upgrade or a snapshot names them, instead of loading their bytes again. Outcomes
    /// are the same.
    #[must_use]
    pub fn with_known_modules(mut self, known: Vec<GuestModule>) -> Self {
        self.upgrader.set_known(known);
        self
    }

    /// Runs the module of the log, whichever it is. Without this, a machine refuses a snapshot of a log that has not run
    /// the module with which the machine was created, and stops at its own record of that module.
    #[must_use]
    pub fn following_the_log(mut self) -> Self {
        self.upgrader.follow_log();
        self
    }

    /// Follows these decisions of an operator about entries. Before the first entry or snapshot.
    #[must_use]
    pub fn with_decisions(mut self, decisions: Vec<EntryDecision>) -> Self {
        self.decisions = OwnDecisions::new(decisions);
        self
    }

    /// The active module.
    #[must_use]
    pub fn module(&self) -> &GuestModule {
        self.guest.module()
    }

    /// A handle that reads the status from other threads.
    #[must_use]
    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// The running hash over everything applied so far.
    #[must_use]
    pub fn state_hash(&self) -> Sha256 {
        self.replicated.hash.0
    }

    /// Digest of the guest's state, as the guest writes it now. It does not cover how the state was reached, unlike the
    /// hash.
    ///
    /// # Errors
    /// The guest can't write its state.
    pub fn guest_digest(&mut self) -> Result<Sha256, MachineFailure> {
        let chunks = self.guest.snapshot(self.replicated.applied)?;
        let version = self.module().description().version;
        Ok(chunks.digest(version))
    }

    fn apply_entry(
        &mut self,
        at: Moment,
        commands: &[Bytes],
    ) -> Result<Vec<CommandOutcome>, MachineFailure> {
        self.check_order(at)?;
        self.run_by_own_rules(at)?;
        let first = self.replicated.upgrades.history.first;
        let is_skipped = self.follow_decision(at, commands)?;
        let executor = EntryExecutor::new(
            &mut self.guest,
            &mut self.replicated,
            &mut self.upgrader,
            &mut self.audits,
            &mut self.limits,
            at,
        );
        let had_upgrade = executor.has_upgrade();
        let (outcomes, effects) = if is_skipped {
            executor.skip(commands)
        } else {
            executor.run(commands)?
        };
        self.replicated.applied = at;
        let wake_at_ms = self.replicated.wake_at_ms;
        self.replicated
            .hash
            .extend(at, &outcomes, &effects, wake_at_ms);
        self.audits.hashes.settle(at.index, self.replicated.hash.0);
        self.guest.settle(at)?;
        if self.audits.states.requested_at == Some(at.index) {
            self.begin_state_digest();
        }
        self.queries
            .dispatch_if_ready(&mut self.guest, &self.limits);
        // Without an upgrade before or in this entry, the upgrades are published already.
        let is_upgrade = |outcome: &CommandOutcome| matches!(outcome, CommandOutcome::Upgrade(_));
        let has_news = had_upgrade || outcomes.iter().any(is_upgrade);
        if has_news {
            self.status.set_module(self.guest.module().clone());
        }
        self.publish();
        if outcomes.iter().any(is_settings) {
            let settings = self.replicated.settings.as_ref();
            self.status.set_settings(settings, &self.limits);
        }
        self.status.set_audits(&self.audits);
        if has_news {
            self.queries.drop_replicas();
        }
        if has_news || first != self.replicated.upgrades.history.first {
            self.status.set_upgrades(&self.replicated.upgrades);
        }
        self.has_ended_waits = !effects.completions.is_empty();
        if let Some(listener) = &mut self.effects
            && effects != Effects::default()
        {
            let before = self.replicated.events - effects.events.len() as u64;
            listener(at, &effects, before);
        }
        Ok(outcomes)
    }

    /// Follows the decision about an entry, if there is one, before the entry is executed. `true`: it is skipped.
    fn follow_decision(&mut self, at: Moment, commands: &[Bytes]) -> Result<bool, MachineFailure> {
        let Some(decision) = self.decisions.about(at.index, commands)? else {
            return Ok(false);
        };
        let applied = decision.applied();
        if let Some(successor) = &decision.successor {
            let scope = UpgradeScope {
                guest: &mut self.guest,
                state: &mut self.replicated.upgrades,
                at,
            };
            self.upgrader.succeed(successor, scope)?;
            self.status.set_module(self.guest.module().clone());
            self.status.set_upgrades(&self.replicated.upgrades);
            self.queries.drop_replicas();
        }
        self.replicated.decisions.insert(at.index, applied);
        self.replicated.hash.decide(at, &applied);
        tracing::warn!(index = %at.index, successor = ?applied.successor, "following the operator's decision about this entry");
        Ok(applied.successor.is_none())
    }

    /// Adopts level and settings of the entry at `at`. The first settings apply wholly. Later ones are those of an entry
    /// that raises the level: its rules apply, and the limits stay, because an operator may have changed them.
    fn adopt_settings(
        &mut self,
        at: Moment,
        level: u32,
        settings: &[u8],
    ) -> Result<(), MachineFailure> {
        self.check_order(at)?;
        // A proposer without settings leaves every node to its own limits, as at level 0.
        if !settings.is_empty() {
            let adopted = ReplicatedSettings::decode(settings)?;
            let adopted = match &self.replicated.settings {
                Some(now) => now.with_rules_of(&adopted),
                None => adopted,
            };
            self.replicated.settings = Some(self.switch_rules(adopted)?);
        }
        self.replicated.applied = at;
        let rules = self.replicated.settings.as_ref();
        let rules = rules.map(ReplicatedSettings::semantics);
        self.replicated.hash.configure(at, level, settings, rules);
        self.apply_settings();
        self.audits.set_due();
        self.audits.hashes.settle(at.index, self.replicated.hash.0);
        self.guest.settle(at)?;
        self.publish();
        self.status.set_audits(&self.audits);
        Ok(())
    }

    /// Before the cluster has settings, the node's own limits contain the rules. The module may have been loaded for
    /// others, because a new node does not know the level of its cluster.
    fn run_by_own_rules(&mut self, at: Moment) -> Result<(), MachineFailure> {
        let is_settled = self.replicated.settings.is_some();
        if is_settled || self.guest.module().rules() == Rules::of(&self.limits) {
            return Ok(());
        }
        let is_first = self.replicated.applied.index == Index::ZERO;
        let adopted = self.guest.adopt_limits(&self.limits, at, is_first)?;
        adopted.map_err(|message| MachineFailure::Rebuild { message })?;
        self.status.set_module(self.guest.module().clone());
        Ok(())
    }

    /// Has the guest run by the rules of these settings. If it can't, on every node alike, the settings keep the present
    /// rules.
    fn switch_rules(
        &mut self,
        adopted: ReplicatedSettings,
    ) -> Result<ReplicatedSettings, MachineFailure> {
        let before = self.replicated.applied;
        let is_first = before == Moment::default();
        let limits = adopted.limits_on(&self.own_limits);
        let switched = self.guest.adopt_limits(&limits, before, is_first)?;
        self.queries.drop_replicas();
        Ok(match switched {
            Ok(()) => adopted,
            Err(reason) => {
                let semantics = self.limits.semantics;
                tracing::error!(%reason, %semantics, wanted = %adopted.semantics(), "the guest does not run by the new rules of execution, so it keeps the present ones; upgrade it to a module that does, then raise the level again");
                adopted.with_semantics(semantics)
            }
        })
    }

    /// Applies the limits of the settings to all that execute the guest.
    fn apply_settings(&mut self) {
        if let Some(settings) = &self.replicated.settings {
            let limits = settings.limits_on(&self.own_limits);
            self.limits = limits;
            self.guest.set_limits(&limits);
            self.upgrader.set_limits(&limits);
            let time_ms = self.replicated.applied.time_ms;
            self.replicated.keys.apply_limits(time_ms, &limits);
        }
        let settings = self.replicated.settings.as_ref();
        self.status.set_settings(settings, &self.limits);
    }

    fn check_order(&self, at: Moment) -> Result<(), MachineFailure> {
        let applied = self.replicated.applied.index;
        if at.index <= applied {
            return Err(MachineFailure::OutOfOrder {
                found: at.index,
                applied,
            });
        }
        Ok(())
    }

    /// Captures the state for an audit, and computes its digest concurrently with apply. Without a digest, this node sends no
    /// report.
    fn begin_state_digest(&mut self) {
        let at = self.replicated.applied;
        let guest = match self.guest.begin_snapshot(at) {
            Ok(guest) => guest,
            Err(error) => {
                return tracing::warn!(%error, index = %at.index, "the state could not be captured for an audit");
            }
        };
        let digest = StateDigest {
            guest,
            replicated: self.replicated.clone(),
            module: self.guest.module().clone(),
            limits: self.limits,
        };
        let status = self.status.clone();
        let spawned = self.upgrader.spawn(Box::new(move || match digest.compute() {
            Ok(digest) => status.set_own_state(at.index, digest),
            Err(error) => {
                tracing::warn!(%error, index = %at.index, "the digest of the state could not be computed for an audit");
            }
        }));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread could be started for an audit of the state");
        }
    }

    fn capture_snapshot(&mut self) -> Result<SnapshotWork, MachineFailure> {
        self.check_snapshot_allowed()?;
        let guest = self.guest.begin_snapshot(self.replicated.applied)?;
        let module = self.guest.module();
        let version = module.description().version;
        let (module, replicated) = (ModuleBytes::from(module), self.replicated.clone());
        Ok(Box::new(move |to| {
            let guest = guest.write()?;
            Ok(snapshot::write(to, &module, version, &replicated, &guest)?)
        }))
    }

    fn check_snapshot_allowed(&self) -> Result<(), MachineFailure> {
        let pending = self.replicated.upgrades.pending.as_ref();
        if pending.is_some_and(PendingUpgrade::uses_journal) {
            // A node that restored it would lack the calls that the new module has to make.
            return Err(MachineFailure::SnapshotDuringUpgrade);
        }
        Ok(())
    }

    fn write_snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineFailure> {
        self.check_snapshot_allowed()?;
        let guest = self.guest.snapshot(self.replicated.applied)?;
        let module = self.guest.module();
        let version = module.description().version;
        let module = ModuleBytes::from(module);
        snapshot::write(to, &module, version, &self.replicated, &guest)
            .map_err(|error| MachineSnapshotError::Io(error).into())
    }

    fn read_snapshot(&mut self, from: &mut dyn Read) -> Result<(), MachineFailure> {
        // Waiting queries must observe the state before the restore.
        self.queries.dispatch(&mut self.guest, &self.limits);
        let snapshot = snapshot::read(from, self.upgrader.required(), &self.own_limits)?;
        let (sha256, written_by) = (snapshot.module, snapshot.written_by);
        let last = snapshot.replicated.applied.index;
        self.decisions.check(last, &snapshot.replicated.decisions)?;
        self.restore_guest(&snapshot)?;
        self.guest.drop_kept_calls();
        self.replicated = snapshot.replicated;
        self.apply_settings();
        // `snapshot::read` refuses a module that never ran this log, so the log is for this one.
        self.replicated.upgrades.module = Some(sha256);
        let upgrades = &self.replicated.upgrades;
        let applied = self.replicated.applied;
        self.upgrader
            .restored(upgrades, applied, written_by, snapshot.guest);
        self.audits = Audits::restored();
        self.status.set_audits(&self.audits);
        self.publish();
        self.status.set_upgrades(&self.replicated.upgrades);
        self.queries.drop_replicas();
        if let Some(listener) = &mut self.effects {
            let ReplicatedState {
                applied, events, ..
            } = self.replicated;
            listener(applied, &Effects::default(), events);
        }
        Ok(())
    }

    /// Restores the guest of a snapshot under the limits of the snapshot. If it fails, nothing changes.
    fn restore_guest(&mut self, snapshot: &MachineSnapshot) -> Result<(), MachineFailure> {
        let limits = match &snapshot.replicated.settings {
            Some(settings) => settings.limits_on(&self.own_limits),
            None => self.own_limits,
        };
        let (sha256, written_by) = (snapshot.module, snapshot.written_by);
        let active = self.guest.module();
        let is_same = sha256 == active.sha256() && active.rules() == Rules::of(&limits);
        if is_same && limits == self.limits {
            return self.guest.restore(written_by, snapshot.guest.clone());
        }
        let bytes = snapshot.module_bytes.clone();
        let module = self.upgrader.module_of(sha256, bytes, active, &limits)?;
        let mut guest = RecoverableGuest::start(module.clone(), &limits)?;
        guest.restore(written_by, snapshot.guest.clone())?;
        self.guest = guest.in_place_of(&self.guest);
        self.status.set_module(module);
        self.limits = limits;
        Ok(())
    }

    fn publish(&mut self) {
        let replicated = &self.replicated;
        let memory = self.guest.memory_bytes();
        if memory >= self.limits.soft_memory_bytes() {
            self.own_memory_is_low = true;
        } else if memory > 0 && memory < self.limits.enough_memory_bytes() {
            self.own_memory_is_low = false;
        }
        self.status.set_low_memory(replicated.memory.nodes());
        self.status.set_operations(&replicated.operations);
        self.status.set(MachineCounters {
            applied: replicated.applied,
            state_hash: replicated.hash.0,
            events: replicated.events,
            failures: replicated.failures,
            keys: replicated.keys.len() as u64,
            deferred: replicated.deferred.len() as u64,
            lowest_deferred: replicated.deferred.lowest(),
            operations: replicated.operations.begun(),
            wake_at_ms: replicated.wake_at_ms,
            memory_bytes: memory,
            memory_limit_bytes: self.limits.memory_bytes,
            memory_is_low: replicated.memory.is_low(),
            own_memory_is_low: self.own_memory_is_low,
            rollbacks: self.guest.rollbacks(),
            last_rollback_us: self.guest.last_rollback_us(),
        });
    }
}

fn is_settings(outcome: &CommandOutcome) -> bool {
    matches!(outcome, CommandOutcome::Settings(_))
}

impl ReplicatedStateMachine for WasmMachine {
    type Reply = CommandOutcome;
    type Query = MachineQuery;
    type Response = Result<Bytes, GuestQueryError>;

    /// Enough for every call of a guest.
    const STACK_BYTES: usize = THREAD_STACK_BYTES;

    fn class_of(command: &Bytes) -> CommandClass {
        Envelope::class_of(command)
    }

    /// Applies the commands of one entry: [`Envelope`](crate::Envelope)s.
    ///
    /// # Errors
    /// A [`MachineFailure`] if this node can't continue. A failure of the guest is a [`CommandOutcome`] instead.
    fn apply(
        &mut self,
        at: Moment,
        commands: &[Bytes],
    ) -> Result<Vec<CommandOutcome>, MachineError> {
        Ok(self.apply_entry(at, commands)?)
    }

    /// Adopts the level and the settings of the cluster.
    ///
    /// # Errors
    /// This node can't apply the settings: another release wrote them.
    fn configure(&mut self, at: Moment, level: u32, settings: &Bytes) -> Result<(), MachineError> {
        Ok(self.adopt_settings(at, level, settings)?)
    }

    /// Runs a query on this thread. A failed query leaves the state unchanged.
    fn query(&mut self, at: Moment, query: MachineQuery) -> Result<Bytes, GuestQueryError> {
        let client = ClientWatch::default();
        query_now(&mut self.guest, &self.limits, at, &query, &client)
    }

    /// Runs a query on another thread, if [`Self::with_query_threads`] has started any.
    fn query_async(
        &mut self,
        at: Moment,
        query: MachineQuery,
        respond: QueryCallback<Self::Response>,
    ) {
        self.queries
            .submit(&mut self.guest, &self.limits, at, query, respond);
    }

    fn has_ended_waits(&self) -> bool {
        self.has_ended_waits
    }

    fn on_idle(&mut self) {
        self.queries.dispatch(&mut self.guest, &self.limits);
    }

    /// Writes the complete state: the guest's and the replicated state of the host.
    ///
    /// # Errors
    /// The guest can't write its state, or writing failed.
    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        Ok(self.write_snapshot(to)?)
    }

    /// Captures the complete state. With a memory image this takes little time, however large the state is.
    ///
    /// # Errors
    /// The guest can't write its state.
    fn begin_snapshot(&mut self) -> Result<SnapshotWork, MachineError> {
        Ok(self.capture_snapshot()?)
    }

    /// Replaces the complete state. If the snapshot is refused, nothing changes.
    ///
    /// # Errors
    /// The snapshot is corrupt, another module wrote it, or the guest refused it.
    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        Ok(self.read_snapshot(from)?)
    }
}

#[cfg(test)]
mod tests;
