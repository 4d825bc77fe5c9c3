//! Step 3 of an upgrade, beside apply: the new module is compiled and tried on a copy of the state.

use std::io;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::Moment;

use super::words::{CheckResult, MAX_WORDS_BYTES, MigrationRoute};
use crate::chunks::SnapshotChunks;
use crate::engine::GuestEngine;
use crate::limits::MachineLimits;
use crate::machine::MachineFailure;
use crate::module::{GuestModule, Sha256};
use crate::recover::{Lineage, RecoverableGuest};

/// What the new module's first state is made of.
pub(super) enum Base {
    /// What the old module wrote.
    Snapshot {
        /// Its version.
        written_by: u32,
        /// Its words.
        chunks: SnapshotChunks,
    },
    /// The last checkpoint and the calls after it.
    Journal(Lineage),
    /// Nothing, for this reason of this node's own.
    None(String),
}

impl Base {
    fn route(&self) -> MigrationRoute {
        match self {
            Self::Snapshot { .. } | Self::None(_) => MigrationRoute::Snapshot,
            Self::Journal(_) => MigrationRoute::Journal,
        }
    }
}

/// What is to be done.
pub(super) struct Job {
    pub(super) engine: GuestEngine,
    pub(super) limits: MachineLimits,
    pub(super) module: Bytes,
    pub(super) base: Base,
    /// The last entry in the state.
    pub(super) at: Moment,
}

/// A module that works here.
pub(super) struct Prepared {
    pub(super) module: GuestModule,
    /// One in the state of the base.
    pub(super) guest: RecoverableGuest,
    /// Digest of that state as it writes it.
    pub(super) state: Sha256,
}

/// Told the verdict once there is one.
pub(super) type OnPrepared = Arc<dyn Fn(CheckResult) + Send + Sync>;

/// Runs work aside: on a thread of its own, or at once. What it comes to is the same either way.
pub type PreparationSpawner = Box<dyn Fn(PreparationTask) -> io::Result<()> + Send>;

/// What is to run aside.
pub type PreparationTask = Box<dyn FnOnce() + Send>;

/// A preparation under way.
pub(super) struct Preparation {
    upgrade: Index,
    outcome: mpsc::Receiver<Result<Prepared, String>>,
}

impl Preparation {
    /// Has it done. The one before, if it still runs, is waited for first: there is one compiler at a time.
    pub(super) fn start(
        aside: &PreparationSpawner,
        upgrade: Index,
        job: Job,
        before: Option<Self>,
        done: OnPrepared,
    ) -> Self {
        let (sender, outcome) = mpsc::channel();
        let (route, tried_at) = (job.base.route(), job.at.index);
        let (failed, told) = (sender.clone(), Arc::clone(&done));
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
            // The machine may be gone. What it would wait for is there before the word of it is.
            let _ = sender.send(prepared);
            done(result);
        };
        if let Err(error) = aside(Box::new(work)) {
            let message = format!("there is nothing to prepare it on: {error}");
            told(CheckResult::refused(&message));
            // The other end is here.
            let _ = failed.send(Err(message));
        }
        Self { upgrade, outcome }
    }

    pub(super) fn upgrade(&self) -> Index {
        self.upgrade
    }

    /// Waits for its end.
    pub(super) fn wait(self) -> Result<Prepared, String> {
        let panicked = |_| Err("preparing it panicked, which is a bug".to_owned());
        self.outcome.recv().unwrap_or_else(panicked)
    }
}

fn prepare(job: Job) -> Result<Prepared, String> {
    let Job {
        engine,
        limits,
        module,
        base,
        at,
    } = job;
    let refused = |failure: MachineFailure| failure.to_string();
    let module = GuestModule::load(&engine, module, &limits).map_err(|error| error.to_string())?;
    let mut guest = RecoverableGuest::start(module.clone(), &limits).map_err(refused)?;
    match base {
        Base::Snapshot { written_by, chunks } => {
            guest.restore(written_by, chunks).map_err(refused)?;
        }
        Base::Journal(lineage) => guest.inherit(lineage).map_err(|failure| match failure {
            MachineFailure::NotDeterministic { index } => {
                format!(
                    "it answers the commands of entry {index} otherwise than they were answered"
                )
            }
            failure => failure.to_string(),
        })?,
        Base::None(words) => return Err(words),
    }
    let chunks = guest.snapshot(at).map_err(refused)?;
    let state = chunks.digest(module.description().version);
    Ok(Prepared {
        module,
        guest,
        state,
    })
}

impl CheckResult {
    /// A refusal with these words, cut to what a report may have.
    pub(super) fn refused(message: &str) -> Self {
        let end = message.floor_char_boundary(MAX_WORDS_BYTES);
        Self::Refused {
            message: message[..end].to_owned(),
        }
    }
}
