//! Carries out what the core wants. Production and simulation run this same driver; they differ in its [`Environment`].
//!
//! [`Driver::turn`] is the only place where "persist before send, commit before apply, apply before reply" is
//! written. Disk write, replication and apply overlap: the leader's entries leave before its own write is durable,
//! and the core counts the leader itself only once it is.

mod admin;
mod forwarded;
pub mod held;
mod proposals;
mod queries;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::applier::Reply;
use crate::disk::{DiskDone, DiskTask};
use crate::entry::{Entry, SnapshotMeta};
use crate::ids::{Index, NodeId, Term};
use crate::message::{AdminError, AdminRequest, Message, RaftRequest, RaftResponse};
use crate::raft::ready::{Ready, SnapshotTask};
use crate::raft::{Core, Role};
use crate::state_machine::ReplicatedStateMachine;
use admin::AdminRequests;
use forwarded::Forwarded;
use held::HeldMessages;
use proposals::Proposals;
use queries::Queries;

/// Where the driver's work goes. None of these waits for the work to be done; [`Input`] tells when it is.
pub trait Environment<M: ReplicatedStateMachine> {
    /// Who waits for a command's outcome.
    type CommandClient;
    /// Who asked a question.
    type QueryClient;
    /// Who gave an order.
    type Operator;

    /// Queues work for the disk, in order.
    fn disk(&mut self, task: DiskTask);
    /// Queues work for the state machine, in order.
    fn machine(&mut self, task: MachineTask<M, Self::QueryClient>);
    /// Sends a message. It may be lost.
    fn send(&mut self, to: &NodeId, message: Message);
    /// Tells a client what became of its command.
    fn reply(
        &mut self,
        client: Self::CommandClient,
        outcome: Result<Applied<M::Reply>, SubmitError>,
    );
    /// Tells a client that its question is not answered.
    fn reject_query(&mut self, client: Self::QueryClient, error: SubmitError);
    /// Tells an operator what became of an order: the index at which it is in force.
    fn complete(&mut self, operator: Self::Operator, outcome: Result<Index, AdminError>);
    /// Whom to be connected with from now on, and where they are reached; an empty address is the one of the start
    /// configuration.
    fn set_peers(&mut self, contacts: BTreeMap<NodeId, String>);
    /// The wall clock, in milliseconds since 1970; the core makes it monotonic in the log.
    fn wall_ms(&mut self) -> u64;
}

/// Work for the state machine.
pub enum MachineTask<M: ReplicatedStateMachine, A> {
    /// Apply these, in order.
    Apply(Vec<Entry>),
    /// Answer a question as of now.
    Query(M::Query, A),
    /// Take a snapshot.
    TakeSnapshot,
    /// Replace the state.
    Restore(SnapshotMeta),
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<R> {
    /// Index of its entry.
    pub index: Index,
    /// The machine's reply.
    pub reply: R,
}

/// Why a command or a question has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SubmitError {
    /// This node does not lead, and was asked not to forward.
    #[error("this node does not lead; {}", leader.as_ref().map_or_else(|| "no leader is known".to_owned(), |leader| format!("{leader} does")))]
    NotLeader {
        /// Who does, if anyone is known to.
        leader: Option<NodeId>,
    },
    /// No leader was found in time, or none that a majority follows. The command was not carried out.
    #[error(
        "no leader was found in time that a majority follows; the command was not carried out: try again shortly"
    )]
    NoLeader,
    /// Too much is under way. The command was not carried out.
    #[error("too much is under way ({what}); the command was not carried out: try again shortly")]
    Overloaded {
        /// Which bound was met.
        what: &'static str,
    },
    /// More bytes than a command may have. It was not carried out.
    #[error("the command has {bytes} bytes, and the limit is {limit}: make it smaller")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// The leader's disk has no room, and no other node has taken over. The command was not carried out.
    #[error(
        "the leader's disk is full and no other node could take over; the command was not carried out: make room on it, and try again"
    )]
    DiskFull,
    /// No outcome in time. The command may or may not be carried out.
    #[error("no outcome in time; the command may or may not have been carried out")]
    TimedOut,
    /// The node is stopping.
    #[error("the node is stopping; the command may or may not have been carried out")]
    Stopped,
}

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// As if all questions and commands were one sequence: sees every command that was answered before.
    #[default]
    Linearizable,
    /// What this node knows, which may be old.
    Stale,
}

