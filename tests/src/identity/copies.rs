//! Three copies of one guest, and their comparison.

use oarlock_wasm::{CommandOutcome, GuestModule, MachineFailure, MachineLimits, WasmMachine};
use task_queue_raft::state_machine::{MachineError, ReplicatedStateMachine};

use super::history::Entry;
use super::{Difference, Guest, Plan, Report};
use crate::sim::rng::Rng;

const RESTORED: &str = "restored";
const REPLAYED: &str = "replayed";

/// The three of them.
pub(super) struct Copies {
    module: GuestModule,
    limits: MachineLimits,
    rng: Rng,
    seed: u64,
    report: Report,
    live: WasmMachine,
    /// Written and read again every so often.
    restored: WasmMachine,
    /// What a node has on its disk: the last snapshot and the entries after it, with what they came to.
    base: Option<Vec<u8>>,
    log: Vec<(Entry, Vec<CommandOutcome>)>,
    /// Commands until the next restore, and until the next replay.
    until_restore: u64,
    until_replay: u64,
    entry: u64,
}

impl Copies {
    pub(super) fn new(
        guest: &Guest,
        plan: &Plan,
        module: GuestModule,
        limits: MachineLimits,
    ) -> Result<Self, Difference> {
        let start = || {
            let started = WasmMachine::new(module.clone(), limits, None);
            started.map_err(|failure| Difference::Stopped {
                guest: guest.name.clone(),
                seed: plan.seed,
                entry: 0,
                copy: "live",
                source: failure.into(),
            })
        };
        Ok(Self {
            live: start()?,
            restored: start()?,
            module: module.clone(),
            limits,
            rng: Rng::new(!plan.seed),
            seed: plan.seed,
            report: Report {
                guest: guest.name.clone(),
                ..Report::default()
            },
            base: None,
            log: Vec::new(),
            until_restore: 0,
            until_replay: 2000,
            entry: 0,
        })
    }

    /// When the guest wants to be woken.
    pub(super) fn wake_at_ms(&self) -> u64 {
        self.live.status().get().counts.wake_at_ms
    }

    /// Applies an entry to the live copy and to the restored one.
    pub(super) fn apply(&mut self, entry: Entry) -> Result<&[CommandOutcome], Difference> {
        self.entry = entry.at.index.0;
        let outcomes = self.live.apply(entry.at, &entry.commands);
        let outcomes = outcomes.map_err(|error| self.stopped("live", error))?;
        let same = self.restored.apply(entry.at, &entry.commands);
        let same = same.map_err(|error| self.stopped(RESTORED, error))?;
        self.compare(RESTORED, &outcomes, &same)?;
        let hashes = (self.live.state_hash(), self.restored.state_hash());
        self.equal(RESTORED, "the hash", hashes.0, hashes.1)?;
        let wakes = self.restored.status().get().counts.wake_at_ms;
        self.equal(
            RESTORED,
            "when it wants to be woken",
            self.wake_at_ms(),
            wakes,
        )?;
        self.count(&entry, &outcomes);
        let commands = entry.commands.len() as u64;
        self.log.push((entry, outcomes));
        self.until_restore = self.until_restore.saturating_sub(commands);
        if self.until_restore == 0 {
            self.restore()?;
        }
        self.until_replay = self.until_replay.saturating_sub(commands);
        if self.until_replay == 0 {
            self.replay()?;
        }
        Ok(self.log.last().map_or(&[], |(_, outcomes)| outcomes))
    }

    /// Compares all of them once more.
    pub(super) fn end(mut self) -> Result<Report, Difference> {
        self.restore()?;
        self.replay()?;
        self.report.state_hash = self.live.state_hash().to_string();
        Ok(self.report)
    }

    /// Makes another machine of what the second copy writes, as a node does that is started again.
    fn restore(&mut self) -> Result<(), Difference> {
        // Soon after each other and far apart.
        self.until_restore = self.rng.pick(&[1, 50, 1000, 8000]);
        let written = write(&mut self.restored).map_err(|error| self.stopped(RESTORED, error))?;
        self.restored = self.begin(Some(&written), RESTORED)?;
        let again = write(&mut self.restored).map_err(|error| self.stopped(RESTORED, error))?;
        self.same_bytes(RESTORED, &written, &again)?;
        self.report.restores += 1;
        Ok(())
    }

