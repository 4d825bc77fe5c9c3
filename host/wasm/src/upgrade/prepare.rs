//! Step 3 of an upgrade, concurrently with apply: the new module is compiled and tried on a copy of the state.

use std::io;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use crate::failure::MachineFailure;
use crate::guest::engine::GuestEngine;
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::records::chunks::SnapshotChunks;
use crate::records::digest::Sha256;
use crate::records::upgrade::{CheckResult, MigrationRoute};
use crate::rollback::recoverable::{GuestOrigin, RecoverableGuest};

/// What the new module's state is built from.
pub(super) enum MigrationBase {
    /// The old module's snapshot.
    Snapshot {
        /// Version of the old module.
        written_by: u32,
        chunks: SnapshotChunks,
    },
    /// The last checkpoint, and the calls after it.
    Journal(GuestOrigin),
    /// Nothing, because of this failure of this node.
    Missing(String),
}

impl MigrationBase {
    fn route(&self) -> MigrationRoute {
        match self {
            Self::Snapshot { .. } | Self::Missing(_) => MigrationRoute::Snapshot,
            Self::Journal(_) => MigrationRoute::Journal,
        }
    }
}

/// Input of a preparation.
pub(super) struct PreparationJob {
    pub(super) engine: GuestEngine,
    pub(super) limits: MachineLimits,
    /// The module, if it was loaded before.
    pub(super) known: Option<GuestModule>,
    pub(super) module: Bytes,
    pub(super) base: MigrationBase,
    /// The last entry in the state.
    pub(super) at: Moment,
}

/// A module that runs on this node.
pub(super) struct PreparedModule {
    pub(super) module: GuestModule,
    /// A guest in the state of the base.
    pub(super) guest: RecoverableGuest,
    /// Digest of that state, as the new module wrote it.
    pub(super) state: Sha256,
}

/// Called with the index of the entry that began the upgrade, the result of a preparation, and the module if it is ready.
pub(crate) type OnPrepared = Arc<dyn Fn(Index, CheckResult, Option<&GuestModule>) + Send + Sync>;

/// Runs a preparation: on a new thread, or at once. The result is the same.
pub type PreparationSpawner = Box<dyn Fn(PreparationTask) -> io::Result<()> + Send>;

/// The work of a preparation.
pub type PreparationTask = Box<dyn FnOnce() + Send>;

/// A preparation in progress.
pub(super) struct Preparation {
    upgrade: Index,
    outcome: mpsc::Receiver<Result<PreparedModule, String>>,
}

impl Preparation {
    /// Starts a preparation. It first waits for the one before, so that only one module is compiled at a time.
    pub(super) fn start(
        spawner: &PreparationSpawner,
        upgrade: Index,
        job: PreparationJob,
        before: Option<Self>,
        on_prepared: OnPrepared,
    ) -> Self {
        let (sender, outcome) = mpsc::channel();
        let (route, tried_at) = (job.base.route(), job.at.index);
        let (failed_sender, on_failed) = (sender.clone(), Arc::clone(&on_prepared));
        let work = move || {
            drop(before.map(Self::wait));
            let prepared = prepare(job);
            let result = match &prepared {
                Ok(prepared) => CheckResult::Ready {
                    tried_at,
                    route,
                    state: prepared.state,
                },
                Err(message) => CheckResult::refused(message),
            };
            // The machine may have been dropped. The module is sent before the result is reported, because the report
            // leads to the switch, which waits for the module.
            let module = prepared
                .as_ref()
                .ok()
                .map(|prepared| prepared.module.clone());
            let _ = sender.send(prepared);
            on_prepared(upgrade, result, module.as_ref());
        };
        if let Err(error) = spawner(Box::new(work)) {
            let message = format!("no thread could be started to prepare the module: {error}");
            on_failed(upgrade, CheckResult::refused(&message), None);
            // The receiver is `outcome` below.
            let _ = failed_sender.send(Err(message));
        }
        Self { upgrade, outcome }
    }

    pub(super) fn upgrade(&self) -> Index {
        self.upgrade
    }

    /// Waits for the end of the preparation.
    pub(super) fn wait(self) -> Result<PreparedModule, String> {
        let panicked = |_| Err("the preparation panicked in the host, which is a bug".to_owned());
        self.outcome.recv().unwrap_or_else(panicked)
    }
}

fn prepare(job: PreparationJob) -> Result<PreparedModule, String> {
    let PreparationJob {
        engine,
        limits,
        known,
        module,
        base,
        at,
    } = job;
    let message = |failure: MachineFailure| failure.to_string();
    let module = match known {
        Some(known) => known.under(&limits),
        None => GuestModule::load(&engine, module, &limits),
    };
    let module = module.map_err(|error| error.to_string())?;
    let mut guest = RecoverableGuest::start(module.clone(), &limits).map_err(message)?;
    match base {
        MigrationBase::Snapshot { written_by, chunks } => {
            guest.restore(written_by, chunks).map_err(message)?;
        }
        MigrationBase::Journal(origin) => {
            guest.inherit(origin).map_err(|failure| match failure {
                MachineFailure::NotDeterministic { index } => {
                    format!(
                        "its outcomes of the commands of entry {index} differ from the old module's"
                    )
                }
                failure => failure.to_string(),
            })?;
        }
        MigrationBase::Missing(message) => return Err(message),
    }
    let chunks = guest.snapshot(at).map_err(message)?;
    let state = chunks.digest(module.description().version);
    Ok(PreparedModule {
        module,
        guest,
        state,
    })
}
