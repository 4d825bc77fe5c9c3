//! If a server has applied a log entry at a given index to its state machine, no other server will ever apply a
//! different log entry for the same index (§5.4.3, Figure 3); and the states agree, also after a snapshot (§7).

use std::collections::BTreeSet;

use bytes::Bytes;
use oarlock_wasm::Sha256;
use task_queue_raft::entry::{Entry, Payload, SnapshotMeta};
use task_queue_raft::ids::{Index, LogId};
use task_queue_raft::state_machine::{Moment, ReplicatedStateMachine};

use super::alarms::{Alarms, ExpectedWake};
use super::log_matching::hash_of;
use super::registers::Registers;
use crate::sim::history::OpId;
use crate::sim::machine::{
    COMMAND_BYTES, GuestMachine, MachineKind, MachineSetup, Seen, SimMachine, View,
};
use crate::sim::trace::Hash;
use crate::sim::violation::{Violation, ensure};

const SAME: &str = "state machine safety (§5.4.3)";

#[derive(Debug)]
struct Applied {
    id: LogId,
    hash: Hash,
    time_ms: u64,
    /// The state that a correct machine has after it: for the list that of the model, for the guest that of the first
    /// node to apply it.
    after: Option<View>,
    /// When a correct guest may want to be woken after it.
    wake: ExpectedWake,
}

/// Every entry as it was applied first, and a model of the machine that has applied them all.
pub(crate) struct StateMachineSafety {
    kind: MachineKind,
    applied: Vec<Applied>,
    registers: Registers,
    alarms: Alarms,
    view: View,
    /// The state before the first entry.
    first: Option<View>,
    /// In a run in which the memory of guests is corrupted: a machine that is right.
    reference: Option<SimMachine>,
    /// Its state hash after each entry.
    hashes: Vec<Sha256>,
    /// Nodes whose machine may be wrong, because it was corrupted, or has restored a snapshot of one that was.
    tainted: BTreeSet<usize>,
    /// Those of which the state is wrong.
    wrong: BTreeSet<usize>,
}

impl StateMachineSafety {
    /// `reference`: a machine for runs in which the memory of guests is corrupted.
    pub(crate) fn new(setup: MachineSetup, corrupts: bool) -> Self {
        let kind = setup.kind;
        let reference = corrupts.then(|| SimMachine::new(setup));
        let view = View::default();
        let first = match &reference {
            Some(reference) => Some(reference.view()),
            None => (kind == MachineKind::List).then_some(view),
        };
        Self {
            kind,
            reference,
            hashes: Vec::new(),
            tainted: BTreeSet::new(),
            wrong: BTreeSet::new(),
            applied: Vec::new(),
            registers: Registers::new(kind),
            alarms: Alarms::default(),
            view,
            first,
        }
    }

    pub(crate) fn lists(&self) -> &[Vec<OpId>] {
        self.registers.lists()
    }

    /// Returns whether this is the first node to apply the entry.
    pub(crate) fn on_apply(
        &mut self,
        node: usize,
        committed: Index,
        entry: &Entry,
    ) -> Result<bool, Violation> {
        ensure(
            entry.id.index <= committed,
            "only committed entries are applied (§5.3)",
            || {
                format!(
                    "n{node} applies {} and has committed up to {committed}",
                    entry.id
                )
            },
        )?;
        let hash = hash_of(entry);
        if let Some(first) = self.at(entry.id.index) {
            let same = first.id == entry.id && first.hash == hash;
            ensure(same, SAME, || {
                format!(
                    "n{node} applies {entry:?}, and another node has applied {} there",
                    first.id
                )
            })?;
            return Ok(false);
        }
        self.append(node, entry, hash)?;
        Ok(true)
    }

    fn append(&mut self, node: usize, entry: &Entry, hash: Hash) -> Result<(), Violation> {
        let next = self.applied.len() as u64 + 1;
        ensure(entry.id.index.0 == next, SAME, || {
            format!(
                "n{node} applies {}, and {next} was applied nowhere",
                entry.id
            )
        })?;
        let last_ms = self.applied.last().map_or(0, |last| last.time_ms);
        ensure(
            entry.time_ms >= last_ms,
            "the time of entries never runs backwards",
            || {
                format!(
                    "entry {} has time {} ms, the one before {last_ms} ms",
                    entry.id, entry.time_ms
                )
            },
        )?;
        match &entry.payload {
            Payload::Commands(commands) => {
                for command in commands {
                    self.take(entry, &command.data);
                }
            }
            Payload::Cluster(record) => {
                let command_bytes = self.kind.command_bytes_of(&record.settings);
                self.registers.begin(command_bytes);
            }
            Payload::Noop | Payload::Membership(_) => {}
        }
        let right = self.refer(entry)?;
        self.applied.push(Applied {
            id: entry.id,
            hash,
            time_ms: entry.time_ms,
            after: right.or((self.kind == MachineKind::List).then_some(self.view)),
            wake: self.alarms.expected(),
        });
        Ok(())
    }

    fn take(&mut self, entry: &Entry, command: &Bytes) {
        if let Some(deed) = self.kind.read(command) {
            self.registers.take(entry.id.index, &deed);
            self.view.push(deed.number);
        } else if let Some(values) = self.kind.change_in(command) {
            self.registers.change(values.get(COMMAND_BYTES).copied());
        } else if let Some(deed) = self.kind.alarm_in(command) {
            let command_bytes = self.registers.command_bytes();
            self.alarms.take(entry.time_ms, deed, command_bytes);
        }
    }

