//! guide

extern crate self as oarlock_guest;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[path = "wasm.rs"]
pub mod __wasm;
pub mod codec;
mod context;
mod engine;
mod json_text;
mod machine;
mod refusal;
mod snapshot;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use context::{Apply, Event, Level, Read};
pub use json_text::JsonText;
pub use machine::{Guest, StateMachine};
pub use oarlock_guest_macros::state_machine;
pub use refusal::Refusal;
pub use snapshot::{MigrateError, OldState, RestoreError, SnapshotError};
