//! A hundred thousand failures of a guest, each undone, and how long that takes. With a number: so many instead.
//! `cargo run --release -p oarlock-wasm --example failures_bench -- 10000`
//!
//! The first part fails where a machine with images, one that goes by replay and one that is spared the failures don't
//! agree; the one that goes by replay takes part at the beginning. The second part prints how long a failure took to undo, by the size of the guest's state: when others were
//! before it, and when the guest had been well for a while.

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use oarlock_wasm::{
    CommandOutcome, Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine,
};
use task_queue_raft::state_machine::{Moment, StateMachine};
use task_queue_raft::types::Index;

#[path = "../src/testing/core.rs"]
mod core;
#[path = "../src/testing/injected.rs"]
mod injected;

use injected::{Faulty, Scripted, inject};

const SCRIPTED: &str = include_str!("../src/testing/scripted.wat");

/// Failures of each guest that are undone by replay as well: that takes most of the time.
const COMPARED: u64 = 2_000;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let failures: u64 = match std::env::args().nth(1) {
        Some(failures) => failures.parse()?,
        None => 100_000,
    };
    let engine = GuestEngine::new()?;
    let limits = injected::injected_limits();
    let scripted = core::core_module(&core::in_memory(SCRIPTED));
    let scripted = GuestModule::load(&engine, scripted, &limits)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let faulty = std::fs::read(root.join("tests/guests/faulty.wasm"))?;
    let faulty = GuestModule::load(&engine, faulty, &limits)?;
    let start = Instant::now();
    let one = inject(&scripted, &Scripted, 1, failures / 2, COMPARED)?;
    let other = inject(&faulty, &Faulty, 2, failures - failures / 2, COMPARED)?;
    println!(
        "{} failures in {} entries, {} rollbacks, undone by {}: all states and hashes agree ({:.0?})",
        one.failures + other.failures,
        one.entries + other.entries,
        one.rollbacks + other.rollbacks,
        faulty.rollback_method(),
        start.elapsed()
    );
    println!("state    undone by       before it     rollbacks      p50        p99        max");
    for mib in [1, 64, 512] {
        let rounds = 1_000;
        measure(&faulty, mib, "failures", rounds, 4)?;
        measure(&faulty, mib, "quiet", rounds / 5, 1_500)?;
    }
    let replay = faulty.without_memory_images();
    for (mib, rounds) in [(1, 200), (64, 20), (512, 3)] {
        measure(&replay, mib, "failures", rounds, 4)?;
    }
    Ok(())
}

/// Prints how long failures took to undo, each after so many calls that succeeded.
fn measure(
    module: &GuestModule,
    mib: u32,
    what: &str,
    rounds: u64,
    calls: u64,
) -> Result<(), Error> {
    let limits = MachineLimits {
        fuel_per_command: 10_000_000_000,
        memory_bytes: 2 << 30,
        ..MachineLimits::default()
    };
    let mut machine = WasmMachine::new(module.clone(), limits, None)?;
    let mut index = 0;
    let mut apply = |commands: &[Vec<u8>]| -> Result<(Vec<CommandOutcome>, u64), Error> {
        index += 1;
        let at = Moment {
            index: Index(index),
            time_ms: index,
        };
        let envelopes = commands.iter().map(|body| Envelope::command(None, body));
        let envelopes: Vec<Bytes> = envelopes.collect::<Result<_, _>>()?;
        let outcomes = machine.apply(at, &envelopes)?;
        Ok((outcomes, machine.status().get().counts.last_rollback_us))
    };
    for _ in 0..mib {
        apply(&[br#"{"keep":{"mib":1}}"#.to_vec()])?;
    }
    let good = vec![br#"{"add":{"by":1}}"#.to_vec(); 8];
    let mut took = Vec::new();
    for _ in 0..rounds {
        for _ in 0..calls {
            apply(&good)?;
        }
        let (outcomes, _) = apply(&[br#"{"half":{}}"#.to_vec()])?;
        if !matches!(outcomes[0], CommandOutcome::Failed(_)) {
            return Err("it was to fail".into());
        }
        took.push(apply(&good)?.1);
    }
    took.sort_unstable();
    let part = |percent: usize| format!("{} µs", took[(took.len() - 1) * percent / 100]);
    println!(
        "{mib:4} MiB {:<15} {what:<12} {:>10} {:>10} {:>10} {:>10}",
        module.rollback_method().name(),
        took.len(),
        part(50),
        part(99),
        part(100)
    );
    Ok(())
}
