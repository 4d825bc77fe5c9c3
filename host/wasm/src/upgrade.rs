//! Upgrades: switching to another module while the cluster runs.
//!
//! An upgrade is a sequence of [records](crate::records::upgrade) in the log, so every node applies the same records in
//! the same order. The index of the first record's entry identifies the upgrade. [`state`] is what the records change.
//!
//! | step | record | what every node does at that entry |
//! |---|---|---|
//! | 1 | begin | opens the upgrade; there is one at a time |
//! | 2 | chunk, once or more | adds bytes to the new module; at the last chunk compares its digest |
//! | 3 | (the last chunk) | the old module writes a snapshot; [`prepare`] compiles the new module concurrently with apply, restores the snapshot in it, and has it write the state again |
//! | 4 | report, from each node | records that the node is ready, with the digest of that state, or why it refuses |
//! | 5 | activate, or close | switches modules between two batches; or ends the upgrade, and the old module keeps running |
//!
//! The leader decides only which record to propose next. Whether a record is valid, and what it does, follows from the
//! replicated state alone. So an upgrade survives a crash of the leader at any step: the next leader continues from the
//! replicated state.
//!
//! **The state at the switch** is the old module's snapshot at that entry, restored by the new module. If the old
//! module can't write a snapshot at step 3, the new module is built from the last checkpoint and the journal instead.
//! The checkpoints of two nodes may be at different entries, so all nodes must get the same state, whose digest the
//! reports contain. The new module must also have the same outcomes as the old one for the replayed commands, because clients
//! have received those. The commands between step 3 and the switch are kept, and the new module executes them in the
//! same way. Such an upgrade is aborted when more commands arrive than are kept ([`MAX_KEPT_BYTES`]).
//!
//! **A node that was down** applies the same records when it catches up; it waits at step 5 for its own preparation. If
//! it gets a snapshot instead, that contains the active module and the upgrade in progress.

use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::failure::MachineFailure;
use crate::guest::check::CheckError;
use crate::guest::engine::GuestEngine;
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::records::chunks::SnapshotChunks;
use crate::records::digest::Sha256;
use crate::records::outcome::{UpgradeOutcome, UpgradeRefusal};
use crate::records::upgrade::{
    AbortCause, CheckResult, MigrationRoute, UpgradeBegin, UpgradeEnd, UpgradeRecord,
};
use crate::rollback::recoverable::RecoverableGuest;

pub(crate) mod prepare;
pub(crate) mod state;

use prepare::{
    MigrationBase, OnPrepared, Preparation, PreparationJob, PreparationSpawner, PreparedModule,
};
use state::{PendingUpgrade, UpgradeState};

/// Limit on the commands that are kept for a new module that is built from the journal, in bytes.
pub(crate) const MAX_KEPT_BYTES: u64 = 64 << 20;

/// Limit on the nodes whose reports are kept.
const MAX_REPORTS: usize = 64;

/// This node's part in upgrades, which is not replicated.
pub(crate) struct Upgrader {
    engine: GuestEngine,
    limits: MachineLimits,
    /// The module that the node was started with.
    started_with: GuestModule,
    /// Modules that need not be loaded from the bytes of an upgrade.
    known: Vec<GuestModule>,
    /// The node runs whatever module the log has.
    follows_log: bool,
    spawner: PreparationSpawner,
    on_prepared: OnPrepared,
    preparation: Option<Preparation>,
}

/// What an upgrade record may change.
pub(crate) struct UpgradeScope<'m> {
    pub(crate) guest: &'m mut RecoverableGuest,
    pub(crate) state: &'m mut UpgradeState,
    pub(crate) at: Moment,
}

impl Upgrader {
    pub(crate) fn new(
        module: &GuestModule,
        limits: &MachineLimits,
        on_prepared: OnPrepared,
    ) -> Self {
        Self {
            engine: module.engine().clone(),
            limits: *limits,
            started_with: module.clone(),
            known: Vec::new(),
            follows_log: false,
            spawner: Box::new(|work| {
                work();
                Ok(())
            }),
            on_prepared,
            preparation: None,
        }
    }

