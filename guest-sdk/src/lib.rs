//! Write a replicated state machine as a plain struct and one trait; build it to WebAssembly for Oarlock.
//!
//! # A guest in one page
//!
//! ```
//! use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! use serde::{Deserialize, Serialize};
//!
//! // The state. What `Default` gives is the state of a cluster that has seen no command.
//! #[derive(Default, Serialize, Deserialize)]
//! struct Counter {
//!     value: i64,
//! }
//!
//! // {"add":{"by":5}}
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! enum Command {
//!     Add { by: i64 },
//! }
//!
//! // {"get":{}}
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! enum Query {
//!     Get {},
//! }
//!
//! // {"value":5}
//! #[derive(Debug, PartialEq, Serialize)]
//! struct Value {
//!     value: i64,
//! }
//!
//! #[state_machine(name = "counter", version = 1)]
//! impl StateMachine for Counter {
//!     type Command = Command;
//!     type Reply = Value;
//!     type Query = Query;
//!     type Answer = Value;
//!     type Refusal = Refusal;
//!
//!     fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<Value, Refusal> {
//!         let Command::Add { by } = command;
//!         let value = self.value.checked_add(by);
//!         // Decide first, change after: a refused command changes nothing.
//!         self.value = value.ok_or_else(|| Refusal::new("overflow", "the sum is too large").field("by"))?;
//!         Ok(Value { value: self.value })
//!     }
//!
//!     fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Value, Refusal> {
//!         let Query::Get {} = query;
//!         Ok(Value { value: self.value })
//!     }
//! }
//!
//! // Its tests need no cluster and no WebAssembly.
//! use oarlock_guest::testing::{Harness, assert_live_and_restored_agree};
//!
//! let mut node = Harness::<Counter>::new();
//! assert_eq!(node.send(r#"{"add":{"by":5}}"#).text(), r#"{"value":5}"#);
//! assert_eq!(node.query(Query::Get {}).unwrap(), Value { value: 5 });
//! assert!(node.send(r#"{"add":{}}"#).text().contains("missing field `by`"));
//! assert_live_and_restored_agree::<Counter>([r#"{"add":{"by":5}}"#, r#"{"add":{"by":-7}}"#]);
//! ```
//!
//! `Cargo.toml` asks for a module beside the library that tests use, and for two crates:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//!
//! [dependencies]
//! oarlock-guest = "0.1"
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! `cargo test` runs it as plain Rust; `cargo build --release --target wasm32-unknown-unknown` makes the module
//! that `oarlock serve --state-machine` takes. Nothing has to be done to it in between.
//!
//! # The rules of a replicated state
//!
//! Every node runs the same commands in the same order and has to come to the same state, byte for byte. A
//! module has no clock, no files, no network and no environment, so most of what could differ is out of reach.
//! What is left to you:
//!
//! - **Time and chance come from [`Apply`].** [`Apply::time_ms`] is replicated and never runs backwards.
//! - **No `HashMap` or `HashSet` with their own hasher.** `RandomState` is seeded anew in each instance, so after
//!   a restore the same map has another order: a node that was restored would answer in another order than
//!   one that never stopped. Use `BTreeMap` and `BTreeSet`. The folder of this crate has a `clippy.toml` that
//!   refuses the former; copy it next to your `Cargo.toml`.
//! - **All state is in the struct.** A static or a `#[serde(skip)]` field is gone after a restore.
//! - **A refused command changed nothing.** [`Harness`](testing::Harness) compares the states.
//! - **A panic is a trap**: the host undoes the command completely, and the client reads the code `trap`. The
//!   words of the panic are in the node's log.
//! - **Bound what you keep.** A state that only grows ends at the host's limit on memory.
//!
//! # Commands that do not decode
//!
//! They never reach [`StateMachine::apply`]. With JSON the client reads a 422 that names what is wrong:
//! `{"error":{"code":"bad_command","message":"command `add`: missing field `by`","field":"by"}}`, or `bad_query`.
//! Give your own refusals the same shape with [`Refusal`]. Other codecs are in [`codec`].
//!
//! # Snapshots and new versions
//!
//! The state is written by serde in a compact form that does not describe itself
//! ([postcard](https://postcard.jamesmunns.com)), with its version, length and checksum. So its types must not
//! need that: no `serde_json::Value` (keep a [`JsonText`]), no `#[serde(untagged)]`, `tag`, `flatten` or
//! `skip_serializing_if` in the state. (In commands and replies all of them are fine.)
//!
//! When the type of the state changes, raise the version and write [`StateMachine::migrate`]; without it an
//! older state is refused, and the old module goes on. A state of a newer version is refused always.

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
pub use refusal::Refusal;
pub use snapshot::{MigrateError, OldState, RestoreError, SnapshotError};

/// Makes an `impl StateMachine for X` a guest: gives it a name and, in a module, exports it.
///
/// ```text
/// #[state_machine(name = "counter", version = 1)]
/// #[state_machine(name = "counter", version = 2, codec = "bytes", schema = include_str!("schema.json"))]
/// ```
///
/// | argument | what it is |
/// |---|---|
/// | `name` | short and stable: 1 to 64 characters of a-z, 0-9 and - |
/// | `version` | a whole number from 1 that rises when state or commands change; a snapshot names it |
/// | `codec` | `"json"` (unless you say otherwise), `"bytes"`, or the path of a type that implements [`codec::Codec`] |
/// | `schema` | JSON Schema of commands and queries, for people and tools; empty unless you give it |
///
/// A crate that is built as a module has one such impl, of a type without parameters.
pub use oarlock_guest_macros::state_machine;
