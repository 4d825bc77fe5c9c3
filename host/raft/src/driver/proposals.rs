//! Commands between a client and the log.
//!
//! Commands gather while entries are in flight, and then go into one entry together. On a follower they are forwarded to
//! the leader. Each client gets its reply from its own node, once that node has applied the entry; so a command survives a
//! change of leader.
//!
//! The outcome of a command that was proposed or forwarded is open until one of these happens:
//!
//! - This node applies its entry: the client gets the reply.
//! - The leader that received it refuses it: it is queued again.
//! - This node applies an entry of a later term, and has not applied the command: it is queued again. Its entry can't
//!   follow. A leader proposes a command only in the term that it was sent in, and the terms in a log never decrease
//!   (Raft paper §5.3). So the command is still applied at most once. Where a snapshot has replaced entries that may have
//!   held the command, this node never learns the outcome, and the client gets an error that says so.
//! - The client's deadline passes.
//!
//! A message to the leader is lost if its connection ends. So the commands of which the outcome is open are sent again in
//! the same term, under the same numbers, when the connection is open again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::outcome::SubmitError;
use super::queue::CommandQueue;
use crate::entry::{Command, CommandClass};
use crate::ids::{Index, NodeId, Term};

/// A command of one of this node's clients, until its outcome is known.
struct PendingCommand<C> {
    client: C,
    data: Bytes,
    /// When the client stops waiting.
    deadline: Duration,
    /// When it is checked next: its key in [`Proposals::deadlines`]. Never after `deadline`.
    due: Duration,
    state: CommandState,
}

/// Where a pending command is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandState {
    /// In the queue, and in no log.
    Queued,
    /// Proposed or forwarded to the leader of this term, which may be this node.
    Sent(Term),
    /// Sent in this term, and a snapshot has replaced entries that it may have been in. An entry of the term may still follow
    /// and contain it.
    Unknown(Term),
}

/// Commands of this node's clients, and those that followers have forwarded to this node.
pub(super) struct Proposals<C> {
    /// Number of this run of the node. Identifies its commands among those of other nodes.
    pub(super) session: u64,
    next_sequence: u64,
    queue: CommandQueue,
    /// By sequence number.
    pending: BTreeMap<u64, PendingCommand<C>>,
    /// Bytes of the commands in `pending`.
    pending_bytes: u64,
    deadlines: BTreeSet<(Duration, u64)>,
    /// Commands in the newest entry.
    pub(super) last_batch: usize,
    /// A node that refused commands because it was not the leader of this term. No further commands are forwarded to it
    /// in that term.
    pub(super) not_leading: Option<(NodeId, Term)>,
    /// Term of the last entry applied here.
    pub(super) applied_term: Term,
    /// The highest commit index seen.
    committed: Index,
    /// Commands from this sequence number on were submitted after `committed` was reached.
    submitted_after_commit: u64,
}