    /// Prepares modules with this spawner, instead of at once.
    pub(crate) fn set_spawner(&mut self, spawner: PreparationSpawner) {
        self.spawner = spawner;
    }

    /// Uses these modules instead of loading their bytes.
    pub(crate) fn set_known(&mut self, known: Vec<GuestModule>) {
        self.known = known;
    }

    /// Applies other limits to modules that are loaded from now on.
    pub(crate) fn set_limits(&mut self, limits: &MachineLimits) {
        self.limits = *limits;
    }

    /// Runs whatever module the log has.
    pub(crate) fn follow_log(&mut self) {
        self.follows_log = true;
    }

    /// Digest of the module that must have run the log; `None` if any may have.
    pub(crate) fn required(&self) -> Option<Sha256> {
        (!self.follows_log).then(|| self.started_with())
    }

    /// Runs work as a preparation would run.
    ///
    /// # Errors
    /// The operating system can't start a thread.
    pub(crate) fn spawn(&self, work: prepare::PreparationTask) -> std::io::Result<()> {
        (self.spawner)(work)
    }

    /// Digest of the module that the node was started with.
    pub(crate) fn started_with(&self) -> Sha256 {
        self.started_with.sha256()
    }

    /// Finds the module of a snapshot on this node, or loads the bytes that the snapshot contains.
    ///
    /// # Errors
    /// The module does not run on this node, although it ran where the snapshot was taken.
    pub(crate) fn module_of(
        &self,
        sha256: Sha256,
        bytes: Option<Bytes>,
        active: &GuestModule,
        limits: &MachineLimits,
    ) -> Result<GuestModule, MachineFailure> {
        let fails = |error: CheckError| MachineFailure::Upgrade {
            message: error.to_string(),
        };
        for known in [active, &self.started_with].into_iter().chain(&self.known) {
            if known.sha256() == sha256 {
                return known.under(limits).map_err(fails);
            }
        }
        let bytes = bytes.ok_or(MachineFailure::OtherModule {
            settled: sha256,
            own: self.started_with(),
        })?;
        GuestModule::load(&self.engine, bytes, limits).map_err(fails)
    }

    /// Applies a record. What it changes is the same on every node.
    ///
    /// # Errors
    /// This node can't follow the others.
    pub(crate) fn apply(
        &mut self,
        record: UpgradeRecord,
        scope: UpgradeScope<'_>,
    ) -> Result<UpgradeOutcome, MachineFailure> {
        let outcome = match record {
            UpgradeRecord::Begin(begin) => self.begin(begin, scope),
            UpgradeRecord::Chunk {
                upgrade,
                offset,
                bytes,
            } => self.add_chunk(upgrade, offset, &bytes, scope),
            UpgradeRecord::Report {
                upgrade,
                node,
                result,
            } => note_report(upgrade, node, result, scope),
            UpgradeRecord::Activate {
                upgrade,
                route,
                state,
            } => return self.activate(upgrade, route, state, scope),
            UpgradeRecord::Close { upgrade, end } => match pending(scope.state, upgrade) {
                Ok(_) => Ok(self.close(end, scope)),
                Err(refusal) => Err(refusal),
            },
        };
        Ok(outcome.unwrap_or_else(UpgradeOutcome::Refused))
    }

