//! How long a switch of modules holds up apply, by the size of the state: from the entry that activates the new module to
//! the next command.
//!
//! ```sh
//! cargo run --release -p oarlock-wasm --example switch_bench
//! ```

use std::error::Error;
use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use oarlock_wasm::{
    CheckResult, CommandOutcome, Envelope, GuestEngine, GuestModule, MachineLimits, UpgradeBegin,
    UpgradeOutcome, UpgradeRecord, WasmMachine,
};
use task_queue_raft::state_machine::{Moment, StateMachine};
use task_queue_raft::types::Index;

const GUEST: &[u8] = include_bytes!("../../../tests/guests/faulty.wasm");
const STATE_MIB: [u64; 4] = [1, 16, 64, 256];

struct Node {
    machine: WasmMachine,
    applied: u64,
}

impl Node {
    fn apply(&mut self, envelope: Bytes) -> Result<CommandOutcome, Box<dyn Error>> {
        self.applied += 1;
        let at = Moment {
            index: Index(self.applied),
            time_ms: self.applied,
        };
        let outcomes = self.machine.apply(at, &[envelope])?;
        outcomes
            .into_iter()
            .next()
            .ok_or_else(|| "no outcome".into())
    }

    fn say(&mut self, word: &UpgradeRecord) -> Result<UpgradeOutcome, Box<dyn Error>> {
        match self.apply(Envelope::upgrade(word))? {
            CommandOutcome::Upgrade(answer) => Ok(answer),
            other => Err(format!("{other:?} is no answer to {word:?}").into()),
        }
    }
}

/// The same guest with a custom section, which makes it another module.
fn another() -> Bytes {
    [GUEST, &[0, 2, 1, b'2']].concat().into()
}

fn measure(engine: &GuestEngine, state_mib: u64) -> Result<(), Box<dyn Error>> {
    let limits = MachineLimits::default();
    let module = GuestModule::load(engine, GUEST, &limits)?;
    let mut node = Node {
        machine: WasmMachine::new(module, limits, None)?,
        applied: 0,
    };
    for _ in 0..state_mib {
        node.apply(Envelope::command(None, br#"{"keep":{"mib":1}}"#)?)?;
    }
    let new = another();
    let upgrade = Index(node.applied + 1);
    node.say(&UpgradeRecord::Begin(UpgradeBegin {
        sha256: oarlock_wasm::Sha256::of(&new),
        bytes: new.len() as u64,
        wait_ms: 1_000_000,
        dry_run: false,
        by: "bench".to_owned(),
    }))?;
    let (changed, changes) = mpsc::channel();
    node.machine.status().on_upgrade(move || {
        // Whoever is gone wants to know nothing.
        let _ = changed.send(());
    });
    // Compiling and trying it out happen at once here; on a node they happen beside apply.
    let began = Instant::now();
    node.say(&UpgradeRecord::Chunk {
        upgrade,
        offset: 0,
        bytes: new,
    })?;
    let prepared = began.elapsed();
    let verdict = loop {
        if let Some(verdict) = node.machine.status().upgrades().own_check() {
            break verdict.clone();
        }
        changes.recv()?;
    };
    let CheckResult::Ready { route, state, .. } = verdict else {
        return Err(format!("{verdict:?}").into());
    };
    node.say(&UpgradeRecord::Report {
        upgrade,
        node: "node1".to_owned(),
        result: verdict,
    })?;
    let began = Instant::now();
    let answer = node.say(&UpgradeRecord::Activate {
        upgrade,
        route,
        state,
    })?;
    let switched = began.elapsed();
    assert_eq!(answer, UpgradeOutcome::Activated);
    println!(
        "{state_mib:>8} {:>16.1} {:>12.1}",
        prepared.as_secs_f64() * 1000.0,
        switched.as_secs_f64() * 1000.0
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = GuestEngine::new()?;
    println!(
        "{:>8} {:>16} {:>12}",
        "MiB", "preparation, ms", "switch, ms"
    );
    for state_mib in STATE_MIB {
        measure(&engine, state_mib)?;
    }
    Ok(())
}
