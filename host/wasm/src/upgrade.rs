//! Swapping the logic while it runs.
//!
//! An upgrade is a conversation in the log, so every node hears the same of it and in the same order. Its words are in
//! [`words`], what they leave behind in [`state`]. It is named by the index of the entry that began it.
//!
//! | step | word | what every node does at that entry |
//! |---|---|---|
//! | 1 | begin | opens the upgrade; there is one at a time |
//! | 2 | chunk, once or more | adds bytes to the new module; at the last one compares its digest |
//! | 3 | (the last chunk) | the old module writes its state; [`prepare`] compiles the new one beside apply, restores a copy of that state into it and has it written again |
//! | 4 | report, from each node | notes that the node is ready, with the digest of that copy, or why it refuses |
//! | 5 | activate, or close | switches, between two batches; or gives the upgrade up, and the old module goes on |
//!
//! Nobody decides but the leader, and only what to say next: that a word counts, and what it does, follows from the
//! replicated state alone. So a leader that dies in the middle leaves nothing half-done, and the next one reads where
//! things stand.
//!
//! **The state at the switch** is what the old module writes at that entry, read by the new one. Where the old one can't
//! write its state at step 3, its help is not needed: the new module runs the journal on from the last checkpoint. Two
//! nodes may have their checkpoint at different entries, so here all of them have to arrive at the same state, which
//! the reports tell, and the new module has to answer the replayed commands as the old one did, because those answers
//! were given to clients. What comes between step 3 and the switch is then kept and run through the new module in the
//! same way. An upgrade of this kind ends when more comes than is kept ([`MAX_SINCE_BYTES`]).
//!
//! **A node that was away** meets the same words when it catches up: it waits at step 5 until its own preparation is
//! done. One that gets a snapshot instead finds the active module in it, and an upgrade that is under way as well.

use std::sync::Arc;

use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;
use thiserror::Error;

use crate::engine::GuestEngine;
use crate::limits::MachineLimits;
use crate::machine::MachineFailure;
use crate::module::{GuestModule, Sha256};
use crate::recover::RecoverableGuest;
use crate::snapshot::ReplicatedState;
use crate::status::StatusHandle;

mod prepare;
pub(crate) mod state;
pub(crate) mod words;

use prepare::{Base, Job, Preparation, Prepared};
pub use prepare::{PreparationSpawner, PreparationTask};
use state::PendingUpgrade;
pub use state::{AbortCause, PastUpgrade, UpgradeEnd, UpgradeStatus};
pub use words::{CheckResult, MigrationRoute, UpgradeBegin, UpgradeRecord};

/// Most bytes of commands that are kept for a new module that does without the old one's help.
pub(crate) const MAX_SINCE_BYTES: u64 = 64 << 20;

/// Most nodes whose reports are kept.
const MAX_REPORTS: usize = 64;

/// What became of a word of an upgrade. Equal on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeOutcome {
    /// It has begun, and is named by the index of this entry.
    Begun,
    /// The bytes were added.
    ChunkAdded,
    /// These were the last bytes: every node prepares itself.
    Staged,
    /// The report is noted.
    ReportNoted,
    /// The new module runs from here on.
    Activated,
    /// The upgrade has ended without a switch.
    Closed,
    /// The word changed nothing.
    Refused(UpgradeRefusal),
}

impl UpgradeOutcome {
    /// The kind as one byte, for the state hash.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Begun => 0,
            Self::ChunkAdded => 1,
            Self::Staged => 2,
            Self::ReportNoted => 3,
            Self::Activated => 4,
            Self::Closed => 5,
            Self::Refused(_) => 6,
        }
    }
}

