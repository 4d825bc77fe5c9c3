//! Executes what the consensus core decides. Production and simulation run this same driver; they differ in the
//! [`Environment`].
//!
//! [`Driver::turn`] is the only place that orders the work: persist before send, commit before apply, apply before reply.
//! Disk write, replication and apply overlap. The leader sends entries before its own write is durable, and the core
//! counts the leader itself only once it is.
//!
//! | file | content |
//! |---|---|
//! | `environment`, `input`, `outcome`, `limits` | what the driver is called with, and what it calls |
//! | `proposals`, `queue`, `forwarded`, `queries`, `admin`, `log_copies`, [`held`] | what waits: plain data, without the driver |
//! | `commands`, `forwarding`, `reads`, `copying`, `operations` | the driver's methods for each of these |

mod admin;
mod commands;
mod copying;
mod environment;
mod forwarded;
mod forwarding;
pub mod held;
mod input;
mod limits;
mod log_copies;
mod operations;
mod outcome;
mod proposals;
mod queries;
mod queue;
mod reads;
mod snapshot_failures;
mod snapshots;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::disk::{DiskDone, DiskTask};
use crate::identity::Sender;
use crate::ids::{NodeId, Term};
use crate::message::{AdminError, Message, RaftRequest, RaftResponse};
use crate::raft::ready::{Ready, SnapshotTask};
use crate::raft::{Core, Role};
use crate::state_machine::ReplicatedStateMachine;
use admin::AdminRequests;
use forwarded::ForwardedCommands;
use held::HeldMessages;
use log_copies::LogCopies;
use proposals::Proposals;
use queries::Queries;

pub use environment::{Environment, MachineTask};
pub use input::Input;
pub use limits::DriverLimits;
pub use log_copies::{CopiedEntries, CopyCallback, CopyRequest, LogCopy};
pub use outcome::{Applied, Consistency, SubmitError};
pub use snapshot_failures::SnapshotFailures;

