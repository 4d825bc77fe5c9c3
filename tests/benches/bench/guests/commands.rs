//! What a command costs from the envelope to the outcome, on one thread. Checkpoints are included: they are part of the
//! work.

use std::time::Duration;

use bytes::Bytes;
use oarlock_wasm::{CommandOutcome, Envelope, GuestModule, MachineLimits};

use super::{Driven, engine, load, micros};
use crate::Options;
use crate::report::Report;

/// Bytes of a command of the store.
const COMMAND_BYTES: usize = 256;
const BATCHES: [usize; 3] = [1, 64, 1024];
const KEYS: [u64; 3] = [1, 1_000, 100_000];
/// Sizes of the state with failures, in MiB.
const STATES_MIB: [u32; 4] = [0, 1, 16, 64];
/// Entries with a failure at each size.
const FAILURES: u32 = 10;

/// Measures each line for one turn.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let (engine, limits) = (engine(), MachineLimits::default());
    let counter = load(&engine, "counter", &limits);
    let kv = load(&engine, "kv", &limits);
    let mut line = |name: &str, load: &Commands<'_>| {
        let each_ns = load.run(options.turn());
        report.line(&format!("command of {name}"), each_ns, "ns");
    };
    for batch in BATCHES {
        let load = Commands {
            module: &counter,
            command: &add,
            keys: 1,
            batch,
            keyed: false,
        };
        line(&format!("counter, batch of {batch}"), &load);
    }
    for keys in KEYS {
        for batch in BATCHES {
            let load = Commands {
                module: &kv,
                command: &put,
                keys,
                batch,
                keyed: false,
            };
            line(&format!("kv with {keys} keys, batch of {batch}"), &load);
        }
    }
    let keyed = Commands {
        module: &kv,
        command: &put,
        keys: 1_000,
        batch: 64,
        keyed: true,
    };
    line("kv with 1000 keys, batch of 64, idempotency keys", &keyed);
    let faulty = load(&engine, "faulty", &limits);
    for mib in STATES_MIB {
        let (without, with) = failures(&faulty, mib);
        let name = format!("entry of 64 commands, state of {mib} MiB");
        report.line(&name, micros(without), "µs");
        report.line("  the same with one trap", micros(with), "µs");
    }
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

/// A load of one guest.
struct Commands<'a> {
    module: &'a GuestModule,
    command: &'a dyn Fn(u64, u64) -> String,
    keys: u64,
    batch: usize,
    /// Whether each command has an idempotency key.
    keyed: bool,
}

impl Commands<'_> {
    /// Applies batches for a while, and returns nanoseconds for each command.
    fn run(&self, duration: Duration) -> f64 {
        let mut driven = Driven::new(self.module, &MachineLimits::default());
        let mut number = 0;
        // The state first.
        for _ in 0..self.keys.div_ceil(1_000) {
            self.apply(&mut driven, &mut number, 1_000);
        }
        let (mut commands, mut spent) = (0_u64, Duration::ZERO);
        while spent < duration {
            spent += self.apply(&mut driven, &mut number, self.batch);
            commands += self.batch as u64;
        }
        spent.as_nanos() as f64 / commands as f64
    }

    fn apply(&self, driven: &mut Driven, number: &mut u64, size: usize) -> Duration {
        let mut envelope = || {
            *number += 1;
            let key = self.keyed.then(|| format!("key-{number}"));
            let body = (self.command)(*number, self.keys);
            Envelope::command(key.as_deref(), body.as_bytes()).expect("a short command")
        };
        let envelopes: Vec<Bytes> = (0..size).map(|_| envelope()).collect();
        let (outcomes, took) = driven.apply_envelopes(&envelopes);
        let accepted = |outcome: &CommandOutcome| matches!(outcome, CommandOutcome::Accepted(_));
        assert!(outcomes.iter().all(accepted), "{outcomes:?}");
        took
    }
}

/// What an entry costs, and one at whose last command the guest traps, with a state of so many MiB.
fn failures(module: &GuestModule, mib: u32) -> (Duration, Duration) {
    let mut driven = Driven::new(module, &MachineLimits::default());
    driven.apply(&[format!("{{\"keep\":{{\"mib\":{mib}}}}}")]);
    let good = vec!["{\"add\":{\"by\":1}}".to_owned(); 64];
    let mut bad = good.clone();
    bad[63] = "{\"half\":{}}".to_owned();
    let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..FAILURES {
        without += driven.apply(&good).1;
        with += driven.apply(&bad).1;
        // The first entry after a failure undoes it.
        with += driven.apply(&good[..1]).1;
    }
    (without / FAILURES, with / FAILURES)
}
