//! Compiled code that a node keeps, so that it compiles a module once and not at every start.
//!
//! ```text
//! offset  bytes  content
//!      0      8  "OARLOCKN"
//!      8     32  SHA-256 of what follows
//!     40      n  the compiled component, as wasmtime serializes it
//! ```
//!
//! It is kept under the digest of the module's bytes and a fingerprint of everything that it was made with: the
//! engine's version and settings, the processor's features, and what makes components of core modules. So what was made by
//! another version is not found; what is damaged is thrown away, and the module is compiled again. Compiled code never
//! travels: nodes replicate `.wasm` bytes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::check;
use crate::engine::GuestEngine;
use crate::module::Sha256;

const MAGIC: &[u8; 8] = b"OARLOCKN";
const HEADER_BYTES: usize = MAGIC.len() + 32;

/// Where compiled code is kept: named bytes, private to this node.
///
/// # Safety
/// It is machine code that this process will run. What [`read`](Self::read) returns under a name must be nothing
/// that anybody but this user's own nodes has [written](Self::write), whatever became of it since. Code that has
/// been damaged is recognized by its checksum; code that was forged is not.
#[allow(unsafe_code, reason = "it makes a promise on which `load` relies")]
pub unsafe trait CompiledStore: Send + Sync {
    /// What was kept under a name, if anything was and it can be read.
    fn read(&self, name: &str) -> Option<Vec<u8>>;
    /// Keeps something under a name, if there is room for it. It may be gone at any time.
    fn write(&self, name: &str, bytes: &[u8]);
    /// Throws away what is kept under a name.
    fn discard(&self, name: &str);
}

/// The compiled code of one engine.
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

    /// The compiled component of a module, if it is kept whole.
    pub(crate) fn find(&self, engine: &Engine, module: Sha256) -> Option<Component> {
        let name = self.name(module);
        let sealed = self.store.read(&name)?;
        let found = open(&sealed)
            .ok_or_else(|| "its checksum does not fit".to_owned())
            .and_then(|code| load(engine, code).map_err(|error| format!("{error:#}")));
        match found {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%module, error, "compiled code is damaged, compiling again");
                self.store.discard(&name);
                None
            }
        }
    }

    /// Keeps the compiled component of a module.
    pub(crate) fn keep(&self, module: Sha256, component: &Component) {
        match component.serialize() {
            Ok(code) => self.store.write(&self.name(module), &seal(&code)),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(%module, error, "compiled code can't be kept");
            }
        }
    }
}

impl GuestEngine {
    /// The same engine, which keeps what it compiles and finds it again.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn CompiledStore>) -> Self {
        self.compiled = Some(CompiledCode::new(self.wasmtime(), store));
        self
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
    // SAFETY: `deserialize` wants bytes that `serialize` of a compatible engine wrote. Whoever made the store promised
    // that only nodes of this user write to it, and they write what `keep` seals. That these are the very bytes that were
    // sealed, the checksum in `open` has just said, over the copy in memory that is loaded here, so the file may change
    // meanwhile. That the engine is compatible, the name says, which holds the fingerprint; and `deserialize` compares
    // version and settings, which it names, once more.
    unsafe { Component::deserialize(engine, code) }
}

/// Everything beside a module's bytes that its compiled code depends on.
fn fingerprint(engine: &Engine) -> Sha256 {
    let mut hasher = Fingerprint(sha2::Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.write(&check::encoder_sample());
    Sha256(hasher.0.finalize().into())
}

/// A hasher that gives more than 64 bits.
struct Fingerprint(sha2::Sha256);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("only all of it is asked for")
    }
}

#[cfg(test)]
mod tests;