/// Something that happened.
pub enum Input<M: ReplicatedStateMachine, E: Environment<M>> {
    /// Time has passed.
    Tick,
    /// A message arrived.
    Message(NodeId, Message),
    /// A client has a command.
    Propose {
        /// The command.
        data: Bytes,
        /// When the client stops waiting.
        deadline: Duration,
        /// Hand it to the leader if this node isn't it.
        forward: bool,
        /// Who waits.
        client: E::CommandClient,
    },
    /// A client has a question.
    Query {
        /// The question.
        query: M::Query,
        /// How fresh the answer must be.
        consistency: Consistency,
        /// When the client stops waiting.
        deadline: Duration,
        /// Who asks.
        client: E::QueryClient,
    },
    /// The disk is done with a task.
    Disk(DiskDone),
    /// The machine has applied entries up to here; these are the replies to this node's commands.
    Applied(Index, Vec<Reply<M::Reply>>),
    /// The machine has restored a snapshot.
    Restored(SnapshotMeta),
    /// The machine has taken a snapshot, or could not.
    SnapshotTaken(Option<SnapshotMeta>),
    /// Someone wants a snapshot taken.
    TakeSnapshot,
    /// The machine's state is wrong: a leader's is to take its place.
    Reinstall,
    /// The node has joined the cluster of this name.
    Joined(String),
    /// An operator has an order.
    Admin {
        /// Which.
        order: AdminRequest,
        /// When the operator stops waiting.
        deadline: Duration,
        /// Who waits.
        operator: E::Operator,
    },
}

/// Bounds of what clients may have under way at one node.
#[derive(Clone, Debug)]
pub struct DriverLimits {
    /// Commands that wait for an outcome, and as many questions.
    pub waiting: usize,
    /// One command, in bytes. Far below the largest frame, or it could not travel; the same on every node.
    pub command_bytes: u64,
    /// Commands that wait for their turn or for an outcome, in bytes.
    pub queued_bytes: u64,
    /// Commands of one entry, in bytes.
    pub batch_bytes: u64,
    /// Commands of one entry, in number.
    pub batch_commands: usize,
    /// Entries that a leader has under way before it lets further commands gather: two keep disk and network busy,
    /// and more only make the entries smaller.
    pub entries_in_flight: usize,
    /// How long a command waits for a leader to appear.
    pub leader_timeout: Duration,
    /// How long after a leader could not vouch for a read it is asked again.
    pub read_retry: Duration,
    /// Messages that wait for a write. More are lost, as the network may lose any: the disk hangs then. It has room
    /// for one to each peer, or some voters would never be asked for their votes.
    pub held_messages: usize,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            waiting: 65_536,
            command_bytes: 16 << 20,
            queued_bytes: 64 << 20,
            batch_bytes: 1 << 20,
            batch_commands: 4096,
            entries_in_flight: 2,
            leader_timeout: Duration::from_secs(4),
            read_retry: Duration::from_millis(100),
            held_messages: 65_536,
        }
    }
}

