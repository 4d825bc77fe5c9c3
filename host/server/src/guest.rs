//! Loads the guest with which a node starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use oarlock_wasm::{CheckError, EngineError, GuestEngine, GuestModule, MachineLimits};
use thiserror::Error;

use crate::built_in;
use crate::compiled::CompiledDir;
use crate::module_check::{CheckSettings, ChildCheck};
use crate::settings::GuestSource;

/// How a node compiles modules.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeSettings {
    /// Directory of compiled code. `None`: compiled code is not kept.
    pub(crate) compiled_dir: Option<PathBuf>,
    /// Checks modules in a child process. `None`: in this process.
    pub(crate) check: Option<CheckSettings>,
}

/// Why the guest can't be loaded.
#[derive(Debug, Error)]
pub(crate) enum GuestError {
    /// The file can't be read.
    #[error("cannot read the state machine {}: {source}; set --state-machine to a .wasm file, or omit it for the built-in task queue", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than the limit for modules.
    #[error("the state machine {} has {bytes} bytes, more than the limit of {limit}; build it in release mode", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Size of the file, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The module fails the check.
    #[error(
        "{name} is not a valid state machine:{}\n`oarlock check FILE` runs the same check without a node",
        reasons(source)
    )]
    Refused {
        /// The file, or a description of the built-in module.
        name: String,
        /// Every reason.
        #[source]
        source: CheckError,
    },
    /// The WebAssembly engine can't be created.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Loading the module panicked.
    #[error("loading the state machine panicked: {0}; this is a bug, please report it")]
    Panicked(#[source] tokio::task::JoinError),
}

fn reasons(error: &CheckError) -> String {
    error
        .reasons
        .iter()
        .map(|reason| format!("\n  - {reason}"))
        .collect()
}

/// Reads, checks and compiles a guest on a blocking thread, unless there is compiled code from an earlier start.
///
/// # Errors
/// The file can't be read, or the module fails the check, with every reason.
pub(crate) async fn load(
    source: GuestSource,
    limits: MachineLimits,
    code: CodeSettings,
) -> Result<GuestModule, GuestError> {
    let loading = tokio::task::spawn_blocking(move || load_now(&source, &limits, code));
    loading.await.map_err(GuestError::Panicked)?
}

fn load_now(
    source: &GuestSource,
    limits: &MachineLimits,
    code: CodeSettings,
) -> Result<GuestModule, GuestError> {
    let (name, bytes) = match source {
        GuestSource::Loaded(module) => return Ok(module.clone()),
        GuestSource::BuiltInQueue => (
            "the built-in task queue".to_owned(),
            Bytes::from_static(built_in::queue()),
        ),
        GuestSource::Kept(path, bytes) => (path.display().to_string(), bytes.clone()),
        GuestSource::File(path) => (path.display().to_string(), read(path, limits.module_bytes)?),
    };
    let mut engine = GuestEngine::new()?;
    if let Some(dir) = code.compiled_dir.clone() {
        engine = engine.with_store(Arc::new(CompiledDir::new(dir)));
    }
    if let Some(check) = code.check {
        engine = engine.with_check(Arc::new(ChildCheck::new(check, code.compiled_dir)));
    }
    GuestModule::load(&engine, bytes, limits).map_err(|source| GuestError::Refused { name, source })
}

fn read(path: &Path, limit: u64) -> Result<Bytes, GuestError> {
    let read_error = |source| GuestError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(read_error)?.len();
    if bytes > limit {
        return Err(GuestError::TooLarge {
            path: path.to_owned(),
            bytes,
            limit,
        });
    }
    std::fs::read(path).map(Bytes::from).map_err(read_error)
}
