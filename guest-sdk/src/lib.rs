//! Write a replicated state machine as a plain struct and one trait; build it to WebAssembly for Oarlock.
//!
//! # A guest in one page
//!
//! ```
//! use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! use serde::{Deserialize, Serialize};
//!
//! // The state. Its default value is the state of a cluster without any command.
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
//!     type Response = Value;
//!     type Refusal = Refusal;
//!
//!     fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<Value, Refusal> {
//!         let Command::Add { by } = command;
//!         let value = self.value.checked_add(by);
//!         // Check first, change after: a refused command must not change the state.
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
//! // Tests need no cluster and no WebAssembly.
//! use oarlock_guest::testing::{Harness, assert_live_and_restored_agree};
//!
//! let mut node = Harness::<Counter>::new();
//! assert_eq!(node.send(r#"{"add":{"by":5}}"#).text(), r#"{"value":5}"#);
//! assert_eq!(node.query(Query::Get {}).unwrap(), Value { value: 5 });
//! assert!(node.send(r#"{"add":{}}"#).text().contains("missing field `by`"));
//! assert_live_and_restored_agree::<Counter>([r#"{"add":{"by":5}}"#, r#"{"add":{"by":-7}}"#]);
//! ```
//!
//! `Cargo.toml` builds both a module and the library that tests use. It needs two crates:
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
//! `cargo test` runs the guest as native Rust. `cargo build --release --target wasm32-unknown-unknown` builds the module
//! for `oarlock serve --state-machine`. No further step is needed.
//!
//! # Rules of a replicated state machine
//!
//! Every node applies the same commands in the same order. All nodes must reach the same state, byte for byte. A module
//! has no clock, no files, no network and no environment, so most sources of nondeterminism are removed. These rules
//! remain:
//!
//! - **Use time and randomness from [`Apply`] only.** [`Apply::time_ms`] is replicated and never decreases.
//! - **Use no `HashMap` or `HashSet` with the default hasher.** `RandomState` has a new seed in each instance. After a
//!   restore the same map iterates in another order, and the restored node returns other results. Use `BTreeMap` and
//!   `BTreeSet`. This crate ships a `clippy.toml` that rejects the hash types; copy it next to your `Cargo.toml`.
//! - **Keep all state in the struct.** Statics and `#[serde(skip)]` fields are lost after a restore.
//! - **Change nothing when you refuse a command.** [`Harness`](testing::Harness) compares the states.
//! - **A panic is a trap.** The host undoes the whole command, and the client gets the code `trap`. The panic message is
//!   in the node's log.
//! - **Bound the size of the state.** A state that only grows reaches the memory limit of the host.
//!
//! # Malformed commands
//!
//! They never reach [`StateMachine::apply`]. With JSON the client gets status 422 and the field that is wrong:
//! `{"error":{"code":"bad_command","message":"command `add`: missing field `by`","field":"by"}}`. For queries the code is
//! `bad_query`. Give your own refusals the same shape with [`Refusal`]. Other codecs are in [`codec`].
//!
//! # Snapshots and new versions
//!
//! A snapshot is the state encoded by serde with [postcard](https://postcard.jamesmunns.com), plus version, length and
//! checksum. Postcard is compact and does not describe itself. So the state must not contain a `serde_json::Value` (use
//! [`JsonText`]), `#[serde(untagged)]`, `tag`, `flatten` or `skip_serializing_if`. Commands and replies may use all of
//! them.
//!
//! When the type of the state changes, raise the version and write [`StateMachine::migrate`]. Without `migrate` an older
//! state is refused, and the current module keeps running. A state of a newer version is always refused.
//!
//! # An upgrade never misreads a state
//!
//! Bytes of one type may decode as another one without an error: two swapped `u64` fields exchange their values. So every
//! snapshot contains the name and the version of the guest, and a fingerprint of the layout of its state: names, order and
//! types of all fields and variants. The SDK derives it from the type; you do nothing. It is computed when a node describes
//! the module and when a snapshot is written, never for a command.
//!
//! | the new guest has | `oarlock upgrade`, [`TestCluster::upgrade`](testing::TestCluster::upgrade) and a restore |
//! |---|---|
//! | the same version and the same layout | read the state as it is |
//! | the same version and another layout | refuse: raise the version and write `migrate` |
//! | a higher version | call `migrate` |
//! | a lower version | refuse |
//! | another name | refuse, but with `--replace-machine` ([`TestCluster::replace_machine`](testing::TestCluster::replace_machine)). Then the state is read as it is if the layout is the same, and otherwise by `migrate`, where [`OldState::name`] is the other name |
//!
//! [`OldState::decode`] compares the layouts too, so a type in `migrate` that is not the one of that version is refused. If
//! fields were renamed and mean the same, raise the version, and `migrate` is [`old.decode_renamed()`](OldState::decode_renamed).
//!
//! Pin the fingerprint in a test, so that a forgotten version fails `cargo test`: [`testing::layout`] has an example, and
//! `oarlock new` writes such a test. Names of types do not count, and neither do `Box` and structs with one unnamed field.
//!
//! The SDK explores the type with made-up values. If a type refuses all of them, the tests of the guest fail with a message.
//! Then name the layout by hand, and change that name whenever the type changes:
//! `#[state_machine(name = "tree", version = 1, layout = "tree-1")]`.

extern crate self as oarlock_guest;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[path = "wasm.rs"]
pub mod __wasm;
pub mod codec;
mod context;
mod engine;
mod guest;
mod json_text;
mod layout;
mod machine;
mod refusal;
mod snapshot;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use context::{Apply, Event, Level, Read};
pub use guest::Guest;
pub use json_text::JsonText;
pub use machine::StateMachine;
pub use refusal::Refusal;
pub use snapshot::{GuestIdentity, GuestPair, MigrateError, OldState, RestoreError, SnapshotError};

/// Makes an `impl StateMachine for X` a guest: adds the name and, in a module, the exports.
///
/// ```text
/// #[state_machine(name = "counter", version = 1)]
/// #[state_machine(name = "counter", version = 2, codec = "bytes", schema = include_str!("schema.json"))]
/// ```
///
/// | argument | meaning |
/// |---|---|
/// | `name` | short, stable name: 1 to 64 characters of a-z, 0-9 and - |
/// | `version` | an integer from 1; raise it when state or commands change. A snapshot records it |
/// | `codec` | `"json"` (default), `"bytes"`, or the path of a type that implements [`codec::Codec`] |
/// | `layout` | name of the layout of the state, 1 to 64 characters of a-z, A-Z, 0-9, `.`, `-` and `_`; only for a type whose layout cannot be derived. Change it whenever the layout changes |
/// | `schema` | JSON Schema of commands and queries, for people and tools; default: empty |
///
/// A crate that is built as a module has exactly one such impl. Its type has no generic parameters.
pub use oarlock_guest_macros::state_machine;
