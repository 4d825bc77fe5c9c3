//! The WIT, and the sources of the SDK for Rust, as this program contains them: paths from the root of the repository,
//! and contents. `build.rs` lists them.

include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The manifest of the workspace, which the manifests of the SDK refer to.
pub(crate) const WORKSPACE: &str = include_str!("../../../Cargo.toml");
