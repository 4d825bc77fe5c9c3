//! Projects of guests: created from a template, and built with the tools of their language.
//!
//! [`create`] writes a new project. [`Project::find`] reads the `oarlock.toml` of a project, and [`Project::build`]
//! makes its module, `build/NAME.wasm`, with cargo, `componentize-py`, `componentize-js`, clang or Go. Nothing here runs
//! a module.
//!
//! The modules are layers. A module uses only modules below it:
//!
//! ```text
//! create     templates, and the SDK as this program contains it
//! build      one module for each language
//! project    oarlock.toml
//! tools      programs that a build runs
//! sources    the WIT, and the sources of the SDK
//! language, kind, error
//! ```

mod build;
mod create;
mod error;
mod kind;
mod language;
mod project;
mod sources;
mod tools;

pub use create::{CreatedProject, NewProject, create};
pub use error::ProjectError;
pub use kind::ProjectKind;
pub use language::Language;
pub use project::{PROJECT_FILE, Project};
