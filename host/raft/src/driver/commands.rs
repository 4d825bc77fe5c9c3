//! Commands of clients: into the queue, from there into the log or to the leader, and back as a reply. See
//! [`Proposals`](super::proposals::Proposals).

use std::time::Duration;

use bytes::Bytes;

use super::Driver;
use super::environment::Environment;
use super::outcome::{Applied, SubmitError};
use super::proposals::CommandState;
use crate::applier::Reply;
use crate::entry::{CommandClass, SnapshotMeta};
use crate::ids::{Index, NodeId, Term};
use crate::message::{Forward, ForwardRefusal, ForwardResponse, Message, RaftRequest};
use crate::raft::ProposeError;
use crate::state_machine::ReplicatedStateMachine;

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    pub(super) fn on_propose(
        &mut self,
        data: Bytes,
        deadline: Duration,
        forward: bool,
        client: E::CommandClient,
    ) {
        let (bytes, limit) = (data.len() as u64, self.limits.command_bytes);
        if bytes > limit {
            return self
                .env
                .reply(client, Err(SubmitError::TooLarge { bytes, limit }));
        }
        let class = self.proposals.class_of(&data);
        if let Some(what) = self.limit_reached(class) {
            return self
                .env
                .reply(client, Err(SubmitError::Overloaded { what }));
        }
        if !forward && !self.leads() {
            let leader = self.core.leader().cloned();
            return self
                .env
                .reply(client, Err(SubmitError::NotLeader { leader }));
        }
        let leader_deadline = self.leader_deadline();
        self.proposals
            .enqueue(client, data, deadline, leader_deadline);
    }

    /// The limit that refuses a further command of a class, if one does.
    fn limit_reached(&self, class: CommandClass) -> Option<&'static str> {
        let (proposals, limits) = (&self.proposals, &self.limits);
        // What the commands of clients may take, control records must find in addition.
        let (more, factor) = match class {
            CommandClass::Client => (0, 1),
            CommandClass::Report => (limits.reserved, 2),
            CommandClass::Control => (2 * limits.reserved, 3),
        };
        if proposals.pending_len() >= limits.waiting.saturating_add(more) {
            Some("commands that wait for an outcome")
        } else if proposals.pending_bytes() >= limits.queued_bytes.saturating_mul(factor) {
            Some("bytes of commands that wait for an outcome")
        } else if self.is_queue_full(class) {
            Some("queued commands")
        } else {
            None
        }
    }

    /// Whether no more commands of a class may be queued.
    pub(super) fn is_queue_full(&self, class: CommandClass) -> bool {
        let commands = match class {
            CommandClass::Client => self.limits.waiting,
            CommandClass::Report | CommandClass::Control => self.limits.reserved,
        };
        let bytes = self.limits.queued_bytes;
        self.proposals.is_queue_full(class, commands, bytes)
    }

    /// Until when a command that is queued now waits for a leader.
    fn leader_deadline(&self) -> Duration {
        self.now + self.limits.leader_timeout
    }

    /// Proposes queued commands, or forwards them to the leader.
    pub(super) fn propose_queued(&mut self) {
        self.refuse_outdated();
        if self.proposals.is_queue_empty() {
            return;
        }
        if self.core.check_room() == Err(ProposeError::DiskFull) {
            self.refuse_queued();
        } else if self.leads() {
            self.propose_batches();
        } else if let Some((leader, term)) = self.leadership() {
            self.forward_queued(&leader, term);
        }
    }

    /// Where a limit of the core is reached, the commands stay in the queue; their deadlines bound the wait. Control records
    /// may be proposed even then.
    fn propose_batches(&mut self) {
        while let Ok(class) = self.core.class_with_room()
            && self.proposals.has_queued(class)
            && self.is_worth_an_entry()
        {
            let (max_bytes, max_commands) = (self.limits.batch_bytes, self.limits.batch_commands);
            let batch = self
                .proposals
                .take_batch(class, self.core.term(), max_bytes, max_commands);
            self.proposals.last_batch = batch.len();
            let wall_ms = self.env.wall_ms();
            if let Err(error) = self.core.propose_as(class, self.now, wall_ms, batch) {
                unreachable!("class_with_room returned this class before: {error}");
            }
        }
    }

    /// This leader's disk is full: nothing is appended to the log until there is space. Clients get the error
    /// immediately.
    fn refuse_queued(&mut self) {
        self.refuse_foreign(ForwardRefusal::DiskFull);
        for client in self.proposals.take_queued() {
            self.env.reply(client, Err(SubmitError::DiskFull));
        }
    }

    /// Each entry costs each node a disk write. So an entry that is proposed while others are in flight should hold as
    /// many commands as the last one. Without this rule, clients that send one command at a time settle into many small
    /// groups, each with its own write.
    fn is_worth_an_entry(&self) -> bool {
        let in_flight = self.core.uncommitted_entries();
        let (proposals, limits) = (&self.proposals, &self.limits);
        let is_large = proposals.queue_len() >= proposals.last_batch.min(limits.batch_commands)
            || proposals.queue_bytes() >= limits.batch_bytes;
        in_flight == 0 || (in_flight < limits.entries_in_flight && is_large)
    }

    fn forward_queued(&mut self, leader: &NodeId, term: Term) {
        let blocked = self.proposals.not_leading.as_ref();
        if blocked.is_some_and(|(id, at)| id == leader && *at == term) {
            return;
        }
        while !self.proposals.is_queue_empty() {
            let (max_bytes, max_commands) = (self.limits.batch_bytes, self.limits.batch_commands);
            let commands =
                self.proposals
                    .take_batch(CommandClass::Client, term, max_bytes, max_commands);
            let forward = RaftRequest::Forward(Forward { term, commands });
            self.env.send(leader, Message::Request(forward));
        }
    }

    /// Requests that were sent to this peer may be lost. If it is the leader, it gets the commands again whose outcome is open:
    /// it accepts each once.
    pub(super) fn forward_again(&mut self, peer: &NodeId) {
        let Some((leader, term)) = self.leadership() else {
            return;
        };
        if self.leads() || leader != *peer {
            return;
        }
        let (max_bytes, max_commands) = (self.limits.batch_bytes, self.limits.batch_commands);
        for commands in self.proposals.sent_in(term, max_bytes, max_commands) {
            let forward = RaftRequest::Forward(Forward { term, commands });
            self.env.send(&leader, Message::Request(forward));
        }
    }

    /// The leader has refused some commands: they are in no log.
    pub(super) fn on_forward_response(&mut self, from: &NodeId, response: &ForwardResponse) {
        if response.session != self.proposals.session {
            return;
        }
        let leader_deadline = self.leader_deadline();
        for &sequence in &response.sequences {
            let Some(state) = self.proposals.state_of(sequence) else {
                continue;
            };
            match (response.reason, state) {
                (_, CommandState::Queued) => {}
                (ForwardRefusal::NotLeader, _) => {
                    if let CommandState::Sent(term) = state {
                        self.proposals.not_leading = Some((from.clone(), term));
                    }
                    self.proposals.requeue(sequence, leader_deadline);
                }
                (ForwardRefusal::DiskFull, _) => {
                    if let Some(client) = self.proposals.finish(sequence) {
                        self.env.reply(client, Err(SubmitError::DiskFull));
                    }
                }
                (ForwardRefusal::Overloaded, _) => {
                    if let Some(client) = self.proposals.finish(sequence) {
                        let what = "commands at the leader";
                        self.env
                            .reply(client, Err(SubmitError::Overloaded { what }));
                    }
                }
            }
        }
    }

    /// The state machine has applied entries: this node's clients get their replies.
    pub(super) fn on_applied(&mut self, index: Index, replies: Vec<Reply<M::Reply>>) {
        for Reply {
            sequence,
            index,
            reply,
            ..
        } in replies
        {
            if let Some(client) = self.proposals.finish(sequence) {
                self.env.reply(client, Ok(Applied { index, reply }));
            }
        }
        let term = self.core.log().term_at(index).unwrap_or_default();
        if term > self.proposals.applied_term {
            self.proposals.applied_term = term;
            let leader_deadline = self.leader_deadline();
            self.proposals.requeue_before(term, leader_deadline);
            self.give_up_lost();
        }
        self.core.applied(self.now, index);
    }

    /// Ends the commands whose outcome this node can no longer learn.
    fn give_up_lost(&mut self) {
        let term = self.proposals.applied_term;
        for client in self.proposals.take_lost_before(term) {
            self.env.reply(client, Err(SubmitError::OutcomeLost));
        }
    }

    /// The state machine has restored a snapshot. It has the effects of entries that this node never applied.
    pub(super) fn on_restored(&mut self, meta: &SnapshotMeta) {
        self.proposals.applied_term = self.proposals.applied_term.max(meta.last.term);
        self.proposals.mark_unknown_up_to(meta.last.term);
        self.give_up_lost();
        self.core.applied(self.now, meta.last.index);
    }
}
