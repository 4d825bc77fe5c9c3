//! Commands between a client and the log: they gather while entries are under way, then go into one entry
//! together; on a follower they travel to the leader. A client is answered by its own node, once that has applied
//! the entry: so an answer survives a change of leader.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::{Applied, Driver, Ends, SubmitError};
use crate::applier::Reply;
use crate::message::{
    Forward, ForwardRefusal, ForwardResponse, Message, RaftRequest, RaftResponse,
};
use crate::state_machine::StateMachine;
use crate::types::{Command, Index, NodeId, Term};

struct Waiting<W> {
    waiter: W,
    deadline: Duration,
    /// Still in the queue: neither in a log nor on its way.
    queued: Option<Queued>,
}

#[derive(Clone, Copy)]
struct Queued {
    /// When it is given up unless there is a leader.
    patience: Duration,
}

/// Commands of this node's clients, and those that followers have forwarded to it.
pub(super) struct Proposals<W> {
    session: u64,
    next_sequence: u64,
    queue: VecDeque<Command>,
    queue_bytes: u64,
    waiting: BTreeMap<u64, Waiting<W>>,
    deadlines: BTreeSet<(Duration, u64)>,
    /// This leader said that it isn't one: it gets nothing more in that term.
    not_leading: Option<(NodeId, Term)>,
}

impl<W> Proposals<W> {
    pub(super) fn new(session: u64) -> Self {
        Self {
            session,
            next_sequence: 1,
            queue: VecDeque::new(),
            queue_bytes: 0,
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            not_leading: None,
        }
    }

    pub(super) fn session(&self) -> u64 {
        self.session
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    fn push(&mut self, command: Command) {
        self.queue_bytes += command.data.len() as u64;
        self.queue.push_back(command);
    }

    /// Takes the commands of one entry or message out of the queue.
    fn take_batch(&mut self, max_bytes: u64, max_commands: usize) -> Vec<Command> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(command) = self.queue.front() {
            bytes += command.data.len() as u64;
            if batch.len() >= max_commands || (bytes > max_bytes && !batch.is_empty()) {
                break;
            }
            if let Some(command) = self.queue.pop_front() {
                self.queue_bytes -= command.data.len() as u64;
                self.mark_sent(&command);
                batch.push(command);
            }
        }
        batch
    }

    /// From here on the outcome of this command is open. It waits as long as its client does.
    fn mark_sent(&mut self, command: &Command) {
        if command.session != self.session {
            return;
        }
        if let Some(waiting) = self.waiting.get_mut(&command.sequence)
            && let Some(queued) = waiting.queued.take()
        {
            self.deadlines
                .remove(&(queued.patience.min(waiting.deadline), command.sequence));
            self.deadlines.insert((waiting.deadline, command.sequence));
        }
    }

    fn finish(&mut self, sequence: u64) -> Option<W> {
        let waiting = self.waiting.remove(&sequence)?;
        let due = waiting.queued.map_or(waiting.deadline, |queued| {
            queued.patience.min(waiting.deadline)
        });
        self.deadlines.remove(&(due, sequence));
        Some(waiting.waiter)
    }

    /// Clients whose time is up.
    pub(super) fn expire(&mut self, now: Duration, has_leader: bool) -> Vec<(W, SubmitError)> {
        let mut expired = Vec::new();
        while let Some(&(due, sequence)) = self.deadlines.first().filter(|(due, _)| *due <= now) {
            self.deadlines.remove(&(due, sequence));
            let Some(waiting) = self.waiting.get(&sequence) else {
                continue;
            };
            if waiting.queued.is_some() && has_leader && now < waiting.deadline {
                // There is a leader after all; it waits on, as long as its client does.
                self.deadlines.insert((waiting.deadline, sequence));
                let deadline = waiting.deadline;
                if let Some(waiting) = self.waiting.get_mut(&sequence) {
                    waiting.queued = Some(Queued { patience: deadline });
                }
                continue;
            }
            let queued = waiting.queued.is_some();
            if queued {
                self.forget_queued(sequence);
            }
            let error = match (queued, has_leader) {
                (true, false) => SubmitError::NoLeader,
                (true, true) => SubmitError::Overloaded {
                    what: "commands that wait for their turn",
                },
                (false, _) => SubmitError::TimedOut,
            };
            expired.extend(
                self.waiting
                    .remove(&sequence)
                    .map(|waiting| (waiting.waiter, error)),
            );
        }
        expired
    }

    fn forget_queued(&mut self, sequence: u64) {
        let own =
            |command: &Command| command.session == self.session && command.sequence == sequence;
        if let Some(place) = self.queue.iter().position(own)
            && let Some(command) = self.queue.remove(place)
        {
            self.queue_bytes -= command.data.len() as u64;
        }
    }

    pub(super) fn drain(&mut self) -> Vec<W> {
        self.queue.clear();
        self.queue_bytes = 0;
        self.deadlines.clear();
        std::mem::take(&mut self.waiting)
            .into_values()
            .map(|waiting| waiting.waiter)
            .collect()
    }
}

