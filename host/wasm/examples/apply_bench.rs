//! What a command costs from the envelope to the outcome, on one thread. A second for each line, or as many as said:
//! `cargo run --release -p oarlock-wasm --example apply_bench -- 3`
//!
//! Only ratios within one run mean something. Checkpoints are in the figures, for they are part of the work; the slowest
//! entry is one that had to take one.

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oarlock_wasm::{
    CommandOutcome, Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine,
};
use task_queue_raft::state_machine::{Moment, StateMachine};
use task_queue_raft::types::Index;

/// Bytes of a command of the store.
const COMMAND_BYTES: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let seconds: f64 = match std::env::args().nth(1) {
        Some(seconds) => seconds.parse()?,
        None => 1.0,
    };
    let duration = Duration::from_secs_f64(seconds);
    let engine = GuestEngine::new()?;
    let counter = load(&engine, "examples-wasm/dist/counter")?;
    let kv = load(&engine, "examples-wasm/dist/kv")?;
    println!("guest    keys in store  batch  key  ns/command  commands/s  slowest entry");
    for batch in [1, 64, 1024] {
        run("counter", &counter, &add, 1, batch, false, duration)?;
    }
    for keys in [1, 1_000, 100_000] {
        for batch in [1, 64, 1024] {
            run("kv", &kv, &put, keys, batch, false, duration)?;
        }
    }
    run("kv", &kv, &put, 1_000, 64, true, duration)?;
    let faulty = load(&engine, "tests/guests/faulty")?;
    println!("state   an entry of 64 commands  the same with one trap");
    for mib in [0, 1, 16, 64] {
        run_failures(&faulty, mib)?;
    }
    Ok(())
}

fn load(engine: &GuestEngine, name: &str) -> Result<GuestModule, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bytes = std::fs::read(root.join(format!("{name}.wasm")))?;
    let start = Instant::now();
    let module = GuestModule::load(engine, bytes, &MachineLimits::default())?;
    println!("{name} checked and compiled in {:?}", start.elapsed());
    Ok(module)
}

fn add(number: u64, _keys: u64) -> String {
    format!("{{\"add\":{{\"by\":{}}}}}", number % 100)
}

fn put(number: u64, keys: u64) -> String {
    let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
    let empty = format!("{{\"put\":{{\"key\":\"key-{key:08}\",\"value\":\"\"}}}}");
    let value = "v".repeat(COMMAND_BYTES - empty.len());
    empty.replace("\"value\":\"\"", &format!("\"value\":\"{value}\""))
}

/// Applies batches for a while, and prints a line.
fn run(
    name: &str,
    module: &GuestModule,
    command: &dyn Fn(u64, u64) -> String,
    keys: u64,
    batch: usize,
    keyed: bool,
    duration: Duration,
) -> Result<(), Box<dyn Error>> {
    let mut machine = WasmMachine::new(module.clone(), MachineLimits::default(), None)?;
    let mut number = 0;
    let mut index = 0;
    let mut next_batch = |size: usize| -> Result<Vec<Bytes>, Box<dyn Error>> {
        let mut envelopes = Vec::with_capacity(size);
        for _ in 0..size {
            number += 1;
            let key = keyed.then(|| format!("key-{number}"));
            let body = command(number, keys);
            envelopes.push(Envelope::command(key.as_deref(), body.as_bytes())?);
        }
        Ok(envelopes)
    };
    let mut apply = |envelopes: &[Bytes]| -> Result<Duration, Box<dyn Error>> {
        index += 1;
        let at = Moment {
            index: Index(index),
            time_ms: index,
        };
        let start = Instant::now();
        let outcomes = machine.apply(at, envelopes)?;
        let took = start.elapsed();
        let accepted = |outcome: &CommandOutcome| matches!(outcome, CommandOutcome::Accepted(_));
        if !outcomes.iter().all(accepted) {
            return Err("a command was not accepted".into());
        }
        Ok(took)
    };
    // The state first.
    for _ in 0..keys.div_ceil(1_000) {
        apply(&next_batch(1_000)?)?;
    }
    let (mut commands, mut spent, mut slowest) = (0_u64, Duration::ZERO, Duration::ZERO);
    while spent < duration {
        let took = apply(&next_batch(batch)?)?;
        spent += took;
        slowest = slowest.max(took);
        commands += batch as u64;
    }
    let nanoseconds = spent.as_nanos() as f64 / commands as f64;
    let rate = commands as f64 / spent.as_secs_f64();
    let mark = if keyed { "yes" } else { "no" };
    let slowest = slowest.as_secs_f64() * 1_000.0;
    println!(
        "{name:8} {keys:13}  {batch:5}  {mark:3}  {nanoseconds:10.0}  {rate:10.0}  {slowest:10.2} ms"
    );
    Ok(())
}

/// Prints what an entry costs at whose last command the guest traps, with a state of so many MiB.
fn run_failures(module: &GuestModule, mib: u32) -> Result<(), Box<dyn Error>> {
    const ROUNDS: u32 = 10;
    let mut machine = WasmMachine::new(module.clone(), MachineLimits::default(), None)?;
    let mut index = 0;
    let mut apply = |bodies: &[String]| -> Result<Duration, Box<dyn Error>> {
        let envelopes: Result<Vec<Bytes>, _> = bodies
            .iter()
            .map(|body| Envelope::command(None, body.as_bytes()))
            .collect();
        let envelopes = envelopes?;
        index += 1;
        let at = Moment {
            index: Index(index),
            time_ms: index,
        };
        let start = Instant::now();
        machine.apply(at, &envelopes)?;
        Ok(start.elapsed())
    };
    apply(&[format!("{{\"keep\":{{\"mib\":{mib}}}}}")])?;
    let good = vec!["{\"add\":{\"by\":1}}".to_owned(); 64];
    let mut bad = good.clone();
    bad[63] = "{\"half\":{}}".to_owned();
    let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        without += apply(&good)?;
        with += apply(&bad)?;
        // The first entry after a failure brings the guest back.
        with += apply(&good[..1])?;
    }
    println!(
        "{mib:3} MiB  {:>23}  {:>22}",
        format!("{:?}", without / ROUNDS),
        format!("{:?}", with / ROUNDS)
    );
    Ok(())
}