/// A node's core with all that waits for it.
pub struct Driver<M: ReplicatedStateMachine, E: Environment<M>> {
    core: Core,
    env: E,
    limits: DriverLimits,
    now: Duration,
    held: HeldMessages,
    proposals: Proposals<E::CommandClient>,
    forwarded: Forwarded,
    queries: Queries<M::Query, E::QueryClient>,
    admin: AdminRequests<E::Operator>,
}

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    /// A driver for a core. `session` is a random number that no other run of any node has.
    pub fn new(core: Core, env: E, limits: DriverLimits, session: u64) -> Self {
        Self {
            core,
            env,
            limits,
            now: Duration::ZERO,
            held: HeldMessages::default(),
            proposals: Proposals::new(session),
            forwarded: Forwarded::default(),
            queries: Queries::new(session),
            admin: AdminRequests::new(session),
        }
    }

    /// The core, to look at.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The ends, to look at.
    #[must_use]
    pub fn env(&self) -> &E {
        &self.env
    }

    /// The ends, for a simulation that takes out what was queued.
    pub fn env_mut(&mut self) -> &mut E {
        &mut self.env
    }

    /// Number of this run of the node.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.proposals.session
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        let own = [
            self.proposals.next_deadline(),
            self.queries.next_deadline(),
            self.admin.next_deadline(),
        ];
        own.into_iter()
            .flatten()
            .fold(self.core.next_deadline(), Duration::min)
    }

    /// Takes in something that happened. [`Driver::turn`] then acts on it, and on all that came with it.
    pub fn handle(&mut self, now: Duration, input: Input<M, E>) {
        self.now = self.now.max(now);
        match input {
            Input::Tick => {}
            Input::Message(from, message) => self.on_message(&from, message),
            Input::Propose {
                data,
                deadline,
                forward,
                client,
            } => self.on_propose(data, deadline, forward, client),
            Input::Query {
                query,
                consistency,
                deadline,
                client,
            } => self.on_query(query, consistency, deadline, client),
            Input::Disk(done) => self.on_disk(done),
            Input::Applied(index, replies) => self.on_applied(index, replies),
            Input::Restored(meta) => self.on_restored(&meta),
            Input::SnapshotTaken(meta) => self.core.snapshot_taken(now, meta),
            Input::TakeSnapshot => self.core.take_snapshot(),
            Input::Reinstall => self.core.reinstall(now),
            Input::Joined(cluster_id) => self.env.disk(DiskTask::Join(cluster_id)),
            Input::Admin {
                order,
                deadline,
                operator,
            } => self.on_admin(order, deadline, operator),
        }
    }

    fn on_message(&mut self, from: &NodeId, message: Message) {
        match message {
            Message::Request(RaftRequest::Forward(forward)) => self.on_forward(from, forward),
            Message::Response(RaftResponse::Forward(answer)) => {
                self.on_forward_response(from, &answer);
            }
            Message::Request(RaftRequest::Admin(request)) => self.on_admin_request(from, request),
            Message::Response(RaftResponse::Admin(answer)) => {
                self.on_admin_response(from, answer);
            }
            message => self.core.step(self.now, from, message),
        }
    }

    fn on_disk(&mut self, done: DiskDone) {
        match done {
            DiskDone::Written(id) => {
                self.held.written(id);
                self.core.persisted(self.now, id);
            }
            DiskDone::Full(id) => self.core.write_refused(self.now, id),
            DiskDone::Read(reader, entries) => self.core.entries_read(self.now, &reader, entries),
            DiskDone::Chunk {
                to,
                meta,
                offset,
                data,
            } => self.core.chunk_read(self.now, &to, &meta, offset, data),
            DiskDone::Received(meta, received) => {
                self.core.chunk_received(self.now, &meta, received);
            }
            DiskDone::StoreCompleted => self.core.store_completed(self.now),
            DiskDone::NoReply => {}
        }
    }

    /// Acts on all that was taken in. The order is what makes Raft safe:
    ///
    /// 1. a leader's entries leave at once, beside its own write;
    /// 2. what vouches for durable state (a vote, an acknowledgement) leaves only once that write is done;
    /// 3. the machine gets only committed entries, and
    /// 4. a client hears of its command only after the machine has applied it ([`Input::Applied`]).
    pub fn turn(&mut self) {
        self.core.tick(self.now);
        self.expire();
        self.advance_admin_requests();
        self.propose_waiting();
        self.retry_reads();
        loop {
            let ready = self.core.ready();
            if ready.is_empty() {
                break;
            }
            self.carry_out(ready);
        }
        self.release_held();
    }

    fn carry_out(&mut self, ready: Ready) {
        if let Some(contacts) = ready.contacts {
            self.env.set_peers(contacts);
        }
        for message in ready.messages {
            if let Some(message) = self.held.hold(message, self.limits.held_messages) {
                self.env.send(&message.to, message.message);
            }
        }
        // Before the write: where a snapshot replaces the log, the entries of the write stand behind it.
        if let Some(up_to) = ready.purge {
            self.env.disk(DiskTask::Purge(up_to));
        }
        if let Some((id, batch)) = ready.write {
            self.env.disk(DiskTask::Write(id, batch));
        }
        if ready.complete_store {
            self.env.disk(DiskTask::CompleteStore);
        }
        for read in ready.log_reads {
            self.env.disk(DiskTask::Read(read));
        }
        // Before the entries: those to be applied stand behind a snapshot that is to be restored.
        for task in ready.snapshots {
            self.snapshot_task(task);
        }
        if !ready.apply.is_empty() {
            self.env.machine(MachineTask::Apply(ready.apply));
        }
        for read in ready.reads {
            self.on_read_state(read);
        }
        self.hand_over_queries();
    }

    fn release_held(&mut self) {
        while let Some(message) = self.held.release() {
            self.env.send(&message.to, message.message);
        }
    }

    fn snapshot_task(&mut self, task: SnapshotTask) {
        match task {
            SnapshotTask::Take => self.env.machine(MachineTask::TakeSnapshot),
            SnapshotTask::Restore(meta) => self.env.machine(MachineTask::Restore(meta)),
            SnapshotTask::ReadChunk { to, meta, offset } => {
                self.env.disk(DiskTask::ReadChunk { to, meta, offset });
            }
            SnapshotTask::Receive { meta, offset, data } => {
                self.env.disk(DiskTask::Receive { meta, offset, data });
            }
            SnapshotTask::Retain(meta) => self.env.disk(DiskTask::Retain(meta)),
            SnapshotTask::SetAside(meta) => self.env.disk(DiskTask::SetAside(meta)),
        }
    }

    /// Whom commands go to at present.
    fn leadership(&self) -> Option<(NodeId, Term)> {
        self.core
            .leader()
            .map(|leader| (leader.clone(), self.core.term()))
    }

    fn leads(&self) -> bool {
        self.core.role() == Role::Leader
    }

    fn expire(&mut self) {
        let has_leader = self.core.leader().is_some();
        let stuck = self.core.uncommitted_entries() > 0;
        self.proposals.note_committed(self.core.log().committed());
        for (client, error) in self.proposals.expire(self.now, has_leader, stuck) {
            self.env.reply(client, Err(error));
        }
        for (client, error) in self.queries.expire(self.now, has_leader) {
            self.env.reject_query(client, error);
        }
    }

    /// Tells all who wait that the node is stopping.
    pub fn stop(&mut self) {
        for client in self.proposals.drain() {
            self.env.reply(client, Err(SubmitError::Stopped));
        }
        for client in self.queries.drain() {
            self.env.reject_query(client, SubmitError::Stopped);
        }
        for operator in self.admin.drain() {
            self.env.complete(operator, Err(AdminError::Stopped));
        }
    }
}
