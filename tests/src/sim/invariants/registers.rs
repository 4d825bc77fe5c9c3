//! The state that a correct machine computes from the log: for each register the list of the commands that set it, in
//! order. A command that is larger than the setting allows takes no effect. A command with an idempotency key takes effect once however often it is in the log, and a compare-and-swap only
//! where it finds what it expects.

use std::collections::BTreeSet;

use task_queue_raft::ids::Index;

use crate::sim::history::OpId;
use crate::sim::machine::{Deed, MachineKind};

/// The registers, with all that ever stood in them.
#[derive(Debug)]
pub(crate) struct Registers {
    lists: Vec<Vec<OpId>>,
    /// By which entry each one of `lists` was set.
    entries: Vec<Vec<Index>>,
    /// Commands with a key that were executed, with any outcome.
    keys: BTreeSet<OpId>,
    /// The setting that limits the size of commands; none before the cluster has settings.
    command_bytes: Option<u64>,
}

impl Registers {
    pub(crate) fn new(kind: MachineKind) -> Self {
        let count = usize::from(kind.registers());
        Self {
            lists: vec![Vec::new(); count],
            entries: vec![Vec::new(); count],
            keys: BTreeSet::new(),
            command_bytes: None,
        }
    }

    /// The cluster has settings from here on, unless it has some already.
    pub(crate) fn begin(&mut self, command_bytes: Option<u64>) {
        self.command_bytes = self.command_bytes.or(command_bytes);
    }

    /// An operator changes a setting. Before the cluster has settings that changes nothing.
    pub(crate) fn change(&mut self, command_bytes: Option<u64>) {
        if self.command_bytes.is_some() {
            self.command_bytes = command_bytes.or(self.command_bytes);
        }
    }

    /// The setting that limits the size of commands; none before the cluster has settings.
    pub(crate) fn command_bytes(&self) -> Option<u64> {
        self.command_bytes
    }

    /// The commands that set a register, in order.
    pub(crate) fn lists(&self) -> &[Vec<OpId>] {
        &self.lists
    }

    /// Carries a command out; returns whether it set its register.
    pub(crate) fn take(&mut self, index: Index, deed: &Deed) -> bool {
        let register = usize::from(deed.register);
        let (Some(list), Some(entries)) =
            (self.lists.get_mut(register), self.entries.get_mut(register))
        else {
            return false;
        };
        if self.command_bytes.is_some_and(|most| deed.bytes > most) {
            return false;
        }
        if deed.keyed && !self.keys.insert(deed.number) {
            return false;
        }
        if deed
            .expect
            .is_some_and(|expect| expect != list.last().copied())
        {
            return false;
        }
        list.push(deed.number);
        entries.push(index);
        true
    }

    /// The value of a register after the entry at `index`.
    pub(crate) fn after(&self, index: Index, register: u8) -> Option<OpId> {
        let register = usize::from(register);
        let set = self.entries.get(register)?;
        let length = set.partition_point(|entry| *entry <= index);
        self.lists[register].get(length.checked_sub(1)?).copied()
    }
}
