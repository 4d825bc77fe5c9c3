//! The state machine's end of the driver: applies committed entries in order, answers queries between them, takes
//! and restores snapshots. One thread runs it.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Command, Entry, Payload, SnapshotMeta};
use crate::ids::{Index, LogId};
use crate::raft::membership::Membership;
use crate::state_machine::{
    MachineError, Moment, QueryCallback, ReplicatedStateMachine, SnapshotWork,
};
use crate::storage::{SnapshotStore, StorageError};

/// What became of a command: its place in the log and the machine's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<R> {
    /// Session of the node that proposed it.
    pub session: u64,
    /// Its number within that session.
    pub sequence: u64,
    /// Index of its entry.
    pub index: Index,
    /// What the machine says.
    pub reply: R,
}

/// Why a machine can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ApplierError {
    /// The machine itself.
    #[error("entry {index} could not be applied: {source}")]
    Machine {
        /// At which entry.
        index: Index,
        /// Why.
        #[source]
        source: MachineError,
    },
    /// It gave too few or too many replies.
    #[error(
        "entry {index} holds {commands} commands, and the state machine gave {replies} replies; this is a bug in the machine"
    )]
    Replies {
        /// At which entry.
        index: Index,
        /// How many it should have given.
        commands: usize,
        /// How many it gave.
        replies: usize,
    },
    /// A snapshot could not be restored.
    #[error("snapshot {last} could not be restored: {source}")]
    Restore {
        /// Which one.
        last: LogId,
        /// Why.
        #[source]
        source: MachineError,
    },
    /// A snapshot could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A snapshot that is to be written.
pub struct SnapshotJob {
    snapshots: Arc<dyn SnapshotStore>,
    last: LogId,
    time_ms: u64,
    membership: Option<Membership>,
    work: SnapshotWork,
}

impl SnapshotJob {
    /// Writes it. It takes no part in what the machine does meanwhile, and runs on any thread.
    ///
    /// # Errors
    /// Where it can't be written; nothing of it is seen then.
    pub fn run(self) -> Result<SnapshotMeta, ApplierError> {
        let membership = self.membership.as_ref();
        let mut writer = self.snapshots.create(self.last, self.time_ms, membership)?;
        (self.work)(&mut *writer).map_err(|source| ApplierError::Machine {
            index: self.last.index,
            source,
        })?;
        Ok(writer.finish()?)
    }
}

/// A state machine and how far it has come.
pub struct Applier<M> {
    machine: M,
    snapshots: Arc<dyn SnapshotStore>,
    last: LogId,
    time_ms: u64,
    /// Who the members are after that entry; none until the log has said so.
    membership: Option<Membership>,
}

impl<M: ReplicatedStateMachine> Applier<M> {
    /// A machine in its first state.
    #[must_use]
    pub fn new(machine: M, snapshots: Arc<dyn SnapshotStore>) -> Self {
        Self {
            machine,
            snapshots,
            last: LogId::default(),
            time_ms: 0,
            membership: None,
        }
    }

    /// The last entry applied.
    #[must_use]
    pub fn last(&self) -> LogId {
        self.last
    }

    /// The machine, for tests.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Gives the machine back.
    #[must_use]
    pub fn into_machine(self) -> M {
        self.machine
    }

    /// Applies entries that follow the last one. The replies to commands of `session` are wanted; the others go to
    /// clients of other nodes, which apply the same entries.
    ///
    /// # Errors
    /// Where the machine can't go on.
    pub fn apply(
        &mut self,
        session: u64,
        entries: Vec<Entry>,
    ) -> Result<Vec<Reply<M::Reply>>, ApplierError> {
        let mut wanted = Vec::new();
        for entry in entries {
            assert_eq!(
                entry.id.index,
                self.last.index.next(),
                "entries are applied in order, each once"
            );
            self.last = entry.id;
            self.time_ms = self.time_ms.max(entry.time_ms);
            match entry.payload {
                Payload::Noop => {}
                Payload::Commands(commands) => {
                    self.apply_commands(session, &commands, &mut wanted)?;
                }
                Payload::Membership(membership) => self.membership = Some(membership),
            }
        }
        Ok(wanted)
    }

    fn apply_commands(
        &mut self,
        session: u64,
        commands: &[Command],
        wanted: &mut Vec<Reply<M::Reply>>,
    ) -> Result<(), ApplierError> {
        let index = self.last.index;
        let data: Vec<Bytes> = commands
            .iter()
            .map(|command| command.data.clone())
            .collect();
        let replies = self
            .machine
            .apply(self.moment(), &data)
            .map_err(|source| ApplierError::Machine { index, source })?;
        if replies.len() != commands.len() {
            return Err(ApplierError::Replies {
                index,
                commands: commands.len(),
                replies: replies.len(),
            });
        }
        let own = commands
            .iter()
            .zip(replies)
            .filter(|(command, _)| command.session == session);
        wanted.extend(own.map(|(command, reply)| Reply {
            session,
            sequence: command.sequence,
            index,
            reply,
        }));
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment {
            index: self.last.index,
            time_ms: self.time_ms,
        }
    }

    /// Answers a question, and says after which entry.
    pub fn query(&mut self, query: M::Query) -> (Index, M::Response) {
        (self.last.index, self.machine.query(self.moment(), query))
    }

    /// Has a question answered, now or beside what comes next, with the entry after which it is so.
    pub fn query_async(&mut self, query: M::Query, answer: QueryCallback<M::Response>) {
        self.machine.query_async(self.moment(), query, answer);
    }

    /// There is nothing else to do just now.
    pub fn on_idle(&mut self) {
        self.machine.on_idle();
    }

    /// Takes a snapshot of the state as it is.
    ///
    /// # Errors
    /// Where it can't be written; the machine goes on.
    pub fn take_snapshot(&mut self) -> Result<SnapshotMeta, ApplierError> {
        self.begin_snapshot()?.run()
    }

    /// Catches the state as it is, for a snapshot that is written beside what comes next.
    ///
    /// # Errors
    /// Where it can't be written; the machine goes on.
    pub fn begin_snapshot(&mut self) -> Result<SnapshotJob, ApplierError> {
        let last = self.last;
        let work = self
            .machine
            .begin_snapshot()
            .map_err(|source| ApplierError::Machine {
                index: last.index,
                source,
            })?;
        Ok(SnapshotJob {
            snapshots: Arc::clone(&self.snapshots),
            last,
            time_ms: self.time_ms,
            membership: self.membership.clone(),
            work,
        })
    }

    /// Replaces the state by that of a snapshot.
    ///
    /// # Errors
    /// Where it can't be read, or is not this machine's.
    pub fn restore(&mut self, meta: &SnapshotMeta) -> Result<(), ApplierError> {
        let mut reader = self.snapshots.open(meta)?;
        self.machine
            .restore(&mut *reader)
            .map_err(|source| ApplierError::Restore {
                last: meta.last,
                source,
            })?;
        self.last = meta.last;
        self.time_ms = meta.time_ms;
        self.membership.clone_from(&meta.membership);
        Ok(())
    }
}
