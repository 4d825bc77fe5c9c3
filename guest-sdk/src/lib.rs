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
//! - **Change nothing when you refuse a command.** [`Harness`](testing::Harness) compares the states. What you did through
//!   [`Apply`] is undone.
//! - **A panic is a trap.** The host undoes the whole command, and the client gets an error with the code `trap`, which quotes
//!   the panic with its file and line. The node's log has it too.
//! - **Bound the size of the state.** A state that only grows reaches the memory limit of the host.
//!
//! # Malformed commands
//!
//! They never reach [`StateMachine::apply`]. With JSON the client gets status 422 and the field that is wrong:
//! `{"error":{"code":"bad_command","message":"command `add`: missing field `by`","field":"by"}}`. For queries the code is
//! `bad_query`. Give your own refusals the same shape with [`Refusal`]. Other codecs are in [`codec`].
//!
//! # Time and timers
//!
//! [`Apply::time_ms`] is the time. [`Apply::set_timer`] sets a named timer; [`StateMachine::on_timer`] is called when it is
//! due, in an entry of its own. Timers are part of the state: they survive restarts, changes of the leader and upgrades, and
//! waiting adds nothing to the log. They fire in the order of time and id, and never early. A late command can be applied
//! before a timer that is already due, so compare times where that matters.
//!
//! ```
//! # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! # use serde::{Deserialize, Serialize};
//! use std::collections::BTreeMap;
//!
//! /// Keys that expire.
//! #[derive(Default, Serialize, Deserialize)]
//! struct Leases {
//!     owners: BTreeMap<String, String>,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! enum Command {
//!     Lease { key: String, owner: String, for_ms: u64 },
//! }
//!
//! #[state_machine(name = "leases", version = 1)]
//! impl StateMachine for Leases {
//!     type Command = Command;
//!     type Reply = bool;
//! #   type Query = ();
//! #   type Response = usize;
//!     type Refusal = Refusal;
//!
//!     fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<bool, Refusal> {
//!         let Command::Lease { key, owner, for_ms } = command;
//!         if self.owners.get(&key).is_some_and(|other| *other != owner) {
//!             return Ok(false);
//!         }
//!         // Replaces the timer if the owner extends its lease.
//!         cx.set_timer(&key, cx.time_ms().saturating_add(for_ms))?;
//!         self.owners.insert(key, owner);
//!         Ok(true)
//!     }
//!
//!     fn on_timer(&mut self, _cx: &mut Apply<'_>, id: &str) {
//!         self.owners.remove(id);
//!     }
//! #
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<usize, Refusal> { Ok(self.owners.len()) }
//! }
//!
//! # use oarlock_guest::testing::TestCluster;
//! let mut cluster = TestCluster::<Leases>::new();
//! let lease = |owner| format!(r#"{{"lease":{{"key":"k","owner":"{owner}","for_ms":100}}}}"#);
//! assert_eq!(cluster.send(lease("ann")).text(), "true");
//! assert_eq!(cluster.advance_ms(99).send(lease("bob")).text(), "false");
//! assert_eq!(cluster.advance_ms(1).send(lease("bob")).text(), "true");
//! ```
//!
//! [`Apply::wake_at`] and [`StateMachine::on_wake`] are one more timer without a name, for a machine that keeps its own times
//! in order.
//!
//! One wake-up fires at most 256 timers and deadlines; the rest follows immediately after, in further entries. All that fires
//! in a wake-up shares the fuel, the events and the replies of one command.
//!
//! # Replies that come later
//!
//! [`Apply::defer`] defers the reply to a command. Its client waits until a later command, or a timer, completes it with
//! [`Apply::complete`] or [`Apply::refuse`]. Every deferred command has a deadline. At the deadline its client gets the value
//! that `apply` returned, so that no client waits for ever; [`StateMachine::on_deadline`] runs before.
//!
//! ```
//! # use oarlock_guest::{Apply, Read, Refusal, StateMachine, Token, state_machine};
//! # use serde::{Deserialize, Serialize};
//! use std::collections::VecDeque;
//!
//! /// A queue whose consumers wait.
//! #[derive(Default, Serialize, Deserialize)]
//! struct Mailbox {
//!     items: VecDeque<String>,
//!     consumers: VecDeque<Token>,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! enum Command {
//!     Put { item: String },
//!     Take { wait_ms: u64 },
//! }
//!
//! #[state_machine(name = "mailbox", version = 1)]
//! impl StateMachine for Mailbox {
//!     type Command = Command;
//!     type Reply = Option<String>;
//! #   type Query = ();
//! #   type Response = usize;
//!     type Refusal = Refusal;
//!
//!     fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<Option<String>, Refusal> {
//!         match command {
//!             Command::Put { item } => {
//!                 match self.consumers.pop_front() {
//!                     Some(token) => { cx.complete::<Self>(token, &Some(item)); }
//!                     None => self.items.push_back(item),
//!                 }
//!                 Ok(None)
//!             }
//!             Command::Take { wait_ms } => {
//!                 if let Some(item) = self.items.pop_front() {
//!                     return Ok(Some(item));
//!                 }
//!                 let token = cx.defer(cx.time_ms().saturating_add(wait_ms))?;
//!                 self.consumers.push_back(token);
//!                 Ok(None) // the reply at the deadline
//!             }
//!         }
//!     }
//!
//!     fn on_deadline(&mut self, _cx: &mut Apply<'_>, token: Token) {
//!         self.consumers.retain(|waiting| *waiting != token);
//!     }
//! #
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<usize, Refusal> { Ok(self.items.len()) }
//! }
//!
//! # use oarlock_guest::testing::TestCluster;
//! let mut cluster = TestCluster::<Mailbox>::new();
//! let first = cluster.send(r#"{"take":{"wait_ms":100}}"#).deferred.unwrap();
//! let second = cluster.send(r#"{"take":{"wait_ms":200}}"#).deferred.unwrap();
//! cluster.send(r#"{"put":{"item":"a"}}"#);
//! cluster.advance_ms(200);
//! let replies = cluster.take_replies();
//! assert_eq!((replies[0].token, replies[0].text()), (first, r#""a""#));
//! assert_eq!((replies[1].token, replies[1].text()), (second, "null"));
//! ```
//!
//! The deadline is a time in the state, and the client's own timeout is another. A client that waits long sends an idempotency
//! key, a timeout that is longer than the deadline, and repeats the request if the connection breaks.
//!
//! # Events
//!
//! [`Apply::emit`] and [`Apply::emit_json`] publish an event: clients read it at `GET /v1/events`. An event of a refused
//! command is dropped. A command has at most 1,000 events and late replies, and 1 MiB of them, by default.
//!
//! ```
//! # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Serialize)]
//! struct Sold<'a> {
//!     item: &'a str,
//!     left: u32,
//! }
//!
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Shop { stock: std::collections::BTreeMap<String, u32> }
//! # #[derive(Deserialize)]
//! # #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! # enum Command { Stock { item: String, count: u32 }, Sell { item: String } }
//! # #[state_machine(name = "shop", version = 1)]
//! # impl StateMachine for Shop {
//! #   type Command = Command;
//! #   type Reply = u32;
//! #   type Query = ();
//! #   type Response = ();
//! #   type Refusal = Refusal;
//! fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<u32, Refusal> {
//!     match command {
//!         Command::Stock { item, count } => Ok(*self.stock.entry(item).and_modify(|left| *left += count).or_insert(count)),
//!         Command::Sell { item } => match self.stock.get_mut(&item) {
//!             Some(left) if *left > 0 => {
//!                 *left -= 1;
//!                 cx.emit_json("sold", &Sold { item: &item, left: *left });
//!                 Ok(*left)
//!             }
//!             _ => Err(Refusal::new("sold_out", format!("no {item} is left")).field("item")),
//!         },
//!     }
//! }
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<(), Refusal> { Ok(()) }
//! # }
//!
//! # use oarlock_guest::testing::Harness;
//! let mut shop = Harness::<Shop>::new();
//! shop.send(r#"{"stock":{"item":"oar","count":1}}"#);
//! shop.send(r#"{"sell":{"item":"oar"}}"#);
//! assert!(!shop.send(r#"{"sell":{"item":"oar"}}"#).accepted);
//! let events = shop.take_events();
//! assert_eq!(events.len(), 1);
//! assert_eq!((events[0].topic.as_str(), &events[0].payload[..]), ("sold", &br#"{"item":"oar","left":0}"#[..]));
//! ```
//!
//! # Randomness
//!
//! [`Apply::random`] returns bytes that are equal on every node and differ from entry to entry. They are no secrets: who can
//! read the log can compute them. So use them for shuffling and names, and have clients send keys and passwords.
//!
//! ```
//! # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! # #[derive(Default, serde::Serialize, serde::Deserialize)]
//! # struct Dice;
//! # #[derive(serde::Deserialize)]
//! # #[serde(rename_all = "snake_case")]
//! # enum Command { Roll {} }
//! # #[state_machine(name = "dice", version = 1)]
//! # impl StateMachine for Dice {
//! #   type Command = Command;
//! #   type Reply = u8;
//! #   type Query = ();
//! #   type Response = ();
//! #   type Refusal = Refusal;
//! fn apply(&mut self, cx: &mut Apply<'_>, _: Command) -> Result<u8, Refusal> {
//!     loop {
//!         let byte = cx.random(1)[0];
//!         if byte < 252 {
//!             return Ok(byte % 6 + 1); // 252 is a multiple of 6, so all numbers are equally likely
//!         }
//!     }
//! }
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<(), Refusal> { Ok(()) }
//! # }
//!
//! # use oarlock_guest::testing::TestCluster;
//! let mut cluster = TestCluster::<Dice>::new(); // fails if the replicas differ
//! let rolls: Vec<u8> = (0..100).map(|_| cluster.send(r#"{"roll":{}}"#).text().parse().unwrap()).collect();
//! assert!((1..=6).all(|number| rolls.contains(&number)));
//! ```
//!
//! # Idempotency
//!
//! A client whose connection breaks does not know if its command was applied. With the header `Idempotency-Key` it can repeat
//! the command: the host stores the reply to each key for 24 hours by default and returns it again, without calling the guest.
//! This includes refusals and the replies to deferred commands. So a guest needs no code for it. A command without a key must
//! be harmless if it is applied twice, or contain what makes it so:
//!
//! ```
//! # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Page { version: u64, text: String }
//! #[derive(Deserialize)]
//! #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! enum Command {
//!     /// Succeeds only on the version that the client has read, so a repetition is refused.
//!     Edit { version: u64, text: String },
//! }
//!
//! # #[state_machine(name = "page", version = 1)]
//! # impl StateMachine for Page {
//! #   type Command = Command;
//! #   type Reply = u64;
//! #   type Query = ();
//! #   type Response = ();
//! #   type Refusal = Refusal;
//! fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<u64, Refusal> {
//!     let Command::Edit { version, text } = command;
//!     if version != self.version {
//!         let message = format!("the page has version {}, not {version}; read it again", self.version);
//!         return Err(Refusal::new("conflict", message).field("version"));
//!     }
//!     (self.version, self.text) = (version + 1, text);
//!     Ok(self.version)
//! }
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<(), Refusal> { Ok(()) }
//! # }
//!
//! # use oarlock_guest::testing::Harness;
//! let mut page = Harness::<Page>::new();
//! let edit = r#"{"edit":{"version":0,"text":"hello"}}"#;
//! assert_eq!(page.send(edit).text(), "1");
//! assert!(!page.send(edit).accepted);
//! ```
//!
//! # Errors
//!
//! | what happened | what the state machine does | what the client gets |
//! |---|---|---|
//! | the bytes are no command | nothing: `apply` is not called | status 422, code `bad_command` |
//! | the command is invalid in this state | returns a refusal, changes nothing | status 422 and the refusal |
//! | a bug, or an impossible state | panics: the host undoes the command | status 500, code `trap` |
//! | too much fuel, memory, reply, events | is stopped: the host undoes the command | status 500 and the limit |
//!
//! After any of them the node continues, and so do the other commands of the same entry.
//!
//! ```
//! # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Account { balance: u64 }
//! # #[derive(Deserialize)]
//! # #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! # enum Command { Withdraw { amount: u64 } }
//! # #[state_machine(name = "account", version = 1)]
//! # impl StateMachine for Account {
//! #   type Command = Command;
//! #   type Reply = u64;
//! #   type Query = ();
//! #   type Response = ();
//! #   type Refusal = Refusal;
//! fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<u64, Refusal> {
//!     let Command::Withdraw { amount } = command;
//!     let rest = self.balance.checked_sub(amount).ok_or_else(|| {
//!         // A code for programs, a message for people, the field that is wrong.
//!         let message = format!("the account holds {}, not {amount}; withdraw less", self.balance);
//!         Refusal::new("overdrawn", message).field("amount")
//!     })?;
//!     cx.set_timer("statement", cx.time_ms() + 1_000)?; // its errors are refusals as well
//!     self.balance = rest;
//!     Ok(rest)
//! }
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<(), Refusal> { Ok(()) }
//! # }
//!
//! # use oarlock_guest::testing::Harness;
//! let mut account = Harness::<Account>::new();
//! assert_eq!(
//!     account.send(r#"{"withdraw":{"amount":5}}"#).text(),
//!     r#"{"error":{"code":"overdrawn","message":"the account holds 0, not 5; withdraw less","field":"amount"}}"#
//! );
//! ```
//!
//! # Low memory
//!
//! The memory of a guest has a limit, by default 1 GiB. A command that would exceed it fails and is undone.
//! [`Apply::memory_is_low`] tells before that: it is true while the guest uses 80 % of its memory or more on a node of the
//! cluster, and it is equal on every node. Refuse commands that add state then, with a code of your own, and accept those
//! that remove some, so that clients can make room.
//!
//! ```
//! # use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Notes { notes: std::collections::BTreeMap<String, String> }
//! # #[derive(Deserialize)]
//! # #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! # enum Command { Write { name: String, text: String }, Remove { name: String } }
//! # #[state_machine(name = "notes", version = 1)]
//! # impl StateMachine for Notes {
//! #   type Command = Command;
//! #   type Reply = usize;
//! #   type Query = ();
//! #   type Response = ();
//! #   type Refusal = Refusal;
//! fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<usize, Refusal> {
//!     match command {
//!         Command::Write { .. } if cx.memory_is_low() => {
//!             return Err(Refusal::new("memory_is_low", "the memory is low; remove notes first"));
//!         }
//!         Command::Write { name, text } => drop(self.notes.insert(name, text)),
//!         Command::Remove { name } => drop(self.notes.remove(&name)),
//!     }
//!     Ok(self.notes.len())
//! }
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<(), Refusal> { Ok(()) }
//! # }
//!
//! # use oarlock_guest::testing::Harness;
//! let mut notes = Harness::<Notes>::new();
//! let write = r#"{"write":{"name":"n","text":"t"}}"#;
//! assert_eq!(notes.send(write).text(), "1");
//! notes.set_memory_is_low(true);
//! assert!(notes.send(write).text().contains("memory_is_low"));
//! assert_eq!(notes.send(r#"{"remove":{"name":"n"}}"#).text(), "0");
//! ```
//!
//! # Who has sent a command
//!
//! On a cluster with certificates, [`Apply::caller`] and [`Read::caller`] tell who has sent a command or a query, so that the
//! guest can authorize. A token may limit its owner to values of a scope, which the guest enforces:
//! `oarlock token create ann --roles writer --scope rooms=garden`.
//!
//! ```
//! # use oarlock_guest::{Apply, Caller, Read, Refusal, StateMachine, state_machine};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Default, Serialize, Deserialize)]
//! # struct Lights { lit: std::collections::BTreeMap<String, String> }
//! # #[derive(Deserialize)]
//! # #[serde(rename_all = "snake_case", deny_unknown_fields)]
//! # enum Command { Light { room: String } }
//! # #[state_machine(name = "lights", version = 1)]
//! # impl StateMachine for Lights {
//! #   type Command = Command;
//! #   type Reply = usize;
//! #   type Query = ();
//! #   type Response = ();
//! #   type Refusal = Refusal;
//! fn apply(&mut self, cx: &mut Apply<'_>, command: Command) -> Result<usize, Refusal> {
//!     let Command::Light { room } = command;
//!     let caller = cx.caller();
//!     if caller.as_ref().is_some_and(|caller| !caller.may_use("rooms", &room)) {
//!         return Err(Refusal::new("forbidden", "your token does not have this room").field("room"));
//!     }
//!     let by = caller.map_or_else(String::new, |caller| caller.name().to_owned());
//!     self.lit.insert(room, by);
//!     Ok(self.lit.len())
//! }
//! #   fn query(&self, _cx: &Read<'_>, _: ()) -> Result<(), Refusal> { Ok(()) }
//! # }
//!
//! # use oarlock_guest::testing::Harness;
//! let mut lights = Harness::<Lights>::new();
//! lights.set_caller(Some(Caller::new("ann").with_scope("rooms", ["garden"])));
//! assert_eq!(lights.send(r#"{"light":{"room":"garden"}}"#).text(), "1");
//! assert!(lights.send(r#"{"light":{"room":"cellar"}}"#).text().contains("forbidden"));
//! ```
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
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
mod caller;
pub mod codec;
mod complete;
mod context;
mod engine;
mod guest;
mod json_text;
mod layout;
mod live;
mod machine;
mod refusal;
mod runtime;
mod snapshot;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod token;

pub use caller::Caller;
pub use context::{Apply, Event, Level, Read};
pub use guest::Guest;
pub use json_text::JsonText;
pub use machine::StateMachine;
pub use refusal::Refusal;
pub use snapshot::{GuestIdentity, GuestPair, MigrateError, OldState, RestoreError, SnapshotError};
pub use token::Token;

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
