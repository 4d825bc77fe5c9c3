//! What it costs to run a guest as WebAssembly: the same Rust code, as a guest and compiled for this machine, the same
//! commands in batches of 64, in turn.

use std::time::{Duration, Instant};

use bytes::Bytes;
use oarlock_guest::testing::Harness;
use oarlock_tests::process::guest;
use oarlock_wasm::{Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine};
use task_queue_raft::ids::Index;
use task_queue_raft::state_machine::{Moment, ReplicatedStateMachine as _};

use super::Options;
use super::oarlock::{key, payload};
use super::report::{Report, Target};

const BATCH: u64 = 64;
/// Keys of the store.
const KEYS: u64 = 1_000;
/// What a call into the guest may add to the code that runs there, for each command.
const BOUNDARY_NS: f64 = 100.0;

/// Measures each of the example guests.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let value = payload(options.payload);
    let add = |number: u64| format!(r#"{{"add":{{"by":{}}}}}"#, number % 100);
    let put = |number| {
        let key = key(number, KEYS);
        format!(r#"{{"put":{{"key":"{key}","value":"{value}"}}}}"#)
    };
    let enqueue =
        |_| format!(r#"{{"enqueue":{{"queue":"email","payload":{{"text":"{value}"}}}}}}"#);
    let engine = GuestEngine::new().expect("an engine");
    duel::<oarlock_counter::Counter>(&engine, "counter", 4_000, &add, options, report);
    duel::<oarlock_kv::Store>(&engine, "kv", 2_000, &put, options, report);
    duel::<oarlock_queue::Queues>(&engine, "queue", 500, &enqueue, options, report);
}

/// Applies so many batches to a new machine of either kind, in turn.
fn duel<M>(
    engine: &GuestEngine,
    name: &str,
    batches: u64,
    command: &dyn Fn(u64) -> String,
    options: &Options,
    report: &mut Report,
) where
    M: oarlock_guest::Guest,
{
    let bytes = std::fs::read(guest(name)).expect("a module");
    let limits = MachineLimits::default();
    let module = GuestModule::load(engine, bytes, &limits).expect("a guest");
    let (mut wasm_ns, mut native_ns) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let mut machine = WasmMachine::new(module.clone(), limits, None).expect("a machine");
        wasm_ns.push(each_ns(batches, command, |at, batch| {
            let moment = Moment {
                index: Index(at),
                time_ms: at,
            };
            let envelope = |body: &String| Envelope::command(None, body.as_bytes());
            let batch: Result<Vec<Bytes>, _> = batch.iter().map(envelope).collect();
            let batch = batch.expect("short commands");
            let begun = Instant::now();
            machine.apply(moment, &batch).expect("it goes on");
            begun.elapsed()
        }));
        let mut native = Harness::<M>::new().without_refusal_check();
        native_ns.push(each_ns(batches, command, |_, batch| {
            let begun = Instant::now();
            native.send_batch(batch);
            begun.elapsed()
        }));
    }
    let (wasm, native) = (median(wasm_ns), median(native_ns));
    let name = format!("{name}: a command of a batch of {BATCH}");
    report.duel(
        &format!("{name}, as wasm and native"),
        wasm,
        native,
        "ns",
        Target::AtMost(1.5),
    );
    report.duel(
        &format!("{name}, what wasm adds"),
        wasm - native,
        BOUNDARY_NS,
        "ns",
        Target::AtMost(1.0),
    );
}

/// Nanoseconds for each command.
fn each_ns(
    batches: u64,
    command: &dyn Fn(u64) -> String,
    mut apply: impl FnMut(u64, &[String]) -> Duration,
) -> f64 {
    let mut spent = Duration::ZERO;
    for at in 1..=batches {
        let batch: Vec<String> = (0..BATCH)
            .map(|number| command(at * BATCH + number))
            .collect();
        spent += apply(at, &batch);
    }
    spent.as_nanos() as f64 / (batches * BATCH) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
