//! What happens beside apply: how long a snapshot holds it up, and how fast questions are answered.
//! `cargo run --release -p oarlock-wasm --example beside_bench`
//!
//! The guest holds so many MiB and changes a random page of them at each command. Only ratios within one run mean
//! something.

#![expect(clippy::print_stdout, reason = "it is what the example is for")]

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oarlock_wasm::{Envelope, GuestEngine, GuestModule, MachineLimits, WasmMachine};
use task_queue_raft::state_machine::{Moment, StateMachine};
use task_queue_raft::types::Index;

#[path = "../src/testing/core.rs"]
mod core;

const SCRIPTED: &str = include_str!("../src/testing/scripted.wat");
const PAGES_A_MIB: u32 = 16;

/// Between two entries of 16 commands: a busy cluster's, not as many as the guest could take.
const PAUSE: Duration = Duration::from_micros(800);

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let engine = GuestEngine::new()?;
    let limits = MachineLimits {
        memory_bytes: 2 << 30,
        ..MachineLimits::default()
    };
    let heavy = GuestModule::load(&engine, core::core_module(&heavy()), &limits)?;
    println!("undone by {}", heavy.rollback_method());
    println!(
        "state       commands/s  entry, longest  caught in  longest beside  written in  in all"
    );
    for mib in [64, 256, 1024] {
        snapshots(&heavy, &limits, mib)?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let kv = std::fs::read(root.join("examples-wasm/dist/kv.wasm"))?;
    let kv = GuestModule::load(&engine, kv, &limits)?;
    println!("questions/s at once  beside on 1  beside on 2   entries between");
    for every in [0, 1_000, 100, 10] {
        let line = [0, 1, 2].map(|threads| questions(&kv, &limits, threads, every));
        let [one, two, three] = line
            .map(|rate| rate.map_or_else(|error| error.to_string(), |rate| format!("{rate:.0}")));
        let every = if every == 0 {
            "none".to_owned()
        } else {
            format!("one for each {every}")
        };
        println!("{one:>19}  {two:>11}  {three:>11}   {every}");
    }
    Ok(())
}

/// The guest of `scripted.wat`: `b` grows and fills its memory, `v` writes to an address, and a snapshot has all of it.
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

struct Driven {
    machine: WasmMachine,
    index: u64,
    random: u64,
}

impl Driven {
    fn new(module: &GuestModule, limits: &MachineLimits, threads: usize) -> Result<Self, Error> {
        let machine = WasmMachine::new(module.clone(), *limits, None)?;
        Ok(Self {
            machine: machine.with_query_threads(threads)?,
            index: 0,
            random: 1,
        })
    }

    fn at(&self) -> Moment {
        Moment {
            index: Index(self.index),
            time_ms: self.index,
        }
    }

    fn apply(&mut self, commands: &[Vec<u8>]) -> Result<Duration, Error> {
        let envelopes = commands.iter().map(|body| Envelope::command(None, body));
        let envelopes: Vec<Bytes> = envelopes.collect::<Result<_, _>>()?;
        self.index += 1;
        let start = Instant::now();
        self.machine.apply(self.at(), &envelopes)?;
        Ok(start.elapsed())
    }

    fn roll(&mut self, sides: u32) -> u32 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) as u32 % sides
    }

    /// An entry of commands that each change a page somewhere.
    fn change(&mut self, mib: u32) -> Result<Duration, Error> {
        let commands: Vec<_> = (0..16)
            .map(|_| {
                op(
                    b'v',
                    (1 << 20) + self.roll(mib - 2) * (1 << 20) + self.roll(1 << 18) * 4,
                )
            })
            .collect();
        self.apply(&commands)
    }
}

/// Prints how long entries take while a snapshot is written.
fn snapshots(module: &GuestModule, limits: &MachineLimits, mib: u32) -> Result<(), Error> {
    let mut driven = Driven::new(module, limits, 1)?;
    for _ in 0..mib / 16 {
        driven.apply(&[op(b'b', 16 * PAGES_A_MIB)])?;
    }
    driven.apply(&[op(b'p', (mib - 1) << 20)])?;
    let (mut before, mut entries) = (Duration::ZERO, 0_u32);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        before = before.max(driven.change(mib)?);
        entries += 1;
        std::thread::sleep(PAUSE);
    }
    let rate = f64::from(entries * 16) / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let work = driven.machine.begin_snapshot()?;
    let caught = start.elapsed();
    let (done, is_done) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        let start = Instant::now();
        let written = work(&mut std::io::sink());
        done.send((start.elapsed(), written)).unwrap();
    });
    let mut beside = Duration::ZERO;
    let (written, result) = loop {
        beside = beside.max(driven.change(mib)?);
        std::thread::sleep(PAUSE);
        if let Ok(written) = is_done.try_recv() {
            break written;
        }
    };
    result?;
    writer.join().map_err(|_| "the writer panicked")?;
    let start = Instant::now();
    driven.machine.snapshot(&mut std::io::sink())?;
    let whole = start.elapsed();
    println!(
        "{mib:5} MiB  {rate:10.0}  {before:>14.1?}  {caught:>9.1?}  {beside:>14.1?}  {written:>10.1?}  {whole:>6.0?}"
    );
    Ok(())
}

/// Questions per second, with an entry after each so many of them.
fn questions(
    module: &GuestModule,
    limits: &MachineLimits,
    threads: usize,
    every: u64,
) -> Result<f64, Error> {
    const KEYS: u32 = 100_000;
    const UNDER_WAY: u64 = 256;
    let mut driven = Driven::new(module, limits, threads)?;
    let put = |key: u32| {
        format!(
            "{{\"put\":{{\"key\":\"key-{key:08}\",\"value\":\"{}\"}}}}",
            "v".repeat(200)
        )
        .into_bytes()
    };
    for keys in 0..KEYS / 1_000 {
        let commands: Vec<_> = (0..1_000).map(|key| put(keys * 1_000 + key)).collect();
        driven.apply(&commands)?;
    }
    let (answered, answers) = mpsc::channel();
    let (mut asked, mut got) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let key = driven.roll(KEYS);
        let query = Bytes::from(format!("{{\"get\":{{\"key\":\"key-{key:08}\"}}}}"));
        let answered = answered.clone();
        let answer = Box::new(move |_, answer| {
            // The last ones nobody waits for.
            let _ = answered.send(answer);
        });
        driven.machine.query_beside(driven.at(), query, answer);
        asked += 1;
        if every > 0 && asked % every == 0 {
            let key = driven.roll(KEYS);
            driven.apply(&[put(key)])?;
        }
        while asked - got >= UNDER_WAY {
            driven.machine.rest();
            answers.recv()??;
            got += 1;
        }
    }
    driven.machine.rest();
    while got < asked {
        answers.recv()??;
        got += 1;
    }
    Ok(asked as f64 / start.elapsed().as_secs_f64())
}