/// Why a word of an upgrade changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UpgradeRefusal {
    /// There is one at a time.
    #[error(
        "the upgrade to {sha256}, begun at entry {upgrade}, is under way; wait for its end, or until its time is over"
    )]
    InProgress {
        /// The one under way.
        upgrade: Index,
        /// To which module.
        sha256: Sha256,
    },
    /// It runs already.
    #[error("the module {sha256} is the one that runs; there is nothing to do")]
    Active {
        /// Its digest.
        sha256: Sha256,
    },
    /// It is over the limit of modules, or empty.
    #[error(
        "the module takes {bytes} bytes, and 1 to {limit} are allowed; build it for release, or raise the limit of modules on every node"
    )]
    Size {
        /// Its size.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// That upgrade has ended, or never began.
    #[error("the upgrade begun at entry {upgrade} is not under way; its history says how it ended")]
    NotInProgress {
        /// The one that the word is about.
        upgrade: Index,
    },
    /// The bytes don't follow those before.
    #[error("the next bytes of the module are those from {expected} on; send these")]
    Offset {
        /// Where the next chunk begins.
        expected: u64,
    },
    /// The module has not arrived yet, or nobody is ready.
    #[error("the upgrade can't be activated yet: {missing}; wait for it")]
    NotReady {
        /// What is missing.
        missing: &'static str,
    },
    /// It was only to be tried out.
    #[error("this upgrade is a dry run, which ends without a switch; begin one without --dry-run")]
    DryRun,
}

/// This node's part in upgrades: what is not replicated.
pub(crate) struct Upgrader {
    engine: GuestEngine,
    limits: MachineLimits,
    /// The module that the node was started with.
    started_with: GuestModule,
    aside: PreparationSpawner,
    status: StatusHandle,
    preparation: Option<Preparation>,
}

/// What the words of an upgrade change.
pub(crate) struct Scene<'m> {
    pub(crate) guest: &'m mut RecoverableGuest,
    pub(crate) replicated: &'m mut ReplicatedState,
    pub(crate) at: Moment,
}

impl Upgrader {
    pub(crate) fn new(module: &GuestModule, limits: &MachineLimits, status: StatusHandle) -> Self {
        Self {
            engine: module.engine().clone(),
            limits: *limits,
            started_with: module.clone(),
            aside: Box::new(|work| {
                work();
                Ok(())
            }),
            status,
            preparation: None,
        }
    }

    /// Has modules prepared there instead of at once.
    pub(crate) fn prepare_on(&mut self, aside: PreparationSpawner) {
        self.aside = aside;
    }

    /// Digest of the module that the node was started with.
    pub(crate) fn started_with(&self) -> Sha256 {
        self.started_with.sha256()
    }

    /// The module of a snapshot: one that is here already, or the bytes that the snapshot carries.
    ///
    /// # Errors
    /// They are no guest on this node, though they were one where the snapshot was taken.
    pub(crate) fn module_of(
        &self,
        sha256: Sha256,
        bytes: Option<bytes::Bytes>,
        active: &GuestModule,
    ) -> Result<GuestModule, MachineFailure> {
        for here in [active, &self.started_with] {
            if here.sha256() == sha256 {
                return Ok(here.clone());
            }
        }
        let bytes = bytes.ok_or(MachineFailure::OtherModule {
            settled: sha256,
            own: self.started_with(),
        })?;
        GuestModule::load(&self.engine, bytes, &self.limits).map_err(|error| {
            MachineFailure::Upgrade {
                message: error.to_string(),
            }
        })
    }

    /// Takes a word: what it changes is the same on every node.
    ///
    /// # Errors
    /// This node can't follow where the others go.
    pub(crate) fn take(
        &mut self,
        word: UpgradeRecord,
        scene: Scene<'_>,
    ) -> Result<UpgradeOutcome, MachineFailure> {
        let refused = match word {
            UpgradeRecord::Begin(begin) => self.begin(begin, scene),
            UpgradeRecord::Chunk {
                upgrade,
                offset,
                bytes,
            } => self.add(upgrade, offset, &bytes, scene),
            UpgradeRecord::Report {
                upgrade,
                node,
                result,
            } => note(upgrade, node, result, scene),
            UpgradeRecord::Activate {
                upgrade,
                route,
                state,
            } => return self.activate(upgrade, route, state, scene),
            UpgradeRecord::Close { upgrade, end } => match pending(scene.replicated, upgrade) {
                Ok(_) => Ok(self.close(end, scene)),
                Err(refusal) => Err(refusal),
            },
        };
        Ok(refused.unwrap_or_else(UpgradeOutcome::Refused))
    }

