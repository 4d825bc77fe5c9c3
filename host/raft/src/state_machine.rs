//! The trait of a replicated state machine, and one in memory for tests and examples.

mod query_callback;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};

use bytes::Bytes;
use thiserror::Error;

use crate::entry::CommandClass;
use crate::ids::Index;
pub use query_callback::{ClientWatch, QueryCallback, WaitingClient};

/// The point in the log at which a state machine is called. It is the same on every node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Index of the entry.
    pub index: Index,
    /// Time of the entry: the leader's clock when it was proposed, in milliseconds since 1970. Never decreases.
    pub time_ms: u64,
}

/// A state machine that can't continue: the node stops. A command that the machine rejects is no error; it gets a reply.
#[derive(Debug, Error)]
pub enum MachineError {
    /// A snapshot could not be read or written.
    #[error("the snapshot could not be read or written: {0}")]
    Snapshot(#[from] io::Error),
    /// Any other reason.
    #[error("the state machine failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Writes a captured state.
pub type SnapshotWork = Box<dyn FnOnce(&mut dyn Write) -> Result<(), MachineError> + Send>;

/// The logic that Raft replicates.
///
/// It must be deterministic: its state and replies depend only on its state before, the [`Moment`] and the commands. So it
/// uses no clock, no randomness, no iteration over a hash map, and nothing else that differs between two nodes.
pub trait ReplicatedStateMachine: Send + 'static {
    /// Reply to a command.
    type Reply: Send + 'static;
    /// A query. It changes nothing.
    type Query: Send + 'static;
    /// Response to a query.
    type Response: Send + 'static;

    /// Stack of the thread that applies entries, in bytes. Pages that are never used take no memory.
    const STACK_BYTES: usize = 64 << 20;

    /// The class of a command. It must depend on the bytes alone. When the log or a queue is full, only
    /// [`CommandClass::Control`] and, in part, [`CommandClass::Report`] are accepted. They also overtake queued commands of
    /// clients.
    fn class_of(command: &Bytes) -> CommandClass
    where
        Self: Sized,
    {
        let _ = command;
        CommandClass::Client
    }

    /// Applies the commands of one entry. Returns one reply for each command, in the same order.
    ///
    /// # Errors
    /// The machine can't continue. The node stops.
    fn apply(&mut self, at: Moment, commands: &[Bytes]) -> Result<Vec<Self::Reply>, MachineError>;

    /// The cluster is at `level` from the entry at `at` on, with these settings of the state machine. Called for the first entry
    /// of a new cluster and for each raise of the level, never for a cluster at level 0. `settings` are those that the node which
    /// created the entry was given ([`RaftBuilder::initial_settings`](crate::RaftBuilder::initial_settings)). A machine that keeps
    /// anything of them keeps it in its snapshots too: `configure` is not repeated after [`Self::restore`]. The default ignores
    /// them.
    ///
    /// # Errors
    /// The machine does not know the level or the settings. The node stops.
    fn configure(
        &mut self,
        _at: Moment,
        _level: u32,
        _settings: &Bytes,
    ) -> Result<(), MachineError> {
        Ok(())
    }

    /// Responds to a query from the state after the entry at `at`.
    fn query(&mut self, at: Moment, query: Self::Query) -> Self::Response;

    /// Responds to a query now, or on another thread while later entries are applied. The response is from the state after
    /// the entry at `at` or a later one; `respond` receives its index. Use `respond` once, on any thread. If it is dropped
    /// instead, the client gets the error that the node is stopping. The machine may hold the query back until
    /// [`Self::on_idle`], and may end it once its client has gone ([`QueryCallback::client`]).
    fn query_async(
        &mut self,
        at: Moment,
        query: Self::Query,
        respond: QueryCallback<Self::Response>,
    ) {
        if !respond.client().has_gone() {
            let response = self.query(at, query);
            respond.respond(at.index, response);
        }
    }

    /// Whether the last call of [`Self::apply`] gave earlier commands their replies. Their clients wait at any node, so the leader
    /// sends the commit index of that entry to all nodes without a delay.
    fn has_ended_waits(&self) -> bool {
        false
    }

    /// Called when no task is queued: do now what was held back.
    fn on_idle(&mut self) {}

    /// Writes the whole state.
    ///
    /// # Errors
    /// The state could not be written. The node continues, and retries later.
    fn snapshot(&mut self, to: &mut dyn Write) -> Result<(), MachineError>;

    /// Captures the current state, and returns the work that writes it. The work may run on any thread, while later entries
    /// are applied.
    ///
    /// # Errors
    /// The state could not be captured. The node continues, and retries later.
    fn begin_snapshot(&mut self) -> Result<SnapshotWork, MachineError> {
        let mut bytes = Vec::new();
        self.snapshot(&mut bytes)?;
        Ok(Box::new(move |to| Ok(to.write_all(&bytes)?)))
    }

    /// Replaces the state by that of a snapshot.
    ///
    /// # Errors
    /// The bytes are not a snapshot of this machine. The node stops.
    fn restore(&mut self, from: &mut dyn Read) -> Result<(), MachineError>;
}

/// A state machine that keeps all of its commands in memory. For tests and examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStateMachine {
    commands: Vec<Bytes>,
}

impl MemoryStateMachine {
    /// A state machine without commands.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The applied commands, in order.
    #[must_use]
    pub fn commands(&self) -> &[Bytes] {
        &self.commands
    }
}

impl ReplicatedStateMachine for MemoryStateMachine {
    type Reply = Bytes;
    type Query = usize;
    type Response = Option<Bytes>;

    /// The reply to a command is the command itself.
    fn apply(&mut self, _at: Moment, commands: &[Bytes]) -> Result<Vec<Bytes>, MachineError> {
        self.commands.extend_from_slice(commands);
        Ok(commands.to_vec())
    }

    /// Responds with the command at this position, counted from 0.
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

/// Splits the first command off a snapshot: its length in eight bytes, big-endian, then its bytes.
fn take_command(rest: &mut Bytes) -> Result<Bytes, io::Error> {
    let cut_short = || io::Error::new(io::ErrorKind::UnexpectedEof, "a command is truncated");
    let (length, _) = rest.split_first_chunk::<8>().ok_or_else(cut_short)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| cut_short())?;
    let _ = rest.split_to(8);
    if rest.len() < length {
        return Err(cut_short());
    }
    Ok(rest.split_to(length))
}
