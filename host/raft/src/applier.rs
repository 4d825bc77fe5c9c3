//! Runs the tasks of the state machine: applies committed entries in order, responds to queries between them, takes and
//! restores snapshots. One thread runs it.

#[cfg(test)]
mod tests;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{ClusterRecord, ClusterState, Command, Entry, Payload, SnapshotMeta};
use crate::ids::{Index, LogId};
use crate::raft::membership::Membership;
use crate::state_machine::{
    MachineError, Moment, QueryCallback, ReplicatedStateMachine, SnapshotWork,
};
use crate::storage::{SnapshotStore, StorageError};

/// The state machine's reply to a command of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<R> {
    /// Session of the command.
    pub session: u64,
    /// Sequence number of the command within its session.
    pub sequence: u64,
    /// Index of its entry.
    pub index: Index,
    /// The reply.
    pub reply: R,
}

/// Why the state machine can't continue. The node stops.
#[derive(Debug, thiserror::Error)]
pub enum ApplierError {
    /// The machine failed.
    #[error("entry {index} could not be applied: {source}")]
    Machine {
        /// Index of the entry.
        index: Index,
        /// Error of the machine.
        #[source]
        source: MachineError,
    },
    /// The machine returned a wrong number of replies.
    #[error(
        "entry {index} holds {commands} commands, and the state machine gave {replies} replies; this is a bug in the machine"
    )]
    Replies {
        /// Index of the entry.
        index: Index,
        /// Replies expected: one for each command.
        commands: usize,
        /// Replies returned.
        replies: usize,
    },
    /// The machine could not restore a snapshot.
    #[error("snapshot {last} could not be restored: {source}")]
    Restore {
        /// Last entry of the snapshot.
        last: LogId,
        /// Error of the machine.
        #[source]
        source: MachineError,
    },
    /// A snapshot could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A captured state that is to be written as a snapshot.
pub struct SnapshotJob {
    snapshots: Arc<dyn SnapshotStore>,
    last: LogId,
    time_ms: u64,
    membership: Option<Membership>,
    cluster: ClusterState,
    work: SnapshotWork,
}

impl SnapshotJob {
    /// Writes the snapshot. Runs on any thread, while the machine applies later entries.
    ///
    /// # Errors
    /// The snapshot can't be written. Nothing of it is visible then.
    pub fn run(self) -> Result<SnapshotMeta, ApplierError> {
        let membership = self.membership.as_ref();
        let mut writer =
            self.snapshots
                .create(self.last, self.time_ms, membership, self.cluster)?;
        (self.work)(&mut *writer).map_err(|source| ApplierError::Machine {
            index: self.last.index,
            source,
        })?;
        Ok(writer.finish()?)
    }
}

/// A state machine, and the last entry that it has applied.
pub struct Applier<M> {
    machine: M,
    snapshots: Arc<dyn SnapshotStore>,
    last: LogId,
    time_ms: u64,
    /// The membership after that entry; `None` until an entry or a snapshot has set one.
    membership: Option<Membership>,
    /// Level and lineage after that entry.
    cluster: ClusterState,
    has_ended_waits: bool,
}

impl<M: ReplicatedStateMachine> Applier<M> {
    /// A state machine that has applied nothing.
    #[must_use]
    pub fn new(machine: M, snapshots: Arc<dyn SnapshotStore>) -> Self {
        Self {
            machine,
            snapshots,
            last: LogId::default(),
            time_ms: 0,
            membership: None,
            cluster: ClusterState::default(),
            has_ended_waits: false,
        }
    }

    /// The last applied entry.
    #[must_use]
    pub fn last(&self) -> LogId {
        self.last
    }

    /// The time of the log after that entry, in milliseconds since 1970.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Level and lineage after that entry.
    #[must_use]
    pub fn cluster(&self) -> ClusterState {
        self.cluster
    }

    /// The state machine, for tests.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns the state machine.
    #[must_use]
    pub fn into_machine(self) -> M {
        self.machine
    }