    /// The machine that is right takes an entry too.
    fn refer(&mut self, entry: &Entry) -> Result<Option<View>, Violation> {
        let Some(reference) = &mut self.reference else {
            return Ok(None);
        };
        let at = Moment {
            index: entry.id.index,
            time_ms: entry.time_ms,
        };
        let done = match &entry.payload {
            Payload::Commands(commands) => {
                let data: Vec<Bytes> = commands
                    .iter()
                    .map(|command| command.data.clone())
                    .collect();
                reference.apply(at, &data).map(drop)
            }
            Payload::Cluster(record) => reference.configure(at, record.level, &record.settings),
            Payload::Noop | Payload::Membership(_) => Ok(()),
        };
        done.map_err(|error| Violation {
            invariant: "a sound machine takes every task",
            detail: format!("the reference machine: {error}"),
        })?;
        self.hashes
            .extend(reference.guest().map(GuestMachine::state_hash));
        Ok(Some(reference.view()))
    }

    /// The state hash that is right after an entry, in a run in which the memory of guests is corrupted.
    pub(crate) fn right_hash(&self, index: Index) -> Option<Sha256> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.hashes.get(place).copied()
    }

    /// The memory of a node is corrupted from now on.
    pub(crate) fn taint(&mut self, node: usize) {
        self.tainted.insert(node);
    }

    /// Whether the state of a node is wrong.
    pub(crate) fn is_wrong(&self, node: usize) -> bool {
        self.wrong.contains(&node)
    }

    pub(crate) fn on_state(
        &mut self,
        node: usize,
        index: Index,
        view: View,
    ) -> Result<(), Violation> {
        let right = self.after(index).map(|after| *after.get_or_insert(view));
        self.check_wake(node, index, view)?;
        let agrees = right.is_some_and(|right| right.agrees(view));
        if agrees || !self.tainted.contains(&node) {
            self.wrong.remove(&node);
        } else {
            self.wrong.insert(node);
            return Ok(());
        }
        ensure(agrees, "equal logs give equal states (§2)", || {
            format!("behind entry {index} n{node} has {view:?}, and right is {right:?}")
        })
    }

    /// The guest wants to be woken for its earliest alarm.
    fn check_wake(&mut self, node: usize, index: Index, view: View) -> Result<(), Violation> {
        if self.tainted.contains(&node) {
            return Ok(());
        }
        let none = ExpectedWake::default();
        let expected = self.at(index).map_or(&none, |applied| &applied.wake);
        ensure(
            expected.allows(view.wake_at_ms),
            "a guest is woken at its time",
            || {
                format!(
                    "behind entry {index} the guest of n{node} wants to be woken at {} ms, and right is {expected:?}",
                    view.wake_at_ms
                )
            },
        )?;
        if index.0 == self.applied.len() as u64 {
            self.alarms.see(view.wake_at_ms);
        }
        Ok(())
    }

    /// A node responds to a query of a register.
    pub(crate) fn on_answer(
        &mut self,
        node: usize,
        index: Index,
        register: u8,
        seen: &Seen,
    ) -> Result<(), Violation> {
        self.on_state(node, index, seen.view)?;
        if self.is_wrong(node) {
            return Ok(());
        }
        let right = self.registers.after(index, register);
        let found = seen.register.as_ref();
        ensure(
            found.is_none_or(|found| *found == Ok(right)),
            "an answer is true of the state (§8)",
            || {
                format!(
                    "behind entry {index} n{node} finds {found:?} in register {register}, and right is {right:?}"
                )
            },
        )
    }

    pub(crate) fn on_restored(
        &mut self,
        node: usize,
        meta: &SnapshotMeta,
        view: View,
    ) -> Result<(), Violation> {
        let there = self.at(meta.last.index).map(|first| first.id);
        ensure(
            meta.last.index == Index::ZERO || there == Some(meta.last),
            "a snapshot stands for the committed log (§7)",
            || {
                format!(
                    "n{node} restores a snapshot of {}, and what was applied there is {there:?}",
                    meta.last
                )
            },
        )?;
        self.on_snapshot(node);
        self.on_state(node, meta.last.index, view)
    }

    /// A machine starts from what its disk holds: the snapshot there may have been received just before.
    pub(crate) fn on_start(
        &mut self,
        node: usize,
        index: Index,
        view: View,
    ) -> Result<(), Violation> {
        self.on_snapshot(node);
        self.on_state(node, index, view)
    }

    /// The snapshot that a machine has its state from may be of one that is wrong and does not know it.
    fn on_snapshot(&mut self, node: usize) {
        if !self.tainted.is_empty() {
            self.tainted.insert(node);
        }
    }

    fn at(&self, index: Index) -> Option<&Applied> {
        self.applied
            .get(usize::try_from(index.0.checked_sub(1)?).ok()?)
    }

    fn after(&mut self, index: Index) -> Option<&mut Option<View>> {
        if index == Index::ZERO {
            return Some(&mut self.first);
        }
        let place = usize::try_from(index.0 - 1).ok()?;
        Some(&mut self.applied.get_mut(place)?.after)
    }
}
