//! Why a call into a guest did not succeed.

use thiserror::Error;
use wasmtime::{Trap, WasmBacktrace};

use crate::guest::instrument::TOO_DEEP;
use crate::records::failure::GuestFailure;

/// A failed call: the guest failed, or this node did.
#[derive(Debug, Error)]
pub(crate) enum GuestCallError {
    #[error(transparent)]
    Guest(GuestFailure),
    /// The operating system refused memory although the guest was within its limit.
    #[error(
        "this machine has no memory left for the guest, which is within its limit; give the machine more memory, or lower the memory limit on every node"
    )]
    NodeOutOfMemory,
    /// The client of the query has gone, so the host ended the call.
    #[error("the client has gone")]
    ClientGone,
}

/// What is known about a failed call besides the engine's error.
pub(crate) struct Circumstances {
    /// The limiter refused memory or table elements in this call.
    pub(crate) memory_denied: bool,
    /// The operating system refused memory that the limiter had granted.
    pub(crate) node_denied: bool,
    /// What the guest wrote about an error.
    pub(crate) error_quote: Option<String>,
    /// The stack limit in bytes.
    pub(crate) stack_bytes: u64,
}

/// Classifies a failed call.
///
/// A guest whose allocation fails usually traps with `unreachable`. So if the limiter refused memory in this call, any
/// trap counts as [`GuestFailure::OutOfMemory`], except running out of fuel or of stack, which are exact.
pub(crate) fn classify(error: &wasmtime::Error, circumstances: Circumstances) -> GuestCallError {
    if circumstances.node_denied {
        return GuestCallError::NodeOutOfMemory;
    }
    if let Some(failure) = error.downcast_ref::<GuestFailure>() {
        return GuestCallError::Guest(failure.clone());
    }
    if exceeds_stack_limit(error) {
        let limit = circumstances.stack_bytes;
        return GuestCallError::Guest(GuestFailure::TooDeep { limit });
    }
    GuestCallError::Guest(match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => GuestFailure::OutOfFuel,
        Some(Trap::StackOverflow) => GuestFailure::StackOverflow,
        _ if circumstances.memory_denied => GuestFailure::OutOfMemory,
        Some(trap) => GuestFailure::Trap {
            message: with_quote(&trap.to_string(), circumstances.error_quote),
        },
        None => GuestFailure::Trap {
            message: with_quote(&error.root_cause().to_string(), circumstances.error_quote),
        },
    })
}

/// Whether the trap is the one of an instrumented guest at its stack limit.
fn exceeds_stack_limit(error: &wasmtime::Error) -> bool {
    let frames = error.downcast_ref::<WasmBacktrace>();
    let innermost = frames.and_then(|trace| trace.frames().first());
    innermost.is_some_and(|frame| frame.func_name() == Some(TOO_DEEP))
}

/// The guest's own words come first: the engine knows only that it trapped.
fn with_quote(message: &str, error_quote: Option<String>) -> String {
    match error_quote {
        Some(quote) => format!("{quote}; {message}"),
        None => message.to_owned(),
    }
}
