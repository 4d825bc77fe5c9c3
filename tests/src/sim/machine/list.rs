//! A list to which each command appends its number. The reply is the place it got.

use std::io::{Read, Write};

use bytes::Bytes;
use task_queue_raft::state_machine::MachineError;

use super::{Told, View};
use crate::sim::planted::Planted;

/// The number of a command: its first eight bytes, big-endian. What follows only makes it longer.
pub(super) fn number_of(command: &[u8]) -> u64 {
    command
        .first_chunk()
        .map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}

/// A command with this number and so many bytes after it.
pub(super) fn command_of(number: u64, padding: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + padding, 0x5a);
    bytes.into()
}

/// An append-only list.
#[derive(Debug)]
pub(crate) struct ListMachine {
    list: Vec<u64>,
    view: View,
    node: usize,
    planted: Option<Planted>,
}

impl ListMachine {
    pub(super) fn new(node: usize, planted: Option<Planted>) -> Self {
        Self {
            list: Vec::new(),
            view: View::default(),
            node,
            planted,
        }
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    fn push(&mut self, number: u64) {
        self.list.push(number);
        self.view.push(number);
    }

    /// How often a command is applied: once, unless a fault is planted.
    fn times(&self, number: u64) -> u32 {
        match self.planted {
            Some(Planted::AppliesTwice) if number % 16 == 7 => 2,
            Some(Planted::OneNodeAppliesTwice) if self.node == 1 && number % 16 == 7 => 2,
            Some(Planted::OneNodeSkips) if self.node == 1 && number % 16 == 7 => 0,
            _ => 1,
        }
    }

    pub(super) fn apply(&mut self, commands: &[Bytes]) -> Vec<Told> {
        let mut replies = Vec::with_capacity(commands.len());
        let reversed: Vec<Bytes>;
        let commands = if self.planted == Some(Planted::OneNodeReverses) && self.node == 1 {
            reversed = commands.iter().rev().cloned().collect();
            &reversed
        } else {
            commands
        };
        for command in commands {
            let number = number_of(command);
            replies.push(Told::Place(self.view.length));
            for _ in 0..self.times(number) {
                self.push(number);
            }
        }
        replies
    }

    pub(super) fn snapshot(&self, to: &mut dyn Write) -> Result<(), MachineError> {
        for number in &self.list {
            to.write_all(&number.to_be_bytes())?;
        }
        Ok(())
    }

    pub(super) fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        if self.planted == Some(Planted::RestoreLosesTheLast) {
            bytes.truncate(bytes.len().saturating_sub(8));
        }
        if self.planted == Some(Planted::RestoreAltersOne)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        self.list.clear();
        self.view = View::default();
        for number in bytes.chunks(8) {
            self.push(number_of(number));
        }
        Ok(())
    }
}