    fn begin(
        &self,
        begin: UpgradeBegin,
        scope: UpgradeScope<'_>,
    ) -> Result<UpgradeOutcome, UpgradeRefusal> {
        let UpgradeScope { guest, state, at } = scope;
        if let Some(pending) = &state.pending {
            return Err(UpgradeRefusal::InProgress {
                upgrade: pending.upgrade,
                sha256: pending.sha256,
            });
        }
        // An earlier module is allowed; only the active one is refused.
        if begin.sha256 == guest.module().sha256() {
            return Err(UpgradeRefusal::Active {
                sha256: begin.sha256,
            });
        }
        let (bytes, limit) = (begin.bytes, self.limits.module_bytes);
        if bytes == 0 || bytes > limit {
            return Err(UpgradeRefusal::Size { bytes, limit });
        }
        state.begin(PendingUpgrade::new(begin, at));
        Ok(UpgradeOutcome::Begun)
    }

    fn add_chunk(
        &mut self,
        upgrade: Index,
        offset: u64,
        bytes: &[u8],
        scope: UpgradeScope<'_>,
    ) -> Result<UpgradeOutcome, UpgradeRefusal> {
        let pending = pending(scope.state, upgrade)?;
        let expected = pending.module.len() as u64;
        let fits = expected + bytes.len() as u64 <= pending.size;
        if offset != expected || bytes.is_empty() || !fits {
            return Err(UpgradeRefusal::Offset { expected });
        }
        pending.module.extend_from_slice(bytes);
        if (pending.module.len() as u64) < pending.size {
            return Ok(UpgradeOutcome::ChunkAdded);
        }
        if Sha256::of(&pending.module) != pending.sha256 {
            return Ok(self.close(UpgradeEnd::because(AbortCause::ModuleCorrupt), scope));
        }
        self.stage(scope);
        Ok(UpgradeOutcome::Staged)
    }

    /// Step 3: the module is complete.
    fn stage(&mut self, scope: UpgradeScope<'_>) {
        let UpgradeScope { guest, state, at } = scope;
        let version = guest.module().description().version;
        let (base, route) = match guest.snapshot(at) {
            Ok(chunks) => (
                MigrationBase::Snapshot {
                    written_by: version,
                    chunks,
                },
                MigrationRoute::Snapshot,
            ),
            Err(MachineFailure::GuestSnapshot { message }) => {
                tracing::warn!(%message, "the old module can't write a snapshot; the new one is built from the journal");
                guest.keep_calls();
                (
                    MigrationBase::Journal(guest.origin()),
                    MigrationRoute::Journal,
                )
            }
            // A failure of this node alone, so this node reports a refusal.
            Err(error) => (
                MigrationBase::Missing(error.to_string()),
                MigrationRoute::Snapshot,
            ),
        };
        if let Some(pending) = &mut state.pending {
            pending.staged = Some((at.index, route));
            self.prepare(pending, base, at);
        }
    }

    fn prepare(&mut self, pending: &PendingUpgrade, base: MigrationBase, at: Moment) {
        let job = PreparationJob {
            engine: self.engine.clone(),
            limits: self.limits,
            known: self.known_module(pending.sha256),
            module: pending.module.clone().into(),
            base,
            at,
        };
        let before = self.preparation.take();
        self.preparation = Some(Preparation::start(
            &self.spawner,
            pending.upgrade,
            job,
            before,
            Arc::clone(&self.on_prepared),
        ));
    }

    fn known_module(&self, sha256: Sha256) -> Option<GuestModule> {
        let mut known = self.known.iter();
        known.find(|known| known.sha256() == sha256).cloned()
    }

