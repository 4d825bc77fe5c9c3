//! Whether bytes are a guest, with every reason why not.

use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;
use thiserror::Error;
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;
use wasmtime::{Engine, Module};
use wit_component::ComponentEncoder;

use crate::engine::GuestEngine;
use crate::guest_log::GuestLog;
use crate::host::IMPORTS;
use crate::images::{RollbackMethod, fit};
use crate::instance::{Instance, InstantiateError};
use crate::limits::{LimitsError, MachineLimits};
use crate::module::{Description, GuestModule, Linked, Sha256};
use crate::wasi;

/// Interfaces that a guest may export, with their functions; the first is the one that it must.
const EXPORTS: [(&str, &[&str]); 4] = [
    (
        "oarlock:state-machine/machine@0.1.0",
        &["apply", "snapshot", "restore"],
    ),
    ("oarlock:state-machine/queries@0.1.0", &["query"]),
    ("oarlock:state-machine/timers@0.1.0", &["wake"]),
    ("oarlock:state-machine/about@0.1.0", &["describe"]),
];

/// The least a wasm binary starts with: magic, version, and what it is.
const MAGIC: &[u8] = b"\0asm";
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// What core modules call WASI 0.1.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Longest name and codec of a guest, and longest schema, in bytes.
const NAME_BYTES: usize = 128;
const SCHEMA_BYTES: usize = 1 << 20;

/// One reason why bytes are not a guest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckReason {
    /// The limits themselves make no sense.
    #[error("the host's limits can't be used: {0}")]
    Limits(#[source] LimitsError),
    /// There is nothing.
    #[error("it is empty; name the file that the build wrote")]
    Empty,
    /// It is over the limit.
    #[error(
        "it takes {bytes} bytes, but {limit} is the limit; build it for release, or raise the limit of modules"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// How large it may be.
        limit: u64,
    },
    /// It is neither wasm nor its text.
    #[error("it is neither WebAssembly nor its text: {message}")]
    NotWasm {
        /// What the parser says.
        message: String,
    },
    /// It is a core module of which no component can be made.
    #[error(
        "it is a core module, and no component can be made of it: {message}; build it with `oarlock-guest` or `wit-bindgen`"
    )]
    NotComponent {
        /// What the encoder says.
        message: String,
    },
    /// It does not validate, or uses a feature that is off for the sake of determinism.
    #[error("it is not a component that this host can run: {message}")]
    Invalid {
        /// What the engine says.
        message: String,
    },
    /// It wants something that the host doesn't give.
    #[error(
        "it imports `{name}`, which the host does not have: a guest has no files, no network and no environment, and of WASI 0.2 what a runtime needs to start; leave it out"
    )]
    UnknownImport {
        /// The interface, and the function after a `#`.
        name: String,
    },
    /// It wants something under a name that the host has, with another type.
    #[error(
        "an import has another type than the host's: {message}; build it against this version of the WIT"
    )]
    WrongImport {
        /// What the engine says.
        message: String,
    },
    /// It lacks an export.
    #[error("it does not export `{name}`; implement it, as the world `state-machine` says")]
    MissingExport {
        /// The interface, and the function after a `#`.
        name: String,
    },
    /// An export has another type than the WIT's.
    #[error(
        "an export has another type than the contract's: {message}; build it against this version of the WIT"
    )]
    WrongType {
        /// What the engine says.
        message: String,
    },
    /// It can't be started.
    #[error("it does not start: {message}")]
    DoesNotStart {
        /// How it failed.
        message: String,
    },
    /// It fails when it is asked who it is.
    #[error("it fails at `describe`: {message}")]
    DescribeFailed {
        /// How it failed.
        message: String,
    },
    /// What it says of itself is too long or empty.
    #[error(
        "its {field} takes {bytes} bytes, and 1 to {limit} are allowed; change what it describes itself as"
    )]
    BadDescription {
        /// Which part.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Its first state does not survive a snapshot.
    #[error("a snapshot of its first state can't be written and read again: {message}")]
    SnapshotFails {
        /// How it failed.
        message: String,
    },
}

/// Bytes are not a guest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct CheckError {
    /// Every reason that was found, never empty. What comes after a fault that hides the rest is not in it.
    pub reasons: Vec<CheckReason>,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host refuses this module: ")?;
        for (position, reason) in self.reasons.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            reason.fmt(f)?;
        }
        Ok(())
    }
}

impl From<CheckReason> for CheckError {
    fn from(reason: CheckReason) -> Self {
        Self {
            reasons: vec![reason],
        }
    }
}

