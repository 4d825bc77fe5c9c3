//! Makes a component of a core module.

use std::panic::{self, AssertUnwindSafe};

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wit_component::ComponentEncoder;

/// Module name from which core modules import WASI 0.1.
pub(super) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Encodes a core module with embedded WIT as a component. The error is the encoder's message.
pub(super) fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let message = |error| format!("{error:#}");
    let encode = || {
        ComponentEncoder::default()
            .module(core)
            .map_err(message)?
            // Implements the WASI 0.1 imports of C and Rust guests on top of WASI 0.2. Adds nothing if none is
            // imported.
            .adapter(PREVIEW1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
            .map_err(message)?
            .validate(true)
            .encode()
            .map_err(message)
    };
    // The encoder is written for the output of compilers, and panics on some other input. It shares no state with the
    // rest of the process, so unwinding leaves nothing inconsistent. An overflow of the stack is
    // not caught: that is one reason why a node checks modules in a child process, see `ModuleCheck`.
    panic::catch_unwind(AssertUnwindSafe(encode))
        .unwrap_or_else(|_| Err("its embedded WIT is corrupt".to_owned()))
}

/// Bytes that differ between versions of the encoder or of the adapter: the component of an empty module, which names
/// the encoder's version, and the adapter. Two encoders that differ in either may make different components of one
/// module.
pub(super) fn encoder_sample() -> Vec<u8> {
    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
    let mut sample = encode(EMPTY).unwrap_or_else(String::into_bytes);
    sample.extend_from_slice(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    sample
}

#[cfg(test)]
mod tests;
