//! Snapshots while entries are applied, and queries on replicas.
//!
//! The guest has so many MiB and changes a random page of them at each command.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oarlock_wasm::{GuestModule, MachineLimits, QueryThreads};
use task_queue_raft::state_machine::{QueryCallback, ReplicatedStateMachine};

use super::{Driven, SCRIPTED, core, engine, load, micros};
use crate::Options;
use crate::report::Report;

const STATES_MIB: [u32; 3] = [64, 256, 1024];
const PAGES_A_MIB: u32 = 16;
/// Between two entries of 16 commands: a busy cluster's pace, not the guest's limit.
const PAUSE: Duration = Duration::from_micros(800);
/// Keys of the store that is queried.
const KEYS: u32 = 100_000;
/// Queries in flight.
const QUERIES: u64 = 256;
/// An entry after so many queries; 0 for none.
const ENTRY_AFTER: [u64; 4] = [0, 1_000, 100, 10];

/// Measures snapshots by the size of the state, and queries by the number of replicas.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let engine = engine();
    let limits = MachineLimits {
        memory_bytes: 2 << 30,
        ..MachineLimits::default()
    };
    let heavy = core::core_module(&heavy());
    let heavy = GuestModule::load(&engine, heavy, &limits).expect("a guest");
    for mib in STATES_MIB {
        snapshot(options, &heavy, &limits, mib, report);
    }
    let kv = load(&engine, "kv", &limits);
    for every in ENTRY_AFTER {
        for threads in [0, 1, 2] {
            let rate = queries(options, &kv, &limits, threads, every);
            let between = match every {
                0 => "no entries between".to_owned(),
                every => format!("an entry after each {every}"),
            };
            let name = format!("queries on {threads} replicas, {between}");
            report.line(&name, rate, "/s");
        }
    }
}

/// The guest of `scripted.wat`, changed: `b` grows and fills its memory, `v` writes to an address, and a snapshot has all
/// of it.
fn heavy() -> String {
    let mut text = core::in_memory(SCRIPTED);
    for (before, after) in [
        (
            "(i32.store (i32.const 24) (i32.const -1))",
            "(memory.fill (i32.shl (memory.grow (i32.load (local.get $rest))) (i32.const 16)) (i32.const 165)
               (i32.shl (i32.load (local.get $rest)) (i32.const 16)))",
        ),
        (
            "(then (call $spin))) ;; v\n    (if (i32.eq (local.get $op) (i32.const 115)) (then ;; s",
            "(then (i32.store (i32.load (local.get $rest)) (i32.add (i32.const 1) (i32.load (i32.load (local.get $rest)))))
               (return (i32.const 0)))) ;; v
             (if (i32.eq (local.get $op) (i32.const 115)) (then ;; s",
        ),
        (
            "(call $write (local.get $sink) (i32.const 512) (local.get $now))",
            "(call $write (local.get $sink)
               (i32.sub (i32.add (i32.const 524288) (i32.load (i32.const 8))) (local.get $left)) (local.get $now))",
        ),
    ] {
        assert_eq!(text.matches(before).count(), 1, "{before}");
        text = text.replace(before, after);
    }
    text
}

fn op(letter: u8, number: u32) -> Vec<u8> {
    let mut command = vec![letter];
    command.extend_from_slice(&number.to_le_bytes());
    command
}

/// Random numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as u32 % limit
    }
}

/// An entry of commands that each change a page somewhere.
fn change(driven: &mut Driven, random: &mut Random, mib: u32) -> Duration {
    let mut command = || {
        let address = (1 << 20) + random.below(mib - 2) * (1 << 20) + random.below(1 << 18) * 4;
        op(b'v', address)
    };
    let commands: Vec<_> = (0..16).map(|_| command()).collect();
    driven.apply(&commands).1
}

/// How long entries take before and while a snapshot is written.
fn snapshot(
    options: &Options,
    module: &GuestModule,
    limits: &MachineLimits,
    mib: u32,
    report: &mut Report,
) {
    let (mut driven, mut random) = (Driven::new(module, limits), Random(1));
    for _ in 0..mib / 16 {
        driven.apply(&[op(b'b', 16 * PAGES_A_MIB)]);
    }
    driven.apply(&[op(b'p', (mib - 1) << 20)]);
    let (mut before, begun) = (Duration::ZERO, Instant::now());
    while begun.elapsed() < options.turn() {
        before = before.max(change(&mut driven, &mut random, mib));
        std::thread::sleep(PAUSE);
    }
    let begun = Instant::now();
    let work = driven.machine.begin_snapshot().expect("a snapshot begins");
    let stopped = begun.elapsed();
    let (done, is_done) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        let begun = Instant::now();
        let written = work(&mut std::io::sink());
        done.send((begun.elapsed(), written))
    });
    let mut during = Duration::ZERO;
    let (written, result) = loop {
        during = during.max(change(&mut driven, &mut random, mib));
        std::thread::sleep(PAUSE);
        if let Ok(written) = is_done.try_recv() {
            break written;
        }
    };
    result.expect("a snapshot is written");
    let ended = writer.join().expect("a writer that does not panic");
    ended.expect("its result is received");
    let name = format!("snapshot of {mib} MiB: apply stops for");
    report.line(&name, micros(stopped) / 1e3, "ms");
    report.line("  longest entry before it", micros(before) / 1e3, "ms");
    report.line("  longest entry during it", micros(during) / 1e3, "ms");
    report.line("  written in", micros(written) / 1e3, "ms");
}

/// Queries in a second, with an entry after each so many of them.
fn queries(
    options: &Options,
    module: &GuestModule,
    limits: &MachineLimits,
    threads: usize,
    every: u64,
) -> f64 {
    let (mut driven, mut random) = (Driven::new(module, limits), Random(1));
    let threads = QueryThreads {
        count: threads,
        in_background: || {},
    };
    driven.machine = driven.machine.with_query_threads(threads).expect("threads");
    let put = |key: u32| {
        let value = "v".repeat(200);
        format!(r#"{{"put":{{"key":"key-{key:08}","value":"{value}"}}}}"#)
    };
    for keys in 0..KEYS / 1_000 {
        let commands: Vec<_> = (0..1_000).map(|key| put(keys * 1_000 + key)).collect();
        driven.apply(&commands);
    }
    let (respond, responses) = mpsc::channel();
    let (mut sent, mut received) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < options.turn() {
        let key = random.below(KEYS);
        let query = Bytes::from(format!(r#"{{"get":{{"key":"key-{key:08}"}}}}"#));
        let respond = respond.clone();
        let respond = QueryCallback::new(move |_, response| {
            // The last ones are not received.
            let _ = respond.send(response);
        });
        driven
            .machine
            .query_async(driven.at(), query.into(), respond);
        sent += 1;
        if every > 0 && sent % every == 0 {
            let key = random.below(KEYS);
            driven.apply(&[put(key)]);
        }
        while sent - received >= QUERIES {
            driven.machine.on_idle();
            let response = responses.recv().expect("a response");
            response.expect("a reply");
            received += 1;
        }
    }
    driven.machine.on_idle();
    while received < sent {
        let response = responses.recv().expect("a response");
        response.expect("a reply");
        received += 1;
    }
    sent as f64 / begun.elapsed().as_secs_f64()
}
