//! Runs the same commands on three copies of a guest, with the production host. One keeps running, one is restored from time
//! to time, and one restores a snapshot and replays the log. Their outcomes, state hashes and snapshots must be equal, byte
//! for byte.
//!
//! Commands are valid and malformed ([`commands`]), in batches of any size, some with idempotency keys. Their times
//! increase, and wake-ups are between them, as a leader would propose them.

mod commands;
mod copies;
mod history;

use std::path::PathBuf;

use bytes::Bytes;
use oarlock_wasm::{CheckError, EngineError, GuestEngine, GuestModule, MachineLimits};
use serde::Serialize;
use task_queue_raft::state_machine::MachineError;
use thiserror::Error;

use copies::Copies;
use history::History;

pub use commands::Language;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many commands, wake-ups not counted.
    pub commands: u64,
    /// Equal seeds give equal histories.
    pub seed: u64,
}

/// A guest and the commands that it understands.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What it is called in the table.
    pub name: String,
    /// What it understands.
    pub language: Language,
    /// Its module.
    pub path: PathBuf,
}

/// What was done, and found equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The guest.
    pub guest: String,
    /// Commands applied.
    pub commands: u64,
    /// Entries that they came in.
    pub entries: u64,
    /// Wake-ups among them.
    pub wake_ups: u64,
    /// Commands that the guest took.
    pub accepted: u64,
    /// Commands that it refused.
    pub refused: u64,
    /// Commands with another outcome: at which it failed, deferred ones, and keys that were spent on other bytes.
    pub others: u64,
    /// Snapshots compared, three at a time.
    pub snapshots: u64,
    /// The largest of them, in bytes.
    pub largest_bytes: u64,
    /// Times that the second copy was restored.
    pub restores: u64,
    /// Entries that the third copy applied after it had begun anew.
    pub replayed: u64,
    /// The hash over all of it.
    pub state_hash: String,
}

/// Why two copies are not the same, or could not be compared.
#[derive(Debug, Error)]
pub enum Difference {
    /// The module can't be read.
    #[error("{} can't be read: {source}; build the guests with `cargo xtask guests`", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no engine here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The host refuses it.
    #[error("{guest} is no guest: {source}")]
    Check {
        /// Which.
        guest: String,
        /// Why.
        #[source]
        source: CheckError,
    },
    /// A copy could not continue.
    #[error("{guest}, seed {seed}, entry {entry}: the {copy} copy can't go on: {source}")]
    Stopped {
        /// Which guest.
        guest: String,
        /// Of which history.
        seed: u64,
        /// At which entry.
        entry: u64,
        /// Which copy.
        copy: &'static str,
        /// Why.
        #[source]
        source: MachineError,
    },
    /// Two copies differ.
    #[error(
        "{guest}, seed {seed}, entry {entry}: the {copy} copy differs from the live one in {what}"
    )]
    Differ {
        /// Which guest.
        guest: String,
        /// Of which history.
        seed: u64,
        /// After which entry.
        entry: u64,
        /// Which copy.
        copy: &'static str,
        /// In what, with both sides.
        what: String,
    },
}

/// Runs one guest.
///
/// # Errors
/// The first [`Difference`].
pub fn run(guest: &Guest, plan: &Plan) -> Result<Report, Difference> {
    let read = |source| Difference::Read {
        path: guest.path.clone(),
        source,
    };
    let bytes = Bytes::from(std::fs::read(&guest.path).map_err(read)?);
    let limits = MachineLimits::default();
    let module = GuestModule::load(&GuestEngine::new()?, bytes, &limits);
    let module = module.map_err(|source| Difference::Check {
        guest: guest.name.clone(),
        source,
    })?;
    let mut history = History::new(guest.language, plan);
    let mut copies = Copies::new(guest, plan, module, limits)?;
    while let Some(entry) = history.next(copies.wake_at_ms()) {
        let outcomes = copies.apply(entry)?;
        history.learn(outcomes);
    }
    copies.end()
}
