//! The command `oarlock check-module`, which a node runs as a child process: it limits itself, reads a module and loads it.

use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::thread;

use oarlock_wasm::{GuestEngine, GuestModule};

use crate::cli::CheckModuleArgs;
use crate::compiled::CompiledDir;
use crate::exit::Failure;
use crate::module_check::request;
use crate::resource_limits::{self, Resource, ResourceLimit};

/// Stack of the thread that parses the module, in bytes. Less than that of the node's threads, so that a module that passes
/// here does not overflow one of them.
const STACK_BYTES: usize = 3 << 19;

/// Checks the module on standard input, and prints the reasons why a node refuses it, as a JSON array.
///
/// # Errors
/// The request is not complete, or this system can't run guests.
pub(crate) fn check_module(args: CheckModuleArgs) -> Result<(), Failure> {
    std::panic::set_hook(Box::new(print_panic));
    limit_this_process(&args).map_err(Failure::failed)?;
    let checking = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || reasons(args))
        .map_err(Failure::failed)?;
    // The node reads the message of a panic from standard error.
    let panicked = |_| Err(Failure::failed("the check panicked"));
    let reasons = checking.join().unwrap_or_else(panicked)?;
    let answer = serde_json::to_vec(&reasons).map_err(Failure::failed)?;
    io::stdout().write_all(&answer).map_err(Failure::failed)
}

/// Prints the message of a panic in one line.
fn print_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let _ = writeln!(io::stderr(), "panic: {}", message.replace('\n', " "));
}

fn reasons(args: CheckModuleArgs) -> Result<Vec<String>, Failure> {
    let (limits, bytes) = request::read(io::stdin().lock()).map_err(Failure::failed)?;
    let mut engine = GuestEngine::new().map_err(Failure::failed)?;
    if let Some(dir) = args.compiled_dir {
        engine = engine.with_store(Arc::new(CompiledDir::new(dir)));
    }
    Ok(match GuestModule::load(&engine, bytes, &limits) {
        Ok(_) => Vec::new(),
        Err(error) => error.reasons.iter().map(ToString::to_string).collect(),
    })
}

fn limit_this_process(args: &CheckModuleArgs) -> io::Result<()> {
    if args.in_background {
        resource_limits::lower_priority();
    }
    let limits = [
        (Resource::CoreDump, 0),
        (Resource::Memory, args.memory_bytes),
        (Resource::ProcessorTime, args.processor_seconds),
    ];
    for (resource, value) in limits {
        let ResourceLimit { hard, .. } = resource_limits::get(resource)?;
        let soft = hard.min(value);
        resource_limits::set(resource, ResourceLimit { soft, hard })?;
    }
    Ok(())
}