    fn begin(
        &self,
        begin: UpgradeBegin,
        scene: Scene<'_>,
    ) -> Result<UpgradeOutcome, UpgradeRefusal> {
        let Scene {
            guest,
            replicated,
            at,
        } = scene;
        if let Some(pending) = &replicated.upgrade {
            return Err(UpgradeRefusal::InProgress {
                upgrade: pending.upgrade,
                sha256: pending.sha256,
            });
        }
        // Going back is an upgrade as well; to what runs there is none.
        if begin.sha256 == guest.module().sha256() {
            return Err(UpgradeRefusal::Active {
                sha256: begin.sha256,
            });
        }
        let (bytes, limit) = (begin.bytes, self.limits.module_bytes);
        if bytes == 0 || bytes > limit {
            return Err(UpgradeRefusal::Size { bytes, limit });
        }
        replicated.upgrade = Some(PendingUpgrade::new(begin, at));
        Ok(UpgradeOutcome::Begun)
    }

    fn add(
        &mut self,
        upgrade: Index,
        offset: u64,
        bytes: &[u8],
        scene: Scene<'_>,
    ) -> Result<UpgradeOutcome, UpgradeRefusal> {
        let pending = pending(scene.replicated, upgrade)?;
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
            return Ok(self.close(UpgradeEnd::because(AbortCause::ModuleCorrupt), scene));
        }
        self.stage(scene);
        Ok(UpgradeOutcome::Staged)
    }

    /// Step 3: the module has arrived.
    fn stage(&mut self, scene: Scene<'_>) {
        let Scene {
            guest,
            replicated,
            at,
        } = scene;
        let version = guest.module().description().version;
        let (base, route) = match guest.snapshot(at) {
            Ok(chunks) => (
                Base::Snapshot {
                    written_by: version,
                    chunks,
                },
                MigrationRoute::Snapshot,
            ),
            Err(MachineFailure::GuestSnapshot { message }) => {
                tracing::warn!(%message, "the old module can't write its state: the new one is built without its help");
                guest.keep_records();
                (Base::Journal(guest.lineage()), MigrationRoute::Journal)
            }
            // A matter of this node, which then has to sit this one out.
            Err(error) => (Base::None(error.to_string()), MigrationRoute::Snapshot),
        };
        if let Some(pending) = &mut replicated.upgrade {
            pending.staged = Some((at.index, route));
            self.prepare(pending, base, at);
        }
    }

    fn prepare(&mut self, pending: &PendingUpgrade, base: Base, at: Moment) {
        let job = Job {
            engine: self.engine.clone(),
            limits: self.limits,
            module: pending.module.clone().into(),
            base,
            at,
        };
        let before = self.preparation.take();
        let (upgrade, status) = (pending.upgrade, self.status.clone());
        let done = move |verdict| status.set_own_check(upgrade, verdict);
        self.preparation = Some(Preparation::start(
            &self.aside,
            upgrade,
            job,
            before,
            Arc::new(done),
        ));
    }

    /// Step 5, one way.
    fn activate(
        &mut self,
        upgrade: Index,
        route: MigrationRoute,
        state: Sha256,
        mut scene: Scene<'_>,
    ) -> Result<UpgradeOutcome, MachineFailure> {
        let pending = match pending(scene.replicated, upgrade) {
            Ok(pending) => pending,
            Err(refusal) => return Ok(UpgradeOutcome::Refused(refusal)),
        };
        let missing = match pending.staged {
            None => Some("its bytes have not all arrived"),
            Some((_, staged)) if staged != route => Some("it goes another way"),
            Some(_) if !pending.has_ready() => Some("no node has said that it is ready"),
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
        let switched = match route {
            MigrationRoute::Snapshot => by_snapshot(prepared.module, &self.limits, &mut scene)?,
            MigrationRoute::Journal => by_journal(prepared, state, &scene)?,
        };
        match switched {
            Ok(guest) => Ok(self.switch(guest, scene)),
            Err(cause) => Ok(self.close(UpgradeEnd::because(cause), scene)),
        }
    }

    /// What this node's preparation came to. Waits for it: a node that catches up may be early.
    fn prepared(&mut self, upgrade: Index) -> Result<Prepared, MachineFailure> {
        let preparation = self.preparation.take();
        let outcome = match preparation {
            Some(preparation) if preparation.upgrade() == upgrade => preparation.wait(),
            _ => Err("it was not prepared here".to_owned()),
        };
        outcome.map_err(|message| MachineFailure::Upgrade { message })
    }

    fn switch(&mut self, new: RecoverableGuest, scene: Scene<'_>) -> UpgradeOutcome {
        let Scene {
            guest,
            replicated,
            at,
        } = scene;
        let (old, module) = (guest.module().sha256(), new.module().clone());
        replicated.history.first.get_or_insert(old);
        replicated.module = Some(module.sha256());
        *guest = new.in_place_of(guest);
        if let Some(pending) = replicated.upgrade.take() {
            let past = pending.ended(UpgradeEnd::Activated, at, Some(module.description()));
            replicated.history.push(past);
        }
        tracing::info!(%old, new = %module.sha256(), index = %at.index, "another module runs from here on");
        self.status.set_module(module);
        UpgradeOutcome::Activated
    }

    /// Step 5, the other way.
    fn close(&mut self, end: UpgradeEnd, scene: Scene<'_>) -> UpgradeOutcome {
        scene.guest.forget_records();
        if let Some(pending) = scene.replicated.upgrade.take() {
            tracing::info!(upgrade = %pending.upgrade, %end, "upgrade ended without a switch");
            let past = pending.ended(end, scene.at, None);
            scene.replicated.history.push(past);
        }
        UpgradeOutcome::Closed
    }

    /// Ends an upgrade for which more commands were kept than there is room for. Said after each entry.
    pub(crate) fn settle(&mut self, scene: Scene<'_>) {
        if scene.guest.kept_bytes() > MAX_SINCE_BYTES {
            self.close(UpgradeEnd::because(AbortCause::JournalTooLarge), scene);
        }
    }

    /// Takes up the upgrade of a snapshot, which may be at any step. The copy that is tried out is the snapshot's.
    pub(crate) fn restored(
        &mut self,
        replicated: &ReplicatedState,
        base: (u32, crate::chunks::SnapshotChunks),
    ) {
        let Some(pending) = &replicated.upgrade else {
            return;
        };
        if pending.staged.is_some() {
            let (written_by, chunks) = base;
            let base = Base::Snapshot { written_by, chunks };
            self.prepare(pending, base, replicated.applied);
        }
    }
}

