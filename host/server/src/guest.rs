//! Where a node's guest comes from, and how it is loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use oarlock_wasm::{CheckError, EngineError, GuestEngine, GuestModule, MachineLimits};
use thiserror::Error;

use crate::compiled::CompiledDir;
use crate::settings::GuestSource;

/// The task queue that is part of the binary.
const BUILT_IN_QUEUE: &[u8] = include_bytes!("../../../examples-wasm/dist/queue.wasm");

/// Why there is no guest.
#[derive(Debug, Error)]
pub(crate) enum GuestError {
    /// Its file can't be read.
    #[error("cannot read the state machine {}: {source}; name a .wasm file with --state-machine, or leave the flag out for the built-in queue", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// Its file is larger than any module may be.
    #[error("the state machine {} has {bytes} bytes, and {limit} are the most; build it for release", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// It is no guest.
    #[error(
        "{name} can't be the state machine:{}\n`oarlock check FILE` says the same without starting a node",
        reasons(source)
    )]
    Refused {
        /// The file, or what it is.
        name: String,
        /// Every reason.
        #[source]
        source: CheckError,
    },
    /// The engine can't run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Loading it panicked.
    #[error("loading the state machine failed: {0}; this is a bug")]
    Panicked(#[source] tokio::task::JoinError),
}

fn reasons(error: &CheckError) -> String {
    error
        .reasons
        .iter()
        .map(|reason| format!("\n  - {reason}"))
        .collect()
}

/// Reads, checks and compiles a guest, or finds what was compiled before, where there is a directory for that. Takes a
/// while, so it works on a thread of its own.
///
/// # Errors
/// It can't be read, or the host refuses it: with every reason.
pub(crate) async fn load(
    source: GuestSource,
    limits: MachineLimits,
    compiled: Option<CompiledDir>,
) -> Result<GuestModule, GuestError> {
    let loading = tokio::task::spawn_blocking(move || load_now(&source, &limits, compiled));
    loading.await.map_err(GuestError::Panicked)?
}

fn load_now(
    source: &GuestSource,
    limits: &MachineLimits,
    compiled: Option<CompiledDir>,
) -> Result<GuestModule, GuestError> {
    let (name, bytes) = match source {
        GuestSource::Loaded(module) => return Ok(module.clone()),
        GuestSource::BuiltInQueue => (
            "the built-in task queue".to_owned(),
            Bytes::from_static(BUILT_IN_QUEUE),
        ),
        GuestSource::File(path) => (path.display().to_string(), read(path, limits.module_bytes)?),
    };
    let mut engine = GuestEngine::new()?;
    if let Some(compiled) = compiled {
        engine = engine.with_store(Arc::new(compiled));
    }
    GuestModule::load(&engine, bytes, limits).map_err(|source| GuestError::Refused { name, source })
}

fn read(path: &Path, limit: u64) -> Result<Bytes, GuestError> {
    let failed = |source| GuestError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > limit {
        return Err(GuestError::TooLarge {
            path: path.to_owned(),
            bytes,
            limit,
        });
    }
    std::fs::read(path).map(Bytes::from).map_err(failed)
}