/// The core of one node, and the requests that wait for it.
///
/// Call [`Driver::handle`] for each input, then [`Driver::turn`] once for all of them, and again at
/// [`Driver::next_deadline`].
pub struct Driver<M: ReplicatedStateMachine, E: Environment<M>> {
    core: Core,
    env: E,
    limits: DriverLimits,
    /// The time of the last input. Never decreases.
    now: Duration,
    held: HeldMessages,
    proposals: Proposals<E::CommandClient>,
    forwarded: ForwardedCommands,
    queries: Queries<M::Query, E::QueryClient>,
    admin: AdminRequests<E::Operator>,
    log_copies: LogCopies,
    snapshot_failures: SnapshotFailures,
}

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    /// A driver for a core. `session` is a random number: no other run of any node has the same.
    pub fn new(core: Core, env: E, limits: DriverLimits, session: u64) -> Self {
        Self {
            core,
            env,
            limits,
            now: Duration::ZERO,
            held: HeldMessages::default(),
            proposals: Proposals::new(session, M::class_of),
            forwarded: ForwardedCommands::default(),
            queries: Queries::new(session),
            admin: AdminRequests::new(session),
            log_copies: LogCopies::default(),
            snapshot_failures: SnapshotFailures::default(),
        }
    }

    /// The consensus core.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The environment.
    #[must_use]
    pub fn env(&self) -> &E {
        &self.env
    }

    /// The environment, from which a simulation takes the work that was queued.
    pub fn env_mut(&mut self) -> &mut E {
        &mut self.env
    }

    /// Random number of this run of the node.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.proposals.session
    }

    /// The snapshots that could not be taken.
    #[must_use]
    pub fn snapshot_failures(&self) -> &SnapshotFailures {
        &self.snapshot_failures
    }

    /// Requests of this node's clients that have no outcome yet.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.proposals.pending_len() + self.queries.len()
    }

    /// When [`Driver::turn`] must run again, even without an input.
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

    /// Records an input. [`Driver::turn`] acts on it afterwards.
    pub fn handle(&mut self, now: Duration, input: Input<M, E>) {
        self.now = self.now.max(now);
        match input {
            Input::Tick => {
                let wall_ms = self.env.wall_ms();
                self.core.note_wall_clock(self.now, wall_ms);
            }
            Input::PeerHello(hello) => self.core.peer_hello(now, &hello),
            Input::Connected(peer) => self.forward_again(&peer),
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
            Input::WaitsEnded => self.core.announce_commit(now),
            Input::Restored(meta) => self.on_restored(&meta),
            Input::SnapshotTaken(taken) => self.on_snapshot_taken(taken),
            Input::SnapshotChecked(meta, is_sound) => {
                self.core.snapshot_checked(now, &meta, is_sound);
            }
            Input::TakeSnapshot => self.take_snapshot(),
            Input::Reinstall => self.core.reinstall(now),
            Input::CopyLog(request) => self.on_copy_log(request),
            Input::Joined(cluster_id) => self.env.disk(DiskTask::Join(cluster_id)),
            Input::Admin {
                request,
                deadline,
                operator,
            } => self.on_admin(request, deadline, operator),
        }
    }

    fn on_message(&mut self, sender: &Sender, message: Message) {
        let from = &sender.id;
        match message {
            Message::Request(RaftRequest::Forward(forward)) => self.on_forward(from, forward),
            Message::Response(RaftResponse::Forward(response)) => {
                self.on_forward_response(from, &response);
            }
            Message::Request(RaftRequest::Admin(request)) => self.on_admin_request(from, request),
            Message::Response(RaftResponse::Admin(response)) => {
                self.on_admin_response(from, response);
            }
            message => self.core.step(self.now, sender, message),
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
            DiskDone::LogCopied(id, entries) => self.on_log_copied(id, entries),
            DiskDone::Chunk {
                to,
                meta,
                offset,
                data,
            } => self.core.chunk_read(self.now, &to, &meta, offset, data),
            DiskDone::Received(meta, received) => {
                self.core.chunk_received(self.now, &meta, received);
            }
            DiskDone::ChunkDropped => self.core.chunk_dropped(),
            DiskDone::StoreCompleted => self.core.store_completed(self.now),
            DiskDone::StoreReplaced(store_id) => self.core.store_replaced(self.now, store_id),
            DiskDone::Retained => self.core.snapshots_retained(self.now),
            DiskDone::NoReply => {}
        }
    }

    /// Acts on all recorded inputs. The order of the work is what makes Raft safe:
    ///
    /// 1. A leader's entries are sent at once, in parallel with its own write.
    /// 2. A vote or an acknowledgement is sent only once the write that it depends on is durable.
    /// 3. The state machine gets only committed entries.
    /// 4. A client gets its reply only after the state machine has applied its command ([`Input::Applied`]).
    pub fn turn(&mut self) {
        self.core.tick(self.now);
        self.expire();
        self.advance_admin_requests();
        self.propose_queued();
        self.retry_reads();
        loop {
            let ready = self.core.ready();
            if ready.is_empty() {
                break;
            }
            self.execute(ready);
        }
        self.release_held();
    }

    fn execute(&mut self, ready: Ready) {
        if let Some(fault) = ready.fault {
            self.env.fail(fault);
        }
        // Before the messages: they belong to connections with the new hello.
        if let Some(change) = ready.identity {
            self.env.set_identity(change);
        }
        if let Some(peers) = ready.contacts {
            self.env.set_peers(peers);
        }
        for message in ready.messages {
            if let Some(message) = self.held.hold(message, self.limits.held_messages) {
                self.env.send(&message.to, message.message);
            }
        }
        // Before the write: where a snapshot replaces the log, the entries of the write follow the snapshot.
        if let Some(up_to) = ready.purge {
            self.env.disk(DiskTask::Purge(up_to));
        }
        if let Some((id, batch)) = ready.write {
            self.env.disk(DiskTask::Write(id, batch));
        }
        if ready.complete_store {
            self.env.disk(DiskTask::CompleteStore);
        }
        if let Some(store_id) = ready.replace_store {
            self.env.disk(DiskTask::ReplaceStore(store_id));
        }
        if let Some(met) = ready.met {
            self.env.disk(DiskTask::RememberPeers(met));
        }
        if let Some(longest) = ready.lease {
            self.env.disk(DiskTask::RecordLease(longest));
        }
        for read in ready.log_reads {
            self.env.disk(DiskTask::Read(read));
        }
        // Before apply: where a snapshot is to be restored, the entries to apply follow it.
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

    /// Sends the held messages whose write is durable by now.
    fn release_held(&mut self) {
        while let Some(message) = self.held.release() {
            self.env.send(&message.to, message.message);
        }
    }

    fn snapshot_task(&mut self, task: SnapshotTask) {
        match task {
            SnapshotTask::Take => self.env.machine(MachineTask::TakeSnapshot),
            SnapshotTask::Restore(meta) => self.env.machine(MachineTask::Restore(meta)),
            SnapshotTask::Check(meta) => self.env.machine(MachineTask::CheckSnapshot(meta)),
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

    /// The leader that this node follows, or itself, and the term.
    fn leadership(&self) -> Option<(NodeId, Term)> {
        self.core
            .leader()
            .map(|leader| (leader.clone(), self.core.term()))
    }

    fn leads(&self) -> bool {
        self.core.role() == Role::Leader
    }

    /// Fails the requests whose deadline has passed.
    fn expire(&mut self) {
        let has_leader = self.core.leader().is_some();
        let is_stuck = self.core.uncommitted_entries() > 0;
        self.proposals.note_committed(self.core.log().committed());
        for (client, error) in self.proposals.expire(self.now, has_leader, is_stuck) {
            self.env.reply(client, Err(error));
        }
        for (client, error) in self.queries.expire(self.now, has_leader) {
            self.env.reject_query(client, error);
        }
    }

    /// Completes all requests with the error that the node is stopping.
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
        self.log_copies.clear();
    }
}