impl<M: StateMachine, E: Ends<M>> Driver<M, E> {
    pub(super) fn on_propose(
        &mut self,
        data: Bytes,
        deadline: Duration,
        forward: bool,
        waiter: E::Waiter,
    ) {
        let full = if self.proposals.waiting.len() >= self.limits.waiting {
            Some("commands that wait for an outcome")
        } else if self.proposals.queue_bytes >= self.limits.queued_bytes {
            Some("commands that wait for their turn")
        } else {
            None
        };
        if let Some(what) = full {
            return self
                .ends
                .reply(waiter, Err(SubmitError::Overloaded { what }));
        }
        if !forward && !self.leads() {
            let leader = self.core.leader().cloned();
            return self
                .ends
                .reply(waiter, Err(SubmitError::NotLeader { leader }));
        }
        let (now, patience) = (self.now, self.limits.leader_patience);
        let proposals = &mut self.proposals;
        let sequence = proposals.next_sequence;
        proposals.next_sequence += 1;
        let queued = Queued {
            patience: now + patience,
        };
        proposals
            .deadlines
            .insert((queued.patience.min(deadline), sequence));
        proposals.waiting.insert(
            sequence,
            Waiting {
                waiter,
                deadline,
                queued: Some(queued),
            },
        );
        let session = proposals.session;
        proposals.push(Command {
            session,
            sequence,
            data,
        });
    }

    /// Puts waiting commands into the log, or sends them to the leader.
    pub(super) fn propose_waiting(&mut self) {
        if self.proposals.queue.is_empty() {
            return;
        }
        if self.leads() {
            while self.core.uncommitted_entries() < self.limits.entries_under_way
                && !self.proposals.queue.is_empty()
            {
                if !self.propose_batch() {
                    return;
                }
            }
        } else if let Some((leader, term)) = self.leadership() {
            self.forward_waiting(&leader, term);
        }
    }

    fn propose_batch(&mut self) -> bool {
        let batch = self
            .proposals
            .take_batch(self.limits.batch_bytes, self.limits.batch_commands);
        let wall_ms = self.ends.wall_ms();
        match self.core.propose(self.now, wall_ms, batch.clone()) {
            Ok(_) => true,
            Err(_) => {
                // A bound of the core: the commands wait in front, and their clients' deadlines bound the wait.
                for command in batch.into_iter().rev() {
                    self.proposals.queue_bytes += command.data.len() as u64;
                    self.proposals.queue.push_front(command);
                }
                false
            }
        }
    }

    fn forward_waiting(&mut self, leader: &NodeId, term: Term) {
        let blocked = self
            .proposals
            .not_leading
            .as_ref()
            .is_some_and(|(id, at)| id == leader && *at == term);
        if blocked {
            return;
        }
        self.refuse_foreign();
        while !self.proposals.queue.is_empty() {
            let commands = self
                .proposals
                .take_batch(self.limits.batch_bytes, self.limits.batch_commands);
            let forward = Forward { term, commands };
            self.ends
                .send(leader, Message::Request(RaftRequest::Forward(forward)));
        }
    }

    /// This node led and no longer does: commands of other nodes' clients go back to those nodes' own queues.
    fn refuse_foreign(&mut self) {
        let session = self.proposals.session;
        self.proposals
            .queue
            .retain(|command| command.session == session);
        self.proposals.queue_bytes = self
            .proposals
            .queue
            .iter()
            .map(|command| command.data.len() as u64)
            .sum();
    }

    /// A follower's clients have commands.
    pub(super) fn on_forward(&mut self, from: &NodeId, forward: Forward) {
        let refusal = if !self.leads() {
            Some(ForwardRefusal::NotLeader)
        } else if self.proposals.queue_bytes >= self.limits.queued_bytes
            || self.proposals.queue.len() >= self.limits.waiting
        {
            Some(ForwardRefusal::Overloaded)
        } else {
            None
        };
        match (refusal, forward.commands.first()) {
            (None, _) => forward
                .commands
                .into_iter()
                .for_each(|command| self.proposals.push(command)),
            (Some(reason), Some(first)) => {
                let session = first.session;
                let sequences = forward
                    .commands
                    .iter()
                    .map(|command| command.sequence)
                    .collect();
                let answer = ForwardResponse {
                    term: self.core.term(),
                    session,
                    sequences,
                    reason,
                };
                self.ends
                    .send(from, Message::Response(RaftResponse::Forward(answer)));
            }
            (Some(_), None) => {}
        }
    }

    /// The leader did not take some commands.
    pub(super) fn on_forward_response(&mut self, from: &NodeId, answer: &ForwardResponse) {
        if answer.session != self.proposals.session {
            return;
        }
        let error = match answer.reason {
            ForwardRefusal::NotLeader => {
                self.proposals.not_leading = Some((from.clone(), self.core.term()));
                SubmitError::NoLeader
            }
            ForwardRefusal::Overloaded => SubmitError::Overloaded {
                what: "commands at the leader",
            },
        };
        for &sequence in &answer.sequences {
            if let Some(waiter) = self.proposals.finish(sequence) {
                self.ends.reply(waiter, Err(error.clone()));
            }
        }
    }

    /// The machine has applied entries: the clients of this node hear of it.
    pub(super) fn on_applied(&mut self, index: Index, replies: Vec<Reply<M::Reply>>) {
        self.core.applied(self.now, index);
        for Reply {
            sequence,
            index,
            reply,
            ..
        } in replies
        {
            if let Some(waiter) = self.proposals.finish(sequence) {
                self.ends.reply(waiter, Ok(Applied { index, reply }));
            }
        }
    }
}