    /// Step 5: the switch.
    fn activate(
        &mut self,
        upgrade: Index,
        route: MigrationRoute,
        state: Sha256,
        mut scope: UpgradeScope<'_>,
    ) -> Result<UpgradeOutcome, MachineFailure> {
        let pending = match pending(scope.state, upgrade) {
            Ok(pending) => pending,
            Err(refusal) => return Ok(UpgradeOutcome::Refused(refusal)),
        };
        let missing = match pending.staged {
            None => Some("the module is incomplete"),
            Some((_, staged)) if staged != route => Some("its route is another one"),
            Some(_) if !pending.has_ready() => Some("no node has reported ready"),
            Some(_) => None,
        };
        if pending.dry_run {
            return Ok(UpgradeOutcome::Refused(UpgradeRefusal::DryRun));
        }
        if let Some(missing) = missing {
            return Ok(UpgradeOutcome::Refused(UpgradeRefusal::NotReady {
                missing,
            }));
        }
        let prepared = self.prepared(upgrade)?;
        let migrated = match route {
            MigrationRoute::Snapshot => by_snapshot(prepared.module, &self.limits, &mut scope)?,
            MigrationRoute::Journal => by_journal(prepared, state, &scope)?,
        };
        match migrated {
            Ok(mut guest) => {
                // It may have been prepared under earlier settings.
                match guest.adopt_limits(&self.limits, scope.at, false)? {
                    Ok(()) => Ok(self.switch(guest, scope)),
                    Err(_) => {
                        let end = UpgradeEnd::because(AbortCause::NewRestoreFailed);
                        Ok(self.close(end, scope))
                    }
                }
            }
            Err(cause) => Ok(self.close(UpgradeEnd::because(cause), scope)),
        }
    }

    /// Switches to the successor that an operator decided on, before its first entry.
    ///
    /// # Errors
    /// The successor can't take over the state.
    pub(crate) fn succeed(
        &mut self,
        successor: &GuestModule,
        mut scope: UpgradeScope<'_>,
    ) -> Result<(), MachineFailure> {
        let (index, sha256) = (scope.at.index, successor.sha256());
        let fails = |message: String| MachineFailure::Successor {
            index,
            sha256,
            message,
        };
        let module = successor.under(&self.limits);
        let module = module.map_err(|error| fails(error.to_string()))?;
        let migrated = by_snapshot(module, &self.limits, &mut scope)?;
        let guest = migrated.map_err(|cause| fails(cause.to_string()))?;
        let begin = UpgradeBegin {
            sha256,
            bytes: successor.bytes().len() as u64,
            wait_ms: 0,
            dry_run: false,
            by: "oarlock recover".to_owned(),
        };
        let description = Some(successor.description());
        let past = PendingUpgrade::new(begin, scope.at);
        let past = past.ended(UpgradeEnd::Activated, scope.at, description);
        let before = scope.guest.module().sha256();
        scope.state.history.first.get_or_insert(before);
        scope.state.history.push(past);
        scope.state.module = Some(sha256);
        *scope.guest = guest.in_place_of(scope.guest);
        Ok(())
    }

    /// The result of this node's preparation. Waits for it, because a node that catches up may not have finished it.
    fn prepared(&mut self, upgrade: Index) -> Result<PreparedModule, MachineFailure> {
        let preparation = self.preparation.take();
        let outcome = match preparation {
            Some(preparation) if preparation.upgrade() == upgrade => preparation.wait(),
            _ => Err("this node has not prepared it".to_owned()),
        };
        outcome.map_err(|message| MachineFailure::Upgrade { message })
    }

    fn switch(&mut self, new: RecoverableGuest, scope: UpgradeScope<'_>) -> UpgradeOutcome {
        let UpgradeScope { guest, state, at } = scope;
        let (old, module) = (guest.module().sha256(), new.module().clone());
        state.history.first.get_or_insert(old);
        state.module = Some(module.sha256());
        *guest = new.in_place_of(guest);
        if let Some(pending) = state.pending.take() {
            let past = pending.ended(UpgradeEnd::Activated, at, Some(module.description()));
            state.history.push(past);
        }
        tracing::info!(%old, new = %module.sha256(), index = %at.index, "switched to another module");
        UpgradeOutcome::Activated
    }

    /// Step 5: the end without a switch.
    fn close(&mut self, end: UpgradeEnd, scope: UpgradeScope<'_>) -> UpgradeOutcome {
        scope.guest.drop_kept_calls();
        if let Some(pending) = scope.state.pending.take() {
            tracing::info!(upgrade = %pending.upgrade, %end, "upgrade ended without a switch");
            let past = pending.ended(end, scope.at, None);
            scope.state.history.push(past);
        }
        UpgradeOutcome::Closed
    }

