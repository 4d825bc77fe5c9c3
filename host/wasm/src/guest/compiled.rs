//! Cache of compiled code, so that a node compiles a module once and not at every start.
//!
//! ```text
//! offset  bytes  content
//!      0      8  "OARLOCKN"
//!      8     32  SHA-256 of what follows
//!     40      n  the compiled component, as wasmtime serializes it
//! ```
//!
//! The name is the digest of the module's bytes and a fingerprint of everything else that determines the code: the
//! engine's version and settings, the processor's features, and the component encoder. So code of another version is
//! not found. Corrupt code is discarded, and the module is compiled again. Nodes replicate `.wasm` bytes, never
//! compiled code.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::guest::encoder;
use crate::records::digest::Sha256;

const MAGIC: &[u8; 8] = b"OARLOCKN";
const HEADER_BYTES: usize = MAGIC.len() + 32;

/// Storage of compiled code: named bytes, private to this node.
///
/// # Safety
/// The bytes are machine code that this process will run. [`read`](Self::read) must return only bytes that nodes of
/// this user have [written](Self::write) under that name; they may have become corrupt since. The checksum detects
/// corrupt code, but not forged code.
#[allow(
    unsafe_code,
    reason = "`load` relies on the contract of implementations"
)]
pub unsafe trait CompiledStore: Send + Sync {
    /// Returns the bytes under a name; `None` if there are none or they can't be read.
    fn read(&self, name: &str) -> Option<Vec<u8>>;
    /// Stores bytes under a name. May do nothing, for example if the disk is full; stored bytes may be removed at any
    /// time.
    fn write(&self, name: &str, bytes: &[u8]);
    /// Removes the bytes under a name.
    fn discard(&self, name: &str);
}

/// The cache of one engine.
#[derive(Clone)]
pub(crate) struct CompiledCode {
    store: Arc<dyn CompiledStore>,
    fingerprint: Sha256,
}

impl CompiledCode {
    pub(crate) fn new(engine: &Engine, store: Arc<dyn CompiledStore>) -> Self {
        Self {
            store,
            fingerprint: fingerprint(engine),
        }
    }

    fn name(&self, module: Sha256) -> String {
        format!("{module}-{}", self.fingerprint)
    }

    /// Finds the compiled component of a module; discards it if it is corrupt.
    pub(crate) fn find(&self, engine: &Engine, module: Sha256) -> Option<Component> {
        let name = self.name(module);
        let sealed = self.store.read(&name)?;
        let found = open(&sealed)
            .ok_or_else(|| "its checksum does not match".to_owned())
            .and_then(|code| load(engine, code).map_err(|error| format!("{error:#}")));
        match found {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%module, error, "compiled code is corrupt; compiling again");
                self.store.discard(&name);
                None
            }
        }
    }

    /// Stores the compiled component of a module.
    pub(crate) fn keep(&self, module: Sha256, component: &Component) {
        match component.serialize() {
            Ok(code) => self.store.write(&self.name(module), &seal(&code)),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(%module, error, "compiled code can't be serialized");
            }
        }
    }
}

fn seal(code: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER_BYTES + code.len());
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&Sha256::of(code).0);
    sealed.extend_from_slice(code);
    sealed
}

fn open(sealed: &[u8]) -> Option<&[u8]> {
    let rest = sealed.strip_prefix(MAGIC)?;
    let (digest, code) = rest.split_first_chunk::<32>()?;
    (Sha256::of(code).0 == *digest).then_some(code)
}

#[allow(unsafe_code, reason = "the only way to load compiled code; see below")]
fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` requires bytes that `serialize` of a compatible engine wrote. By the contract of
    // `CompiledStore` only nodes of this user write to the store, and they write what `keep` seals. The checksum in
    // `open` has just verified that these are the sealed bytes, on the copy in memory that is loaded here, so the file
    // may change meanwhile. The name contains the fingerprint, so the engine is compatible; `deserialize` also compares
    // version and settings.
    unsafe { Component::deserialize(engine, code) }
}

/// Digest of everything besides a module's bytes that its compiled code depends on.
fn fingerprint(engine: &Engine) -> Sha256 {
    let mut hasher = Fingerprint(sha2::Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.write(&encoder::encoder_sample());
    Sha256(hasher.0.finalize().into())
}

/// A `Hasher` whose result is a SHA-256 digest.
struct Fingerprint(sha2::Sha256);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is read instead")
    }
}

#[cfg(test)]
mod tests;
