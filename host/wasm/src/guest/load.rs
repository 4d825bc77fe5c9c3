//! Loads a guest: checks, compiles and starts what was given.

use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::guest::check::{CheckError, CheckReason, Surface};
use crate::guest::encoder::{self, PREVIEW1};
use crate::guest::engine::GuestEngine;
use crate::guest::guest_log::GuestLog;
use crate::guest::instance::{Instance, InstantiateError};
use crate::guest::instrument;
use crate::guest::limits::MachineLimits;
use crate::guest::loaded::LoadedCode;
use crate::guest::module::{Description, GuestModule, Linked};
use crate::guest::module_check::ModuleCheck;
use crate::guest::rules::Rules;
use crate::guest::shape;
use crate::images::{RollbackMethod, fit};
use crate::records::digest::Sha256;

/// First bytes of a wasm binary, and the bytes after them that mark a component.
const MAGIC: &[u8] = b"\0asm";
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// Longest name and codec of a guest, and longest schema, in bytes.
const NAME_BYTES: usize = 128;
const SCHEMA_BYTES: usize = 1 << 20;

impl GuestModule {
    /// Checks and compiles a guest: a component, a core module with embedded WIT, or the text format of either. Starts
    /// it once, to read its description and to restore a snapshot of its initial state.
    ///
    /// # Errors
    /// [`CheckError`] with every reason that was found.
    pub fn load(
        engine: &GuestEngine,
        bytes: impl Into<Bytes>,
        limits: &MachineLimits,
    ) -> Result<Self, CheckError> {
        let bytes = bytes.into();
        load(engine, bytes, limits, engine.check.as_deref())
    }

    /// Loads another guest with the engine of this one, for an upgrade.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_another(
        &self,
        bytes: impl Into<Bytes>,
        limits: &MachineLimits,
    ) -> Result<Self, CheckError> {
        Self::load(self.engine(), bytes, limits)
    }

    /// Whether these bytes begin as a WebAssembly binary does.
    #[must_use]
    pub fn is_binary(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// The bytes of a module, or the binary of its text format.
    ///
    /// # Errors
    /// The bytes are neither.
    pub fn binary_of(bytes: Bytes) -> Result<Bytes, CheckReason> {
        if Self::is_binary(&bytes) {
            return Ok(bytes);
        }
        let not_wasm = |message| CheckReason::NotWasm { message };
        let text = std::str::from_utf8(&bytes).map_err(|error| not_wasm(error.to_string()))?;
        let parsed = wat::parse_str(text).map_err(|error| not_wasm(error.to_string()))?;
        Ok(parsed.into())
    }

    /// The same guest under these rules of execution and this stack limit. Compiles it if it was not used with them
    /// before.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn under(&self, limits: &MachineLimits) -> Result<Self, CheckError> {
        let rules = Rules::of(limits);
        if rules == self.rules() {
            return Ok(self.clone());
        }
        if let Some(known) = self.variants().find(rules) {
            return Ok(known);
        }
        // The bytes passed the check of another process under the rules before. The applying thread may wait for this.
        let variant = load(self.engine(), self.bytes().clone(), limits, None)?;
        Ok(self.variants().add(self, variant))
    }
}

fn load(
    engine: &GuestEngine,
    bytes: Bytes,
    limits: &MachineLimits,
    check: Option<&dyn ModuleCheck>,
) -> Result<GuestModule, CheckError> {
    limits.validate().map_err(CheckReason::Limits)?;
    check_size(&bytes, limits)?;
    let digest = Sha256::of(&bytes);
    // The binary of a text depends on the parser as well, which the fingerprint does not cover.
    let store = engine
        .compiled
        .as_ref()
        .filter(|_| bytes.starts_with(MAGIC));
    let rules = Rules::of(limits);
    let code = rules.code_of(digest);
    let in_use = engine.loaded.find(digest, rules);
    let find = || store.and_then(|store| store.find(engine.wasmtime(), code));
    let mut kept = if in_use.is_none() { find() } else { None };
    if in_use.is_none() && kept.is_none() {
        // The shape of a text is checked when it is parsed.
        if GuestModule::is_binary(&bytes) {
            shape::check(&bytes).map_err(CheckReason::from)?;
        }
        if let Some(check) = check {
            check.check(&bytes, limits)?;
            kept = find();
        }
    }
    let is_cached = in_use.is_some() || kept.is_some();
    let in_use = match in_use {
        Some(in_use) => in_use,
        None => engine.loaded.add(LoadedCode {
            sha256: digest,
            rules,
            component: kept.map_or_else(|| compile(engine.wasmtime(), &bytes, rules), Ok)?,
            rollback: rollback_method(engine, &bytes)?,
        }),
    };
    let component = &in_use.component;
    let method = in_use.rollback.clone();
    let surface = Surface::of(engine.wasmtime(), component);
    let mut reasons = surface.faults;
    let linked = if reasons.is_empty() {
        Some(engine.linker().instantiate_pre(component))
    } else {
        None
    };
    let pre = match linked {
        Some(Ok(pre)) => pre,
        Some(Err(error)) => {
            reasons.push(CheckReason::WrongImport {
                message: format!("{error:#}"),
            });
            return Err(CheckError { reasons });
        }
        None => return Err(CheckError { reasons }),
    };
    let linked = Linked::new(pre, Arc::clone(&in_use)).map_err(|error| CheckReason::WrongType {
        message: format!("{error:#}"),
    })?;
    let module = GuestModule::new(
        engine.clone(),
        bytes,
        digest,
        surface.exports,
        surface.imports,
        linked,
        method,
        rules,
    );
    let module = try_out(module, limits)?;
    if let Some(store) = store
        && !is_cached
    {
        store.keep(code, component);
    }
    Ok(module)
}