    /// Aborts an upgrade for which too many commands were kept. Called after each entry.
    pub(crate) fn settle(&mut self, scope: UpgradeScope<'_>) {
        if scope.guest.kept_bytes() > MAX_KEPT_BYTES {
            self.close(UpgradeEnd::because(AbortCause::JournalTooLarge), scope);
        }
    }

    /// Continues the upgrade of a restored snapshot, which may be at any step. The new module is tried on the
    /// snapshot's state.
    pub(crate) fn restored(
        &mut self,
        state: &UpgradeState,
        at: Moment,
        written_by: u32,
        chunks: SnapshotChunks,
    ) {
        if let Some(pending) = &state.pending
            && pending.staged.is_some()
        {
            let base = MigrationBase::Snapshot { written_by, chunks };
            self.prepare(pending, base, at);
        }
    }
}

/// The upgrade that a record names, if it is the one in progress.
fn pending(
    state: &mut UpgradeState,
    upgrade: Index,
) -> Result<&mut PendingUpgrade, UpgradeRefusal> {
    let pending = state.pending.as_mut();
    pending
        .filter(|pending| pending.upgrade == upgrade)
        .ok_or(UpgradeRefusal::NotInProgress { upgrade })
}

/// Step 4.
fn note_report(
    upgrade: Index,
    node: String,
    result: CheckResult,
    scope: UpgradeScope<'_>,
) -> Result<UpgradeOutcome, UpgradeRefusal> {
    let pending = pending(scope.state, upgrade)?;
    if pending.staged.is_none() {
        let missing = "the module is incomplete";
        return Err(UpgradeRefusal::NotReady { missing });
    }
    if pending.reports.len() < MAX_REPORTS || pending.reports.contains_key(&node) {
        pending.reports.insert(node, result);
    }
    Ok(UpgradeOutcome::ReportNoted)
}

/// A guest of the new module, in the state of the old module's snapshot now. The inner error is the same on every node.
fn by_snapshot(
    module: GuestModule,
    limits: &MachineLimits,
    scope: &mut UpgradeScope<'_>,
) -> Result<Result<RecoverableGuest, AbortCause>, MachineFailure> {
    let version = scope.guest.module().description().version;
    let chunks = match scope.guest.snapshot(scope.at) {
        Ok(chunks) => chunks,
        Err(MachineFailure::GuestSnapshot { .. }) => return Ok(Err(AbortCause::OldSnapshotFailed)),
        Err(failure) => return Err(failure),
    };
    let mut new = RecoverableGuest::start(module, limits)?;
    match new.restore(version, chunks) {
        Ok(()) => Ok(Ok(new)),
        Err(MachineFailure::GuestRestore { .. }) => Ok(Err(AbortCause::NewRestoreFailed)),
        Err(failure) => Err(failure),
    }
}

/// The prepared guest, after the commands that were kept since. The inner error is the same on every node.
fn by_journal(
    prepared: PreparedModule,
    state: Sha256,
    scope: &UpgradeScope<'_>,
) -> Result<Result<RecoverableGuest, AbortCause>, MachineFailure> {
    if prepared.state != state {
        let own = prepared.state;
        return Err(MachineFailure::Upgrade {
            message: format!(
                "built from the journal, its state is {own} on this node and {state} on the others"
            ),
        });
    }
    let mut new = prepared.guest;
    match new.follow(scope.guest.kept_calls()) {
        Ok(()) => Ok(Ok(new)),
        Err(MachineFailure::Replay { .. } | MachineFailure::NotDeterministic { .. }) => {
            Ok(Err(AbortCause::NewRestoreFailed))
        }
        Err(failure) => Err(failure),
    }
}