/// The upgrade that a word is about, if it is the one under way.
fn pending(
    replicated: &mut ReplicatedState,
    upgrade: Index,
) -> Result<&mut PendingUpgrade, UpgradeRefusal> {
    let pending = replicated.upgrade.as_mut();
    pending
        .filter(|pending| pending.upgrade == upgrade)
        .ok_or(UpgradeRefusal::NotInProgress { upgrade })
}

/// Step 4.
fn note(
    upgrade: Index,
    node: String,
    result: CheckResult,
    scene: Scene<'_>,
) -> Result<UpgradeOutcome, UpgradeRefusal> {
    let pending = pending(scene.replicated, upgrade)?;
    if pending.staged.is_none() {
        let missing = "its bytes have not all arrived";
        return Err(UpgradeRefusal::NotReady { missing });
    }
    if pending.reports.len() < MAX_REPORTS || pending.reports.contains_key(&node) {
        pending.reports.insert(node, result);
    }
    Ok(UpgradeOutcome::ReportNoted)
}

/// A guest of the new module in the state that the old one writes now. The inner error is the same on every node.
fn by_snapshot(
    module: GuestModule,
    limits: &MachineLimits,
    scene: &mut Scene<'_>,
) -> Result<Result<RecoverableGuest, AbortCause>, MachineFailure> {
    let version = scene.guest.module().description().version;
    let chunks = match scene.guest.snapshot(scene.at) {
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

/// The guest that was prepared, after all that came since.
fn by_journal(
    prepared: Prepared,
    state: Sha256,
    scene: &Scene<'_>,
) -> Result<Result<RecoverableGuest, AbortCause>, MachineFailure> {
    if prepared.state != state {
        let own = prepared.state;
        return Err(MachineFailure::Upgrade {
            message: format!(
                "built without the old module's help, its state is {own} here and {state} on the others"
            ),
        });
    }
    let mut new = prepared.guest;
    match new.follow(scene.guest.kept_records()) {
        Ok(()) => Ok(Ok(new)),
        Err(MachineFailure::Replay { .. } | MachineFailure::NotDeterministic { .. }) => {
            Ok(Err(AbortCause::NewRestoreFailed))
        }
        Err(failure) => Err(failure),
    }
}
