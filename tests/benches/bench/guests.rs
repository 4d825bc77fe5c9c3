//! Guests in one process, without a cluster: what commands, failures, snapshots and upgrades of a guest cost.
//!
//! | module | what it measures |
//! |---|---|
//! | [`commands`] | a command by keys and batch, and an entry with a trap |
//! | [`failures`] | the undo of a failure; that it leaves the same state as replay and as no failure |
//! | [`snapshots`] | how long a snapshot stops apply; queries on replicas |
//! | [`switch`] | an upgrade, by the size of the state |

pub(crate) mod commands;
pub(crate) mod failures;
pub(crate) mod snapshots;
pub(crate) mod switch;

use std::time::{Duration, Instant};

use bytes::Bytes;
use oarlock_tests::process::guest;
use oarlock_wasm::{
    CommandOutcome, Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine,
};
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{Moment, ReplicatedStateMachine};

/// Helpers of the tests of `oarlock-wasm`: core modules from text.
#[path = "../../../host/wasm/src/testing/core.rs"]
mod core;
/// Helpers of the tests of `oarlock-wasm`: histories with failures.
#[path = "../../../host/wasm/src/testing/injected.rs"]
mod injected;

const SCRIPTED: &str = include_str!("../../../host/wasm/src/testing/scripted.wat");

/// A guest that is kept built.
fn load(engine: &GuestEngine, name: &str, limits: &MachineLimits) -> GuestModule {
    let bytes = std::fs::read(guest(name)).expect("a module");
    GuestModule::load(engine, bytes, limits).expect("a guest")
}

fn engine() -> GuestEngine {
    GuestEngine::new().expect("an engine")
}

/// A machine and its position in the log.
struct Driven {
    machine: WasmMachine,
    index: u64,
}

impl Driven {
    fn new(module: &GuestModule, limits: &MachineLimits) -> Self {
        Self {
            machine: WasmMachine::new(module.clone(), *limits, None).expect("a machine"),
            index: 0,
        }
    }

    fn at(&self) -> Moment {
        Moment {
            index: Index(self.index),
            time_ms: self.index,
        }
    }

    /// Applies an entry with these commands.
    fn apply<C: AsRef<[u8]>>(&mut self, commands: &[C]) -> (Vec<CommandOutcome>, Duration) {
        let envelope = |body: &C| Envelope::command(None, body.as_ref()).expect("a short command");
        let envelopes: Vec<Bytes> = commands.iter().map(envelope).collect();
        self.apply_envelopes(&envelopes)
    }

    fn apply_envelopes(&mut self, envelopes: &[Bytes]) -> (Vec<CommandOutcome>, Duration) {
        self.index += 1;
        let at = self.at();
        let begun = Instant::now();
        let outcomes = self.machine.apply(at, envelopes).expect("it goes on");
        (outcomes, begun.elapsed())
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
