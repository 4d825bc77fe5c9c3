//! A state machine whose commands show their class: `!…` is a control record, `?…` a report.

use std::io::{Read, Write};

use bytes::Bytes;

use crate::entry::CommandClass;
use crate::state_machine::*;

#[derive(Default)]
pub(super) struct ClassedMachine(pub(super) MemoryStateMachine);

impl ReplicatedStateMachine for ClassedMachine {
    type Reply = Bytes;
    type Query = usize;
    type Response = Option<Bytes>;

    fn class_of(command: &Bytes) -> CommandClass {
        match command.first() {
            Some(b'!') => CommandClass::Control,
            Some(b'?') => CommandClass::Report,
            _ => CommandClass::Client,
        }
    }

    fn apply(&mut self, at: Moment, commands: &[Bytes]) -> Result<Vec<Bytes>, MachineError> {
        self.0.apply(at, commands)
    }

    fn query(&mut self, at: Moment, position: usize) -> Option<Bytes> {
        self.0.query(at, position)
    }

    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        self.0.snapshot(to)
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        self.0.restore(from)
    }
}