/// How a guest is rolled back after a failed call.
fn rollback_method(engine: &GuestEngine, bytes: &Bytes) -> Result<RollbackMethod, CheckReason> {
    if !engine.has_images() {
        let because = "this system does not support memory images".to_owned();
        return Ok(RollbackMethod::Replay { because });
    }
    // The encoder adds no code with state of its own, except for the adapter of WASI 0.1. Functions of WASI 0.2 may return
    // handles, which only the types of the component show.
    let core = bytes.starts_with(MAGIC) && bytes.get(4..8) != Some(COMPONENT);
    let is_wasi = |module: &str| module == PREVIEW1 || module.starts_with("wasi:");
    let binary = if core && !fit::imports_from(is_wasi, bytes) {
        bytes.clone()
    } else {
        component_binary(engine.wasmtime(), bytes)?
    };
    Ok(match fit::fits(&binary) {
        Ok(()) => RollbackMethod::Images,
        Err(because) => RollbackMethod::Replay { because },
    })
}

fn check_size(bytes: &Bytes, limits: &MachineLimits) -> Result<(), CheckReason> {
    if bytes.is_empty() {
        return Err(CheckReason::Empty);
    }
    if bytes.len() as u64 > limits.module_bytes {
        return Err(CheckReason::TooLarge {
            bytes: bytes.len() as u64,
            limit: limits.module_bytes,
        });
    }
    Ok(())
}

/// Compiles a component, a core module or text.
fn compile(engine: &Engine, bytes: &Bytes, rules: Rules) -> Result<Component, CheckReason> {
    let mut binary = component_binary(engine, bytes)?;
    if let Rules::BoundedStack { bytes } = rules {
        let instrumented = instrument::bound_stack(&binary, bytes);
        binary = instrumented.map(Bytes::from).map_err(|message| {
            let message = format!("its recursion can't be bounded: {message}");
            CheckReason::Invalid { message }
        })?;
    }
    Component::from_binary(engine, &binary).map_err(|error| CheckReason::Invalid {
        message: format!("{error:#}"),
    })
}

/// The binary of the component: as given, parsed from text, or encoded from a core module.
fn component_binary(engine: &Engine, bytes: &Bytes) -> Result<Bytes, CheckReason> {
    let binary = GuestModule::binary_of(bytes.clone())?;
    if !GuestModule::is_binary(bytes) {
        shape::check(&binary)?;
    }
    if binary.get(4..8) == Some(COMPONENT) {
        return Ok(binary);
    }
    Module::validate(engine, &binary).map_err(|error| CheckReason::Invalid {
        message: format!("{error:#}"),
    })?;
    encoder::encode(&binary)
        .map(Bytes::from)
        .map_err(|message| CheckReason::NotComponent { message })
}

/// Starts a guest, reads its description and its layout, and restores a snapshot of its initial state into another instance.
fn try_out(module: GuestModule, limits: &MachineLimits) -> Result<GuestModule, CheckError> {
    let log = Arc::new(GuestLog::new());
    let mut instance = start(&module, limits, &log)?;
    let described = instance
        .describe()
        .map_err(|error| CheckReason::DescribeFailed {
            message: error.to_string(),
        })?;
    let mut description = described.unwrap_or_else(Description::unnamed);
    description.layout = instance
        .layout()
        .map_err(|error| CheckReason::LayoutFailed {
            message: error.to_string(),
        })?;
    let faults = faults_of(&description);
    if !faults.is_empty() {
        return Err(CheckError { reasons: faults });
    }
    let fails = |message: String| CheckReason::SnapshotFails { message };
    let chunks = instance
        .snapshot(Moment::default())
        .map_err(|error| fails(error.to_string()))?
        .map_err(fails)?;
    start(&module, limits, &log)?
        .restore(description.version, &chunks)
        .map_err(|error| fails(error.to_string()))?
        .map_err(fails)?;
    Ok(module.with_description(description))
}

fn start(
    module: &GuestModule,
    limits: &MachineLimits,
    log: &Arc<GuestLog>,
) -> Result<Instance, CheckReason> {
    Instance::start(module, limits, log).map_err(|error| match error {
        InstantiateError::WrongType { message } => CheckReason::WrongType { message },
        InstantiateError::Call(_) | InstantiateError::Image(_) => CheckReason::DoesNotStart {
            message: error.to_string(),
        },
    })
}

fn faults_of(description: &Description) -> Vec<CheckReason> {
    let fields = [
        ("name", &description.name, 1, NAME_BYTES),
        ("codec", &description.codec, 1, NAME_BYTES),
        ("schema", &description.schema, 0, SCHEMA_BYTES),
    ];
    let fault = |(field, text, least, limit): (&'static str, &String, usize, usize)| {
        (text.len() < least || text.len() > limit).then_some(CheckReason::BadDescription {
            field,
            bytes: text.len(),
            limit,
        })
    };
    let mut faults: Vec<_> = fields.into_iter().filter_map(fault).collect();
    if let Some(layout) = &description.layout
        && !is_fingerprint(layout)
    {
        let bytes = layout.len();
        faults.push(CheckReason::BadLayout { bytes });
    }
    faults
}

/// Whether a text can be a fingerprint of a layout: it is shown in tables and errors.
fn is_fingerprint(text: &str) -> bool {
    text.len() <= NAME_BYTES && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

#[cfg(test)]
mod tests;
