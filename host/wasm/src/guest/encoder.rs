//! Makes a component of a core module.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wasmparser::{BinaryReader, Parser, Payload};
use wit_component::ComponentEncoder;

/// Module name from which core modules import WASI 0.1.
pub(super) const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Encodes a core module with embedded WIT as a component. The error is the encoder's message.
pub(super) fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let message = |error| format!("{error:#}");
    let encode = || {
        if has_circle(core) {
            return Err("packages of its embedded WIT depend on each other in a circle".to_owned());
        }
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

/// Whether packages of the embedded WIT depend on each other in a circle. The encoder does not check this, and then
/// recurses without an end; found by `fuzz module`.
fn has_circle(core: &[u8]) -> bool {
    let mut dependencies = BTreeMap::<String, BTreeSet<String>>::new();
    for payload in Parser::new(0).parse_all(core).map_while(Result::ok) {
        if let Payload::CustomSection(section) = payload
            && section.name().starts_with("component-type")
            && let Some(wit) = embedded_wit(section.data())
            && let Ok(decoded) = wit_component::decode(wit)
        {
            let resolve = decoded.resolve();
            let name_of = |id| resolve.packages[id].name.to_string();
            for (id, _) in resolve.packages.iter() {
                let needed = resolve.package_direct_deps(id).map(name_of);
                dependencies.entry(name_of(id)).or_default().extend(needed);
            }
        }
    }
    // What is left in the end depends on itself.
    loop {
        let independent: Vec<_> = dependencies
            .iter()
            .filter(|(_, needed)| !needed.iter().any(|name| dependencies.contains_key(name)))
            .map(|(name, _)| name.clone())
            .collect();
        if independent.is_empty() {
            return !dependencies.is_empty();
        }
        for name in independent {
            dependencies.remove(&name);
        }
    }
}

/// The binary of the WIT in a section. The older of the two formats begins with an encoding of strings, and the name of the
/// world.
fn embedded_wit(section: &[u8]) -> Option<&[u8]> {
    const OLD_FORMAT: u8 = 3;
    if section.first() != Some(&OLD_FORMAT) {
        return Some(section);
    }
    let mut reader = BinaryReader::new(section.get(2..)?, 0);
    reader.read_string().ok()?;
    let rest = reader.read_bytes(reader.bytes_remaining()).ok()?;
    Some(rest)
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