impl<C> Proposals<C> {
    pub(super) fn new(session: u64, class_of: fn(&Bytes) -> CommandClass) -> Self {
        Self {
            session,
            next_sequence: 1,
            queue: CommandQueue::new(class_of),
            pending: BTreeMap::new(),
            pending_bytes: 0,
            deadlines: BTreeSet::new(),
            last_batch: 0,
            not_leading: None,
            applied_term: Term::ZERO,
            committed: Index::ZERO,
            submitted_after_commit: 1,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    pub(super) fn is_queue_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a command of this class or a later one is queued.
    pub(super) fn has_queued(&self, least: CommandClass) -> bool {
        self.queue.has(least)
    }

    /// The class of a command.
    pub(super) fn class_of(&self, data: &Bytes) -> CommandClass {
        self.queue.class_of(data)
    }

    /// Commands in the queue.
    pub(super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Their bytes.
    pub(super) fn queue_bytes(&self) -> u64 {
        self.queue.bytes()
    }

    /// Pending commands of this node's clients.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Their bytes.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// State of a pending command. `None` where its outcome is known already.
    pub(super) fn state_of(&self, sequence: u64) -> Option<CommandState> {
        self.pending.get(&sequence).map(|pending| pending.state)
    }

    /// Queues a command, of this node or of another one.
    pub(super) fn push(&mut self, command: Command) {
        self.queue.push(command);
    }

    /// Whether the queue of a class has reached one of these limits: it accepts no more commands of the class then.
    pub(super) fn is_queue_full(&self, class: CommandClass, commands: usize, bytes: u64) -> bool {
        let (queued, queued_bytes) = self.queue.size_of(class);
        queued_bytes >= bytes || queued >= commands
    }

    /// Removes the commands of other nodes from the queue.
    pub(super) fn take_foreign(&mut self) -> Vec<Command> {
        let session = self.session;
        self.queue.take_if(|command| command.session != session)
    }

    /// Removes the commands of the next entry, or of the next message to the leader of `term`, from the queue: those of
    /// this class and of later ones.
    pub(super) fn take_batch(
        &mut self,
        least: CommandClass,
        term: Term,
        max_bytes: u64,
        max_commands: usize,
    ) -> Vec<Command> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(command) = self.queue.front(least) {
            bytes += command.data.len() as u64;
            if batch.len() >= max_commands || (bytes > max_bytes && !batch.is_empty()) {
                break;
            }
            let Some(command) = self.queue.pop(least) else {
                break;
            };
            if command.session == self.session {
                self.mark_sent(command.sequence, term);
            }
            batch.push(command);
        }
        batch
    }

    /// The commands that were sent in `term` and whose outcome is open, as batches of at most this size.
    pub(super) fn sent_in(
        &self,
        term: Term,
        max_bytes: u64,
        max_commands: usize,
    ) -> Vec<Vec<Command>> {
        let sent = self.pending.iter();
        let sent = sent.filter(|(_, pending)| pending.state == CommandState::Sent(term));
        let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (&sequence, pending) in sent {
            let length = pending.data.len() as u64;
            if !batch.is_empty() && (batch.len() >= max_commands || bytes + length > max_bytes) {
                batches.push(std::mem::take(&mut batch));
                bytes = 0;
            }
            bytes += length;
            batch.push(Command {
                session: self.session,
                sequence,
                data: pending.data.clone(),
            });
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        batches
    }

    /// Queues a command. Its client waits until `deadline`. If there is no leader by `leader_deadline`, it fails then.
    pub(super) fn enqueue(
        &mut self,
        client: C,
        data: Bytes,
        deadline: Duration,
        leader_deadline: Duration,
    ) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let due = leader_deadline.min(deadline);
        self.deadlines.insert((due, sequence));
        self.pending_bytes += data.len() as u64;
        self.push(Command {
            session: self.session,
            sequence,
            data: data.clone(),
        });
        let pending = PendingCommand {
            client,
            data,
            deadline,
            due,
            state: CommandState::Queued,
        };
        self.pending.insert(sequence, pending);
    }

    fn remove(&mut self, sequence: u64) -> Option<PendingCommand<C>> {
        let pending = self.pending.remove(&sequence)?;
        self.pending_bytes -= pending.data.len() as u64;
        self.deadlines.remove(&(pending.due, sequence));
        Some(pending)
    }

    fn reschedule(&mut self, sequence: u64, due: Duration) {
        if let Some(pending) = self.pending.get_mut(&sequence) {
            self.deadlines.remove(&(pending.due, sequence));
            self.deadlines.insert((due, sequence));
            pending.due = due;
        }
    }

    /// From here on the outcome of this command is open.
    fn mark_sent(&mut self, sequence: u64, term: Term) {
        // Its key among the deadlines stays until that time: most commands are completed long before.
        if let Some(pending) = self.pending.get_mut(&sequence) {
            pending.state = CommandState::Sent(term);
        }
    }

    /// Removes a pending command that is not in the queue, and returns its client.
    pub(super) fn finish(&mut self, sequence: u64) -> Option<C> {
        self.remove(sequence).map(|pending| pending.client)
    }

    /// Queues a command again that is in no log and never will be. It gets a new sequence number, so messages under the
    /// old one have no effect any more.
    pub(super) fn requeue(&mut self, sequence: u64, leader_deadline: Duration) {
        if let Some(old) = self.remove(sequence) {
            self.enqueue(old.client, old.data, old.deadline, leader_deadline);
        }
    }

    /// Queues the commands again that were sent to leaders of earlier terms. The docs of the module give the reason.
    pub(super) fn requeue_before(&mut self, term: Term, leader_deadline: Duration) {
        let is_lost = |state| matches!(state, CommandState::Sent(sent) if sent < term);
        let lost = self
            .pending
            .iter()
            .filter(|(_, pending)| is_lost(pending.state));
        let lost: Vec<u64> = lost.map(|(&sequence, _)| sequence).collect();
        for sequence in lost {
            self.requeue(sequence, leader_deadline);
        }
    }

    /// A snapshot of this term was restored. Commands that were sent up to this term may be in it or not.
    pub(super) fn mark_unknown_up_to(&mut self, term: Term) {
        for pending in self.pending.values_mut() {
            if let CommandState::Sent(sent) = pending.state
                && sent <= term
            {
                pending.state = CommandState::Unknown(sent);
            }
        }
    }

    /// Removes the commands whose outcome this node can no longer learn: a snapshot may contain them, and no entry of a term
    /// before this one follows. They would take up the limits until their clients stop waiting.
    pub(super) fn take_lost_before(&mut self, term: Term) -> Vec<C> {
        let is_lost = |state| matches!(state, CommandState::Unknown(sent) if sent < term);
        let lost = self
            .pending
            .iter()
            .filter(|(_, pending)| is_lost(pending.state));
        let lost: Vec<u64> = lost.map(|(&sequence, _)| sequence).collect();
        let finished = lost.into_iter();
        finished
            .filter_map(|sequence| self.finish(sequence))
            .collect()
    }

    /// Records the commit index.
    pub(super) fn note_committed(&mut self, committed: Index) {
        if committed > self.committed {
            self.committed = committed;
            self.submitted_after_commit = self.next_sequence;
        }
    }

    /// Removes the commands whose deadline has passed. `is_stuck`: this node leads and has uncommitted entries. Where
    /// nothing was committed since a command was queued, the majority is missing, and it is not load that delays it.
    pub(super) fn expire(
        &mut self,
        now: Duration,
        has_leader: bool,
        is_stuck: bool,
    ) -> Vec<(C, SubmitError)> {
        let mut expired = Vec::new();
        let mut unqueued = BTreeSet::new();
        while let Some(&(due, sequence)) = self.deadlines.first().filter(|(due, _)| *due <= now) {
            let Some(pending) = self.pending.get(&sequence) else {
                unreachable!("{due:?} is the deadline of command {sequence}, which is pending");
            };
            let (queued, deadline) = (pending.state == CommandState::Queued, pending.deadline);
            if (has_leader || !queued) && now < deadline {
                // It has a leader, or was sent to one: it waits as long as its client does.
                self.reschedule(sequence, deadline);
                continue;
            }
            let error = match (queued, has_leader) {
                (true, false) => SubmitError::NoLeader,
                (true, true) if is_stuck && sequence >= self.submitted_after_commit => {
                    SubmitError::NoLeader
                }
                (true, true) => SubmitError::Overloaded {
                    what: "queued commands",
                },
                (false, _) => SubmitError::TimedOut,
            };
            if queued {
                unqueued.insert(sequence);
            }
            expired.extend(self.finish(sequence).map(|client| (client, error)));
        }
        self.drop_queued(&unqueued);
        expired
    }

    fn drop_queued(&mut self, sequences: &BTreeSet<u64>) {
        if sequences.is_empty() {
            return;
        }
        let session = self.session;
        self.queue
            .take_if(|command| command.session == session && sequences.contains(&command.sequence));
    }

    /// Removes the queued commands of this node's clients.
    pub(super) fn take_queued(&mut self) -> Vec<C> {
        let queued = self.pending.iter();
        let queued: BTreeSet<u64> = queued
            .filter(|(_, pending)| pending.state == CommandState::Queued)
            .map(|(sequence, _)| *sequence)
            .collect();
        self.drop_queued(&queued);
        let finished = queued.into_iter();
        finished
            .filter_map(|sequence| self.finish(sequence))
            .collect()
    }

    /// Removes all commands, and returns the clients.
    pub(super) fn drain(&mut self) -> Vec<C> {
        self.queue.clear();
        self.pending_bytes = 0;
        self.deadlines.clear();
        std::mem::take(&mut self.pending)
            .into_values()
            .map(|pending| pending.client)
            .collect()
    }
}
