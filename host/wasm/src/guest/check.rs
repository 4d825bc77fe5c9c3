//! Whether a component is a guest, by the names of its imports and exports; and every reason why not.

use std::fmt;

use thiserror::Error;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::guest::host::IMPORTS;
use crate::guest::limits::LimitsError;
use crate::guest::shape::ShapeFault;
use crate::guest::wasi::surface::{INTERFACES, Interface};

/// Interfaces that a guest may export, with their functions. The first one is required.
pub(super) const EXPORTS: [(&str, &[&str]); 5] = [
    (
        "oarlock:state-machine/machine@0.1.0",
        &["apply", "snapshot", "restore"],
    ),
    ("oarlock:state-machine/queries@0.1.0", &["query"]),
    ("oarlock:state-machine/timers@0.1.0", &["wake"]),
    ("oarlock:state-machine/about@0.1.0", &["describe"]),
    ("oarlock:state-machine/layout@0.1.0", &["fingerprint"]),
];

/// One reason why bytes are not a guest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckReason {
    /// The host's limits are invalid.
    #[error("the host's limits are invalid: {0}")]
    Limits(#[source] LimitsError),
    /// The file is empty.
    #[error("the file is empty; name the file that the build wrote")]
    Empty,
    /// The file is over the limit.
    #[error(
        "the file takes {bytes} bytes, but {limit} is the limit; build it for release, or raise the module size limit"
    )]
    TooLarge {
        /// Size in bytes.
        bytes: u64,
        /// Largest allowed size in bytes.
        limit: u64,
    },
    /// It has too many functions, locals, nested blocks or sections.
    #[error(transparent)]
    Shape(#[from] ShapeFault),
    /// The file is neither WebAssembly nor its text format.
    #[error("the file is neither WebAssembly nor its text format: {message}")]
    NotWasm {
        /// The parser's message.
        message: String,
    },
    /// The file is a core module that can't be made a component.
    #[error(
        "the file is a core module that can't be made a component: {message}; build it with `oarlock-guest` or `wit-bindgen`"
    )]
    NotComponent {
        /// The encoder's message.
        message: String,
    },
    /// The module does not validate, or uses a feature that is disabled for determinism.
    #[error("this host can't run the module: {message}")]
    Invalid {
        /// The engine's message.
        message: String,
    },
    /// An import that the host does not provide.
    #[error(
        "the module imports `{name}`, which the host does not provide: a guest has no files, no network and no environment, and of WASI 0.2 only what a runtime needs to start; remove the import"
    )]
    UnknownImport {
        /// The interface, then `#` and the function.
        name: String,
    },
    /// An import has a name that the host provides, but another type.
    #[error(
        "an import has another type than the host's: {message}; build the module against this version of the WIT"
    )]
    WrongImport {
        /// The engine's message.
        message: String,
    },
    /// A required export is missing.
    #[error("the module does not export `{name}`; implement the world `state-machine`")]
    MissingExport {
        /// The interface, then `#` and the function.
        name: String,
    },
    /// An export has another type than in the WIT.
    #[error(
        "an export has another type than in the contract: {message}; build the module against this version of the WIT"
    )]
    WrongType {
        /// The engine's message.
        message: String,
    },
    /// The guest can't be started.
    #[error("the guest does not start: {message}")]
    DoesNotStart {
        /// How it failed.
        message: String,
    },
    /// The export `describe` fails.
    #[error("`describe` fails: {message}")]
    DescribeFailed {
        /// How it failed.
        message: String,
    },
    /// A field of the description is empty or too long.
    #[error(
        "the {field} in the description takes {bytes} bytes, but 1 to {limit} are allowed; change what `describe` returns"
    )]
    BadDescription {
        /// Name of the field.
        field: &'static str,
        /// Size in bytes.
        bytes: usize,
        /// Largest allowed size in bytes.
        limit: usize,
    },
    /// The export `fingerprint` fails.
    #[error("`fingerprint` of the interface `layout` fails: {message}")]
    LayoutFailed {
        /// How it failed.
        message: String,
    },
    /// The fingerprint of the layout is too long, or contains other characters.
    #[error(
        "the fingerprint of the layout takes {bytes} bytes, but up to 128 printable ASCII characters are allowed; change what `fingerprint` returns"
    )]
    BadLayout {
        /// Size in bytes.
        bytes: usize,
    },
    /// The process that checked the module refused it.
    #[error("{message}")]
    Reported {
        /// Its reason, or what it ran out of.
        message: String,
    },
    /// The initial state can't be written to a snapshot and restored.
    #[error("a snapshot of the initial state can't be written and restored: {message}")]
    SnapshotFails {
        /// How it failed.
        message: String,
    },
}

/// The file is not a guest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct CheckError {
    /// Every reason that was found; never empty. A fault that prevents further checks hides later ones.
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

/// Imports and exports of a component, by name.
pub(super) struct Surface {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    /// Imports that the host does not provide, and required exports that are missing.
    pub(super) faults: Vec<CheckReason>,
}

impl Surface {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let ty = component.component_type();
        let mut surface = Self {
            imports: Vec::new(),
            exports: Vec::new(),
            faults: Vec::new(),
        };
        for (name, item) in ty.imports(engine) {
            surface.imports.push(name.to_owned());
            surface.check_import(engine, name, &item.ty);
        }
        let exports: Vec<_> = ty.exports(engine).collect();
        for (interface, functions) in EXPORTS {
            let found = exports
                .iter()
                .find(|(name, _)| is_compatible(name, interface));
            match found {
                Some((name, item)) => {
                    surface.exports.push((*name).to_owned());
                    surface.check_export(engine, name, functions, &item.ty);
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

    fn check_import(&mut self, engine: &Engine, name: &str, item: &ComponentItem) {
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

    fn check_export(
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

/// An interface that the host provides.
enum HostInterface {
    Ours(&'static [&'static str]),
    Wasi(&'static Interface),
}

impl HostInterface {
    fn of(name: &str) -> Option<Self> {
        let ours = IMPORTS
            .iter()
            .find(|(interface, _)| is_compatible(name, interface))
            .map(|(_, functions)| Self::Ours(functions));
        ours.or_else(|| {
            INTERFACES
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

/// Whether two versioned names mean the same interface, by the rule of the engine's linker: equal before the `@`, and
/// of the same `0.minor` version, or from 1.0 on of the same major version, without a pre-release.
fn is_compatible(name: &str, known: &str) -> bool {
    match (name.split_once('@'), known.split_once('@')) {
        (Some((name, version)), Some((known, known_version))) => {
            name == known
                && (version == known_version
                    || compatible_range(version) == compatible_range(known_version))
        }
        _ => name == known,
    }
}

fn compatible_range(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    match (parts.next()??, parts.next()??, parts.next()??) {
        (0, minor, _) => Some((0, minor)),
        (major, _, _) => Some((major, 0)),
    }
}

#[cfg(test)]
mod tests;
