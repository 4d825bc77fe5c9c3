//! What Raft replicates commands for: the trait of a state machine, and one in memory for tests and examples.

#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use bytes::Bytes;
use thiserror::Error;

use crate::ids::Index;

/// The point in the log at which a state machine is called: the same on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Index of the entry.
    pub index: Index,
    /// The leader's clock, milliseconds since 1970, never running backwards.
    pub time_ms: u64,
}

/// A state machine that can't go on. The node stops applying and says why; a command that a machine merely
/// refuses is a reply, not an error.
#[derive(Debug, Error)]
pub enum MachineError {
    /// Reading or writing a snapshot failed.
    #[error("the snapshot could not be read or written: {0}")]
    Snapshot(#[from] io::Error),
    /// Something else, which differs by machine.
    #[error("the state machine failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Takes the answer to a question, and the entry after which it is so.
pub type QueryCallback<A> = Box<dyn FnOnce(Index, A) + Send>;

/// Writes a state that was caught.
pub type SnapshotWork = Box<dyn FnOnce(&mut dyn Write) -> Result<(), MachineError> + Send>;

/// Logic to be replicated. A function of its state, the moment and the commands: no clock, no randomness, no
/// order of a hash map, nothing that could differ between two nodes.
pub trait ReplicatedStateMachine: Send + 'static {
    /// What a client gets for a command.
    type Reply: Send + 'static;
    /// A question that changes nothing.
    type Query: Send + 'static;
    /// What a client gets for a question.
    type Response: Send + 'static;

    /// Applies the commands of one entry and returns as many replies, in order.
    ///
    /// # Errors
    /// Only where the node can't go on at all.
    fn apply(&mut self, at: Moment, commands: &[Bytes]) -> Result<Vec<Self::Reply>, MachineError>;

    /// Answers a question from the state after the entry at `at`.
    fn query(&mut self, at: Moment, query: Self::Query) -> Self::Response;

    /// Answers a question now, or beside what comes next: from the state after the entry at `at` or after a later one,
    /// which it names. `answer` is called once, on any thread; if it is dropped instead, the machine is gone. It may wait
    /// for what follows, up to [`Self::rest`].
    fn query_async(
        &mut self,
        at: Moment,
        query: Self::Query,
        answer: QueryCallback<Self::Response>,
    ) {
        answer(at.index, self.query(at, query));
    }

    /// There is nothing else to do just now: what was put off is to be done.
    fn on_idle(&mut self) {}

    /// Writes the whole state.
    ///
    /// # Errors
    /// Where it can't be written. The node goes on and tries later.
    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError>;

    /// Catches the state as it is, and returns what writes it: on any thread, while the machine goes on.
    ///
    /// # Errors
    /// Where it can't be written. The node goes on and tries later.
    fn begin_snapshot(&mut self) -> Result<SnapshotWork, MachineError> {
        let mut bytes = Vec::new();
        self.snapshot(&mut bytes)?;
        Ok(Box::new(move |to| Ok(to.write_all(&bytes)?)))
    }

    /// Replaces the state by that of a snapshot.
    ///
    /// # Errors
    /// Where it is not one of this machine's. The node stops.
    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError>;
}

/// A state machine that remembers its commands, in memory. For tests and examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStateMachine {
    commands: Vec<Bytes>,
}

impl MemoryStateMachine {
    /// One that remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was applied, in order.
    #[must_use]
    pub fn commands(&self) -> &[Bytes] {
        &self.commands
    }
}

impl ReplicatedStateMachine for MemoryStateMachine {
    type Reply = Bytes;
    type Query = usize;
    type Response = Option<Bytes>;

    /// Each command's reply is the command itself.
    fn apply(&mut self, _at: Moment, commands: &[Bytes]) -> Result<Vec<Bytes>, MachineError> {
        self.commands.extend_from_slice(commands);
        Ok(commands.to_vec())
    }

    /// The command at a position.
    fn query(&mut self, _at: Moment, position: usize) -> Option<Bytes> {
        self.commands.get(position).cloned()
    }

    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError> {
        for command in &self.commands {
            to.write_all(&(command.len() as u64).to_be_bytes())?;
            to.write_all(command)?;
        }
        Ok(())
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let mut rest = Bytes::from(bytes);
        let mut commands = Vec::new();
        while !rest.is_empty() {
            commands.push(take_command(&mut rest)?);
        }
        self.commands = commands;
        Ok(())
    }
}

/// Cuts the first command off a snapshot: eight bytes of length, big-endian, then as many bytes.
fn take_command(rest: &mut Bytes) -> Result<Bytes, io::Error> {
    let cut_short = || io::Error::new(io::ErrorKind::UnexpectedEof, "a command is cut short");
    let (length, _) = rest.split_first_chunk::<8>().ok_or_else(cut_short)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| cut_short())?;
    let _ = rest.split_to(8);
    if rest.len() < length {
        return Err(cut_short());
    }
    Ok(rest.split_to(length))
}
