//! Guests and helpers for the tests of this crate.
//!
//! `scripted.wat` is a guest whose commands are a letter and parameters:
//!
//! | command | what it does |
//! |---|---|
//! | `a` | adds 1 and replies with the value, 8 bytes |
//! | `r…` `d…` | is rejected with this text; is deferred under this token |
//! | `c` `x`, 8 bytes of token, reply | completes a deferred command: accepted, rejected |
//! | `e…` | emits this payload under the topic `t` |
//! | `k` n | emits n events |
//! | `l…` `u…` | logs at level error; does so and traps |
//! | `w` time | requests a wake-up, which adds 100 |
//! | `t` `v` `s` | traps; never ends; recurses without end |
//! | `g` n, `b` n | grows its memory by pages, its table by elements; replies with the result of the growth, 4 bytes |
//! | `m` | replies with whether memory is low, 1 byte |
//! | `n` | replies with the limit of replies, 8 bytes |
//! | `f` | replies with the name of the caller, and the name and first value of its first scope |
//! | `z` n | replies with n bytes |
//! | `p` n | sets the number of zeros at the end of a snapshot |
//! | `o1` to `o6` | makes all outcomes invalid from now on |
//!
//! Queries: any other letter returns the value; `r…` is rejected; `t`, `v`, `s`, `f`, `z` as above; `e` emits and requests a
//! wake-up.
//! Numbers are little-endian.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{Moment, ReplicatedStateMachine};

use crate::guest::engine::GuestEngine;
use crate::guest::guest_log::GuestLog;
use crate::guest::instance::{Instance, QueryOutcome, ShortQuery};
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::machine::WasmMachine;
use crate::records::envelope::Envelope;
use crate::records::outcome::CommandOutcome;

mod core;
pub(crate) mod injected;

pub(crate) use core::{COUNTER, core_module, embedded_wit, in_memory};

const KV: &[u8] = include_bytes!("../../../examples-wasm/dist/kv.wasm");
const QUEUE: &[u8] = include_bytes!("../../../examples-wasm/dist/queue.wasm");
const FAULTY: &[u8] = include_bytes!("../../../tests/guests/faulty.wasm");
const CURIOUS: &[u8] = include_bytes!("../../../tests/guests/curious.wasm");
pub(crate) const SCRIPTED: &str = include_str!("testing/scripted.wat");

/// More fuel than any valid command of the test guests needs, but used up quickly by an endless one.
pub(crate) const FUEL: u64 = 20_000_000;

/// Limits that a failing command reaches quickly.
pub(crate) fn limits() -> MachineLimits {
    MachineLimits {
        fuel_per_command: FUEL,
        fuel_per_query: FUEL,
        memory_bytes: 12 << 20,
        ..MachineLimits::default()
    }
}

pub(crate) fn engine() -> &'static GuestEngine {
    static ENGINE: OnceLock<GuestEngine> = OnceLock::new();
    ENGINE.get_or_init(|| GuestEngine::new().unwrap())
}

fn load(bytes: impl Into<Bytes>) -> GuestModule {
    GuestModule::load(engine(), bytes, &limits()).unwrap()
}

pub(crate) fn counter() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    MODULE.get_or_init(|| load(COUNTER)).clone()
}

pub(crate) fn kv() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    MODULE.get_or_init(|| load(KV)).clone()
}

pub(crate) fn queue() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    MODULE.get_or_init(|| load(QUEUE)).clone()
}

pub(crate) fn faulty() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    MODULE.get_or_init(|| load(FAULTY)).clone()
}

/// A guest that observes its surroundings through WASI: `tests/guests/curious`.
pub(crate) fn curious() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    MODULE.get_or_init(|| load(CURIOUS)).clone()
}

pub(crate) fn scripted() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    MODULE.get_or_init(|| load(core_module(SCRIPTED))).clone()
}

/// `scripted` with some of its text replaced.
pub(crate) fn scripted_but(changes: &[(&str, &str)]) -> GuestModule {
    load(core_module(&changed(changes)))
}

/// `scripted` with all of its state in memory, so that it can have an image.
pub(crate) fn scripted_in_memory() -> GuestModule {
    static MODULE: OnceLock<GuestModule> = OnceLock::new();
    MODULE.get_or_init(|| scripted_but_in_memory(&[])).clone()
}

/// The same with some of its text replaced.
pub(crate) fn scripted_but_in_memory(changes: &[(&str, &str)]) -> GuestModule {
    load(core_module(&in_memory(&changed(changes))))
}

fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = SCRIPTED.to_owned();
    for (before, after) in changes {
        assert_eq!(text.matches(before).count(), 1, "{before}");
        text = text.replace(before, after);
    }
    text
}

pub(crate) fn start(module: &GuestModule, limits: &MachineLimits) -> Instance {
    Instance::start(module, limits, &Arc::new(GuestLog::new())).unwrap()
}

pub(crate) fn at(index: u64) -> Moment {
    Moment {
        index: Index(index),
        time_ms: 1_000 * index,
    }
}

/// A command: a letter and a number of four bytes.
pub(crate) fn op(letter: u8, number: u32) -> Vec<u8> {
    let mut command = vec![letter];
    command.extend_from_slice(&number.to_le_bytes());
    command
}

/// A command: a letter, a number of eight bytes and further bytes.
pub(crate) fn op_long(letter: u8, number: u64, more: &[u8]) -> Vec<u8> {
    let mut command = vec![letter];
    command.extend_from_slice(&number.to_le_bytes());
    command.extend_from_slice(more);
    command
}

impl ShortQuery {
    /// The outcome. Panics if the query is long.
    pub(crate) fn ended(self) -> QueryOutcome {
        match self {
            Self::Ended(outcome) => outcome,
            Self::IsLong => panic!("the query is long"),
        }
    }
}
