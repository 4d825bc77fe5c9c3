//! Tasks of this repository, run as `cargo xtask <task>`.
//!
//! | task | what it does |
//! |---|---|
//! | `wasm-target` | makes `cargo build --target wasm32-unknown-unknown` work |
//! | `guests [--out DIR]` | builds the guests that are kept in the repository, and `dist/SOURCES` |
//! | `guests --languages [--out DIR]` | builds the counter in C, Python and JavaScript, which is not kept |
//! | `checkers` | installs the type checkers of generated clients |
//! | `guests --check` | lists those that are not built from the current sources |
//!
//! Guests are kept built, so that the host builds and passes its tests without the wasm target. A test of this
//! package fails where one is stale.

pub mod checkers;
pub mod guests;
pub mod languages;
pub mod record;
pub mod run;
pub mod sources;
pub mod wasm_target;

use std::path::PathBuf;

/// The root of the repository.
///
/// # Panics
///
/// This package was moved: it stands two folders below the root.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this package stands two folders below the root")
        .to_owned()
}
