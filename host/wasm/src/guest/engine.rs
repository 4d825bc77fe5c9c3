//! The wasmtime engine. Its settings make the results of a guest equal on every node.

use std::sync::Arc;

use thiserror::Error;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, OptLevel};

use crate::guest::compiled::{CompiledCode, CompiledStore};
use crate::guest::host::{self, HostState};
use crate::guest::loaded::LoadedModules;
use crate::guest::metering;
use crate::guest::module_check::ModuleCheck;
use crate::guest::wasi;
use crate::images::map;

/// Stack of a guest, in bytes. An overflow stops the node, so the limit that counts is another one: a language runtime
/// limits recursion itself, at its own depth (Python needs more than 8 MiB), and from `GuestSemantics::BoundedStack` on
/// `MachineLimits::stack_bytes` applies, which is at most half of this. Unused parts take no memory.
const STACK_BYTES: usize = 64 << 20;

/// Stack for threads that call guests often, in bytes: large enough that no call has to allocate another stack. Unused
/// parts take no memory.
pub const THREAD_STACK_BYTES: usize = 2 * STACK_BYTES;

/// Upper bound of the host's own stack use in a call.
const HOST_STACK_BYTES: usize = 1 << 20;

/// What a call needs, in bytes.
const CALL_STACK_BYTES: usize = STACK_BYTES + HOST_STACK_BYTES;

/// Calls into a guest with enough stack: this thread's own, or a newly allocated one, which takes some microseconds.
pub(crate) fn with_stack<T>(call: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(CALL_STACK_BYTES, THREAD_STACK_BYTES, call)
}

/// wasmtime could not be set up.
#[derive(Debug, Error)]
#[error(
    "wasmtime could not be set up ({source:#}); this processor or system lacks a feature that it needs"
)]
pub struct EngineError {
    source: wasmtime::Error,
}

/// Compiles and links guests. Cheap to clone; one per process is enough.
#[derive(Clone)]
pub struct GuestEngine {
    engine: Engine,
    linker: Arc<Linker<HostState>>,
    has_images: bool,
    pub(crate) compiled: Option<CompiledCode>,
    pub(crate) check: Option<Arc<dyn ModuleCheck>>,
    pub(crate) loaded: Arc<LoadedModules>,
}

impl std::fmt::Debug for GuestEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestEngine").finish_non_exhaustive()
    }
}

impl GuestEngine {
    /// Creates an engine with the settings for deterministic guests.
    ///
    /// # Errors
    /// [`EngineError`] if wasmtime does not support this machine.
    pub fn new() -> Result<Self, EngineError> {
        let refused = |source| EngineError { source };
        let mut config = config();
        let memories = map::creator();
        let has_images = memories.is_some();
        if let Some(memories) = memories {
            // These memories start as zeros or as an image, never as wasmtime's own copy of the data segments.
            config.memory_init_cow(false).with_host_memory(memories);
        }
        let engine = Engine::new(&config).map_err(refused)?;
        let mut linker = Linker::new(&engine);
        host::add_to_linker(&mut linker).map_err(refused)?;
        wasi::add_to_linker(&mut linker).map_err(refused)?;
        Ok(Self {
            engine,
            linker: Arc::new(linker),
            has_images,
            compiled: None,
            check: None,
            loaded: Arc::default(),
        })
    }

    /// Keeps compiled code in `store`, and finds it there again.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn CompiledStore>) -> Self {
        self.compiled = Some(CompiledCode::new(&self.engine, store));
        self
    }

    /// Has `check` accept a module before this process parses and compiles it.
    #[must_use]
    pub fn with_check(mut self, check: Arc<dyn ModuleCheck>) -> Self {
        self.check = Some(check);
        self
    }

    pub(crate) fn wasmtime(&self) -> &Engine {
        &self.engine
    }

    /// Whether this system supports memory images.
    pub(crate) fn has_images(&self) -> bool {
        self.has_images
    }

    pub(crate) fn linker(&self) -> &Linker<HostState> {
        &self.linker
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        // The bits of a NaN differ between processors, and a guest can read them.
        .cranelift_nan_canonicalization(true)
        // Its results depend on the processor.
        .wasm_relaxed_simd(false)
        // Threads with shared memory run in an order that differs between nodes. They need no setting: wasmtime is
        // built without its feature `threads`, so shared memory and atomics are refused, which a test of `load` checks.
        // No call is asynchronous, and without this support a call across the boundary costs half.
        .concurrency_support(false)
        // Fuel is the only measure of work that is equal on every node.
        .consume_fuel(true)
        .operator_cost(metering::TABLE)
        // A limit of the node, not a replicated one: see `GuestFailure`.
        .async_stack_size(2 * STACK_BYTES)
        .max_wasm_stack(STACK_BYTES)
        // A guest is compiled once and runs for a long time.
        .cranelift_opt_level(OptLevel::Speed);
    config
}

#[cfg(test)]
mod tests;