/// Checks, compiles and starts a guest.
pub(crate) fn check(
    engine: &GuestEngine,
    bytes: Bytes,
    limits: &MachineLimits,
) -> Result<GuestModule, CheckError> {
    limits.validate().map_err(CheckReason::Limits)?;
    fits(&bytes, limits)?;
    let digest = Sha256::of(&bytes);
    // What is made of a text depends on its parser too, which no fingerprint knows.
    let store = engine
        .compiled
        .as_ref()
        .filter(|_| bytes.starts_with(MAGIC));
    let kept = store.and_then(|store| store.find(engine.wasmtime(), digest));
    let is_kept = kept.is_some();
    let component = kept.map_or_else(|| compile(engine.wasmtime(), &bytes), Ok)?;
    let undo = undo(engine, &bytes)?;
    let surface = Surface::of(engine.wasmtime(), &component);
    let mut reasons = surface.faults;
    let linked = if reasons.is_empty() {
        Some(engine.linker().instantiate_pre(&component))
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
    let linked = Linked::new(pre).map_err(|error| CheckReason::WrongType {
        message: format!("{error:#}"),
    })?;
    let module = GuestModule::new(
        engine.clone(),
        bytes,
        digest,
        surface.exports,
        surface.imports,
        linked,
        undo,
    );
    let module = try_out(module, limits)?;
    if let Some(store) = store
        && !is_kept
    {
        store.keep(digest, &component);
    }
    Ok(module)
}

/// How a guest comes back after a call that failed.
fn undo(engine: &GuestEngine, bytes: &Bytes) -> Result<RollbackMethod, CheckReason> {
    if !engine.has_images() {
        let because = "this system has no memory images".to_owned();
        return Ok(RollbackMethod::Replay { because });
    }
    // What makes a component of a core module keeps no state, unless that is the adapter of WASI 0.1.
    let core = bytes.starts_with(MAGIC) && bytes.get(4..8) != Some(COMPONENT);
    let binary = if core && !fit::imports_from(PREVIEW1, bytes) {
        bytes.clone()
    } else {
        component_binary(engine.wasmtime(), bytes)?
    };
    Ok(match fit::fits(&binary) {
        Ok(()) => RollbackMethod::Images,
        Err(because) => RollbackMethod::Replay { because },
    })
}

/// Looks whether the bytes are there and not too many.
fn fits(bytes: &Bytes, limits: &MachineLimits) -> Result<(), CheckReason> {
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

/// Compiles what was given.
fn compile(engine: &Engine, bytes: &Bytes) -> Result<Component, CheckReason> {
    let binary = component_binary(engine, bytes)?;
    Component::from_binary(engine, &binary).map_err(|error| CheckReason::Invalid {
        message: format!("{error:#}"),
    })
}

/// Makes the bytes of a component from what was given.
fn component_binary(engine: &Engine, bytes: &Bytes) -> Result<Bytes, CheckReason> {
    let binary = if bytes.starts_with(MAGIC) {
        bytes.clone()
    } else {
        let text = std::str::from_utf8(bytes).map_err(|error| CheckReason::NotWasm {
            message: error.to_string(),
        })?;
        let parsed = wat::parse_str(text).map_err(|error| CheckReason::NotWasm {
            message: error.to_string(),
        })?;
        parsed.into()
    };
    if binary.get(4..8) == Some(COMPONENT) {
        return Ok(binary);
    }
    Module::validate(engine, &binary).map_err(|error| CheckReason::Invalid {
        message: format!("{error:#}"),
    })?;
    encode(&binary)
        .map(Bytes::from)
        .map_err(|message| CheckReason::NotComponent { message })
}

/// Makes a component of a core module.
fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let words = |error| format!("{error:#}");
    let encode = || {
        ComponentEncoder::default()
            .module(core)
            .map_err(words)?
            // C and Rust for WASI 0.1: what they import is made of 0.2 by this, which adds nothing where it isn't used.
            .adapter(PREVIEW1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
            .map_err(words)?
            .validate(true)
            .encode()
            .map_err(words)
    };
    // The encoder is made for what compilers write, and panics at some bytes that none did. It shares nothing with
    // the rest of the process, so there is nothing to find half done. Known and not caught: WIT forged so that two of
    // its packages need each other makes the encoder recurse without end, which aborts the process.
    panic::catch_unwind(AssertUnwindSafe(encode))
        .unwrap_or_else(|_| Err("its embedded WIT is damaged".to_owned()))
}

/// What the encoder makes of next to nothing, which names its version, and the adapter: two encoders that differ in either
/// may make different components of one module.
pub(crate) fn encoder_sample() -> Vec<u8> {
    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
    let mut sample = encode(EMPTY).unwrap_or_else(String::into_bytes);
    sample.extend_from_slice(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    sample
}

/// What a component has and wants, by names.
struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
    faults: Vec<CheckReason>,
}

impl Surface {
    fn of(engine: &Engine, component: &Component) -> Self {
        let ty = component.component_type();
        let mut surface = Self {
            imports: Vec::new(),
            exports: Vec::new(),
            faults: Vec::new(),
        };
        for (name, item) in ty.imports(engine) {
            surface.imports.push(name.to_owned());
            surface.look_at_import(engine, name, &item.ty);
        }
        let exports: Vec<_> = ty.exports(engine).collect();
        for (interface, functions) in EXPORTS {
            let found = exports
                .iter()
                .find(|(name, _)| is_compatible(name, interface));
            match found {
                Some((name, item)) => {
                    surface.exports.push((*name).to_owned());
                    surface.look_at_export(engine, name, functions, &item.ty);
                }
                None if interface == EXPORTS[0].0 => {
                    surface.faults.push(CheckReason::MissingExport {
                        name: interface.to_owned(),
                    });
                }
                None => {}
            }
        }
        surface
    }

    fn look_at_import(&mut self, engine: &Engine, name: &str, item: &ComponentItem) {
        let (Some(known), ComponentItem::ComponentInstance(instance)) =
            (HostInterface::of(name), item)
        else {
            self.faults.push(CheckReason::UnknownImport {
                name: name.to_owned(),
            });
            return;
        };
        for (function, item) in instance.exports(engine) {
            let is_type = matches!(item.ty, ComponentItem::Type(_));
            if !is_type && !known.has(function) {
                self.faults.push(CheckReason::UnknownImport {
                    name: format!("{name}#{function}"),
                });
            }
        }
    }

    fn look_at_export(
        &mut self,
        engine: &Engine,
        name: &str,
        functions: &[&str],
        item: &ComponentItem,
    ) {
        for function in functions {
            let found = match item {
                ComponentItem::ComponentInstance(instance) => {
                    instance.get_export(engine, function).map(|item| item.ty)
                }
                _ => None,
            };
            if !matches!(found, Some(ComponentItem::ComponentFunc(_))) {
                self.faults.push(CheckReason::MissingExport {
                    name: format!("{name}#{function}"),
                });
            }
        }
    }
}

/// An interface that the host has.
enum HostInterface {
    Ours(&'static [&'static str]),
    Wasi(&'static wasi::surface::Interface),
}

impl HostInterface {
    fn of(name: &str) -> Option<Self> {
        let ours = IMPORTS
            .iter()
            .find(|(interface, _)| is_compatible(name, interface))
            .map(|(_, functions)| Self::Ours(functions));
        ours.or_else(|| {
            wasi::surface::INTERFACES
                .iter()
                .find(|interface| is_compatible(name, interface.name))
                .map(Self::Wasi)
        })
    }

    fn has(&self, function: &str) -> bool {
        match self {
            Self::Ours(functions) => functions.contains(&function),
            Self::Wasi(interface) => interface.has(function),
        }
    }
}

/// Whether two names with versions mean the same interface: equal before the `@`, and of the same `0.minor`, or from
/// 1.0 on of the same major, without a pre-release. The rule by which the engine links.
fn is_compatible(name: &str, known: &str) -> bool {
    match (name.split_once('@'), known.split_once('@')) {
        (Some((name, version)), Some((known, known_version))) => {
            name == known && (version == known_version || track(version) == track(known_version))
        }
        _ => name == known,
    }
}

fn track(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    match (parts.next()??, parts.next()??, parts.next()??) {
        (0, minor, _) => Some((0, minor)),
        (major, _, _) => Some((major, 0)),
    }
}

/// Starts a guest, asks who it is and sends its first state through a snapshot.
fn try_out(module: GuestModule, limits: &MachineLimits) -> Result<GuestModule, CheckError> {
    let log = Arc::new(GuestLog::new());
    let mut instance = start(&module, limits, &log)?;
    let described = instance
        .describe()
        .map_err(|error| CheckReason::DescribeFailed {
            message: error.to_string(),
        })?;
    let description = described.unwrap_or_default();
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
    fields.into_iter().filter_map(fault).collect()
}

#[cfg(test)]
mod tests;
