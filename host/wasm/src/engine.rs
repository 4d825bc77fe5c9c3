//! The one wasmtime engine: its settings are what makes two nodes compute the same.

use std::sync::Arc;

use thiserror::Error;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, OptLevel};

use crate::compiled::CompiledCode;
use crate::host::{self, HostState};
use crate::images::map;
use crate::wasi;

/// Stack of a guest, in bytes. A runtime of another language ends a recursion by itself, at a depth that it chose; there
/// has to be room for that, because a stack that overflows stops the node. Python takes more than 8 MiB.
const STACK_BYTES: usize = 32 << 20;

/// Stack of a thread that calls guests often, in bytes, so that none of its calls needs another stack. What is never used
/// of it takes no memory.
pub const THREAD_STACK_BYTES: usize = 2 * STACK_BYTES;

/// What the host itself takes of the stack in a call, at most.
const HOST_STACK_BYTES: usize = 1 << 20;

/// Makes a call into a guest where its stack has room: on this thread's own, or on a new one that takes some
/// microseconds.
pub(crate) fn with_stack<T>(call: impl FnOnce() -> T) -> T {
    let room = STACK_BYTES + HOST_STACK_BYTES;
    stacker::maybe_grow(room, THREAD_STACK_BYTES, call)
}

/// Why the engine could not be made.
#[derive(Debug, Error)]
#[error(
    "wasmtime could not be set up ({source:#}); this processor or system lacks something that it needs"
)]
pub struct EngineError {
    source: wasmtime::Error,
}

/// Compiles and links guests. Cheap to clone; one serves a whole process.
#[derive(Clone)]
pub struct GuestEngine {
    engine: Engine,
    linker: Arc<Linker<HostState>>,
    has_images: bool,
    pub(crate) compiled: Option<CompiledCode>,
}

impl std::fmt::Debug for GuestEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestEngine").finish_non_exhaustive()
    }
}

impl GuestEngine {
    /// An engine with the settings that determinism needs.
    ///
    /// # Errors
    /// [`EngineError`] where wasmtime refuses this machine.
    pub fn new() -> Result<Self, EngineError> {
        let refused = |source| EngineError { source };
        let mut config = config();
        let memories = map::creator();
        let has_images = memories.is_some();
        if let Some(memories) = memories {
            // A memory of ours begins as zeros or as an image, never as wasmtime's own copy of the data segments.
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
        })
    }

    pub(crate) fn wasmtime(&self) -> &Engine {
        &self.engine
    }

    /// Whether its memories can be frozen.
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
        // The bits of a NaN differ between processors, and a guest can look at them.
        .cranelift_nan_canonicalization(true)
        // Its results are left to the processor.
        .wasm_relaxed_simd(false)
        // Two threads that share memory have no order that all nodes agree on. Threads need no setting: this build of
        // wasmtime is without its feature `threads`, so that a shared memory and atomics are refused, which a test
        // of `check` sees to.
        // Nothing here is asynchronous, and without it a call across the boundary costs half.
        .concurrency_support(false)
        // The only measure of work that is equal on every node; a clock is not.
        .consume_fuel(true)
        // How deep a guest may recurse. It is a limit of the node, not a replicated one: see `GuestFailure`.
        .async_stack_size(2 * STACK_BYTES)
        .max_wasm_stack(STACK_BYTES)
        // A guest is compiled once and runs for months.
        .cranelift_opt_level(OptLevel::Speed);
    config
}