    /// Whether the entries that were applied last gave earlier commands their replies. See
    /// [`ReplicatedStateMachine::has_ended_waits`].
    #[must_use]
    pub fn has_ended_waits(&self) -> bool {
        self.has_ended_waits
    }

    /// Applies the entries that follow the last one. Returns the replies to commands of `session`, which is this node's. The
    /// other replies are dropped: the nodes of those clients apply the same entries.
    ///
    /// # Errors
    /// The machine can't continue.
    pub fn apply(
        &mut self,
        session: u64,
        entries: Vec<Entry>,
    ) -> Result<Vec<Reply<M::Reply>>, ApplierError> {
        let mut replies = Vec::new();
        self.has_ended_waits = false;
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
                    self.apply_commands(session, &commands, &mut replies)?;
                }
                Payload::Membership(membership) => self.membership = Some(membership),
                Payload::Cluster(record) => self.apply_cluster(*record)?,
            }
        }
        Ok(replies)
    }

    fn apply_cluster(&mut self, record: ClusterRecord) -> Result<(), ApplierError> {
        let index = self.last.index;
        self.machine
            .configure(self.moment(), record.level, &record.settings)
            .map_err(|source| ApplierError::Machine { index, source })?;
        self.cluster = record.state();
        self.membership = Some(record.membership);
        Ok(())
    }

    fn apply_commands(
        &mut self,
        session: u64,
        commands: &[Command],
        own_replies: &mut Vec<Reply<M::Reply>>,
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
        self.has_ended_waits |= self.machine.has_ended_waits();
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
        own_replies.extend(own.map(|(command, reply)| Reply {
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

    /// Responds to a query, with the index of the last applied entry.
    pub fn query(&mut self, query: M::Query) -> (Index, M::Response) {
        (self.last.index, self.machine.query(self.moment(), query))
    }

    /// Responds to a query now or later, concurrently with apply. See [`ReplicatedStateMachine::query_async`].
    pub fn query_async(&mut self, query: M::Query, respond: QueryCallback<M::Response>) {
        self.machine.query_async(self.moment(), query, respond);
    }

    /// No task is queued: the machine does what it held back.
    pub fn on_idle(&mut self) {
        self.machine.on_idle();
    }

    /// Takes a snapshot of the current state.
    ///
    /// # Errors
    /// The snapshot can't be written. The machine can continue.
    pub fn take_snapshot(&mut self) -> Result<SnapshotMeta, ApplierError> {
        self.begin_snapshot()?.run()
    }

    /// Captures the current state, for a snapshot that is written concurrently with apply.
    ///
    /// # Errors
    /// The state can't be captured. The machine can continue.
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
            cluster: self.cluster,
            work,
        })
    }

    /// The snapshots of this node.
    #[must_use]
    pub fn snapshots(&self) -> Arc<dyn SnapshotStore> {
        Arc::clone(&self.snapshots)
    }

    /// Replaces the state by that of a snapshot.
    ///
    /// # Errors
    /// The snapshot can't be read, or is not of this machine.
    pub fn restore(&mut self, meta: &SnapshotMeta) -> Result<(), ApplierError> {
        let mut reader = self.snapshots.open(meta)?;
        self.restore_from(meta, &mut *reader)
    }

    /// The same with the state machine's bytes from elsewhere.
    ///
    /// # Errors
    /// As [`Applier::restore`].
    pub fn restore_from(
        &mut self,
        meta: &SnapshotMeta,
        reader: &mut dyn Read,
    ) -> Result<(), ApplierError> {
        self.machine
            .restore(reader)
            .map_err(|source| ApplierError::Restore {
                last: meta.last,
                source,
            })?;
        self.last = meta.last;
        self.time_ms = meta.time_ms;
        self.membership.clone_from(&meta.membership);
        self.cluster = meta.cluster;
        Ok(())
    }
}