    /// Makes a third machine of the last snapshot and the entries after it, and compares all three.
    fn replay(&mut self) -> Result<(), Difference> {
        self.until_replay = self.rng.pick(&[500, 3000, 10_000]);
        let mut replayed = self.begin(self.base.as_deref(), REPLAYED)?;
        let log = std::mem::take(&mut self.log);
        for (entry, outcomes) in &log {
            self.entry = entry.at.index.0;
            let same = replayed.apply(entry.at, &entry.commands);
            let same = same.map_err(|error| self.stopped(REPLAYED, error))?;
            self.compare(REPLAYED, outcomes, &same)?;
        }
        self.report.replayed += log.len() as u64;
        let hashes = (self.live.state_hash(), replayed.state_hash());
        self.equal(REPLAYED, "the hash", hashes.0, hashes.1)?;
        let live = write(&mut self.live).map_err(|error| self.stopped("live", error))?;
        let restored = write(&mut self.restored).map_err(|error| self.stopped(RESTORED, error))?;
        let third = write(&mut replayed).map_err(|error| self.stopped(REPLAYED, error))?;
        self.same_bytes(RESTORED, &live, &restored)?;
        self.same_bytes(REPLAYED, &live, &third)?;
        self.report.snapshots += 1;
        self.report.largest_bytes = self.report.largest_bytes.max(live.len() as u64);
        self.base = Some(live);
        Ok(())
    }

    fn begin(&self, from: Option<&[u8]>, copy: &'static str) -> Result<WasmMachine, Difference> {
        let stopped = |failure: MachineFailure| self.stopped(copy, failure.into());
        let machine = WasmMachine::new(self.module.clone(), self.limits, None);
        let mut machine = machine.map_err(stopped)?;
        if let Some(mut bytes) = from {
            let restored = machine.restore(&mut bytes);
            restored.map_err(|error| self.stopped(copy, error))?;
        }
        Ok(machine)
    }

    fn count(&mut self, entry: &Entry, outcomes: &[CommandOutcome]) {
        let report = &mut self.report;
        report.entries += 1;
        if entry.wakes {
            report.wake_ups += 1;
            return;
        }
        for outcome in outcomes {
            report.commands += 1;
            match outcome {
                CommandOutcome::Accepted(_) => report.accepted += 1,
                CommandOutcome::Rejected(_) => report.refused += 1,
                _ => report.others += 1,
            }
        }
    }

    fn compare(
        &self,
        copy: &'static str,
        live: &[CommandOutcome],
        other: &[CommandOutcome],
    ) -> Result<(), Difference> {
        self.equal(copy, "the outcomes", live, other)
    }

    fn same_bytes(&self, copy: &'static str, live: &[u8], other: &[u8]) -> Result<(), Difference> {
        let first = live.iter().zip(other).position(|(one, two)| one != two);
        let (lengths, at) = ((live.len(), other.len()), first);
        if live == other {
            return Ok(());
        }
        Err(self.differ(
            copy,
            format!("its snapshot: lengths {lengths:?}, first other byte {at:?}"),
        ))
    }

    fn equal<T: PartialEq + std::fmt::Debug>(
        &self,
        copy: &'static str,
        what: &str,
        live: T,
        other: T,
    ) -> Result<(), Difference> {
        if live == other {
            return Ok(());
        }
        Err(self.differ(copy, format!("{what}: {live:?} and {other:?}")))
    }

    fn differ(&self, copy: &'static str, what: String) -> Difference {
        Difference::Differ {
            guest: self.report.guest.clone(),
            seed: self.seed,
            entry: self.entry,
            copy,
            what,
        }
    }

    fn stopped(&self, copy: &'static str, source: MachineError) -> Difference {
        Difference::Stopped {
            guest: self.report.guest.clone(),
            seed: self.seed,
            entry: self.entry,
            copy,
            source,
        }
    }
}

fn write(machine: &mut WasmMachine) -> Result<Vec<u8>, MachineError> {
    let mut bytes = Vec::new();
    machine.snapshot(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
