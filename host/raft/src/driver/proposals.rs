//! Commands between a client and the log: they gather while entries are under way, then go into one entry
//! together; on a follower they travel to the leader. A client is answered by its own node, once that has applied
//! the entry: so an answer survives a change of leader.
//!
//! A command that was sent has an open outcome, until one of these settles it:
//!
//! - its entry is applied here: the client gets the reply;
//! - the leader that it was sent to refuses it: it goes back into the queue;
//! - an entry of a later term is applied here, and the command's own was not before it. Then it never will be: a
//!   leader proposes a command only in the term that it was sent in, and the terms of a log never decrease
//!   (Raft paper §5.3). So it goes back into the queue, and is still carried out only once;
//! - the client's time is up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::{Applied, Driver, Environment, SubmitError};
use crate::applier::Reply;
use crate::entry::{Command, SnapshotMeta};
use crate::ids::{Index, NodeId, Term};
use crate::message::{Forward, ForwardRefusal, ForwardResponse, Message, RaftRequest};
use crate::raft::ProposeError;
use crate::state_machine::ReplicatedStateMachine;

/// A command whose client waits.
struct Waiting<W> {
    client: W,
    data: Bytes,
    /// When the client stops waiting.
    deadline: Duration,
    /// When it is looked at next: its place among the deadlines.
    due: Duration,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the queue: neither in a log nor on its way.
    Queued,
    /// Given to the leader of this term, which may be this node.
    Sent(Term),
    /// A snapshot has replaced the entries that it may have been among: its outcome can't be known here.
    InDoubt,
}

/// Commands of this node's clients, and those that followers have forwarded to it.
pub(super) struct Proposals<W> {
    pub(super) session: u64,
    next_sequence: u64,
    queue: VecDeque<Command>,
    queue_bytes: u64,
    waiting: BTreeMap<u64, Waiting<W>>,
    waiting_bytes: u64,
    deadlines: BTreeSet<(Duration, u64)>,
    /// Commands in the entry that was made last.
    last_batch: usize,
    /// This leader said that it isn't one: it gets nothing more in that term.
    not_leading: Option<(NodeId, Term)>,
    /// Term of the last entry applied here.
    applied_term: Term,
    /// The last commit index seen.
    committed: Index,
    /// The commands with a number from here on came after that was reached.
    came_after: u64,
}

impl<W> Proposals<W> {
    pub(super) fn new(session: u64) -> Self {
        Self {
            session,
            next_sequence: 1,
            queue: VecDeque::new(),
            queue_bytes: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            deadlines: BTreeSet::new(),
            last_batch: 0,
            not_leading: None,
            applied_term: Term::ZERO,
            committed: Index::ZERO,
            came_after: 1,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(due, _)| due)
    }

    /// Queues a command, of one of this node's clients or of another's.
    pub(super) fn push(&mut self, command: Command) {
        self.queue_bytes += command.data.len() as u64;
        self.queue.push_back(command);
    }

    /// Whether the queue takes no further command of a follower.
    pub(super) fn is_queue_full(&self, commands: usize, bytes: u64) -> bool {
        self.queue_bytes >= bytes || self.queue.len() >= commands
    }

    /// Takes the commands of other nodes' clients out of the queue.
    pub(super) fn take_foreign(&mut self) -> Vec<Command> {
        let session = self.session;
        if self.queue.iter().all(|command| command.session == session) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.queue);
        let (own, foreign) = all
            .into_iter()
            .partition(|command| command.session == session);
        self.queue = own;
        self.queue_bytes = self
            .queue
            .iter()
            .map(|command| command.data.len() as u64)
            .sum();
        Vec::from(foreign)
    }

    /// Takes the commands of one entry or message out of the queue, for the leader of `term`.
    fn take_batch(&mut self, term: Term, max_bytes: u64, max_commands: usize) -> Vec<Command> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(command) = self.queue.front() {
            bytes += command.data.len() as u64;
            if batch.len() >= max_commands || (bytes > max_bytes && !batch.is_empty()) {
                break;
            }
            let Some(command) = self.queue.pop_front() else {
                break;
            };
            self.queue_bytes -= command.data.len() as u64;
            if command.session == self.session {
                self.mark_sent(command.sequence, term);
            }
            batch.push(command);
        }
        batch
    }

    /// Queues a command whose client waits until `deadline`, and for a leader to appear until `patience`.
    fn enqueue(&mut self, client: W, data: Bytes, deadline: Duration, patience: Duration) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let due = patience.min(deadline);
        self.deadlines.insert((due, sequence));
        self.waiting_bytes += data.len() as u64;
        self.push(Command {
            session: self.session,
            sequence,
            data: data.clone(),
        });
        let waiting = Waiting {
            client,
            data,
            deadline,
            due,
            place: Place::Queued,
        };
        self.waiting.insert(sequence, waiting);
    }

    fn remove(&mut self, sequence: u64) -> Option<Waiting<W>> {
        let waiting = self.waiting.remove(&sequence)?;
        self.waiting_bytes -= waiting.data.len() as u64;
        self.deadlines.remove(&(waiting.due, sequence));
        Some(waiting)
    }

    fn reschedule(&mut self, sequence: u64, due: Duration) {
        if let Some(waiting) = self.waiting.get_mut(&sequence) {
            self.deadlines.remove(&(waiting.due, sequence));
            self.deadlines.insert((due, sequence));
            waiting.due = due;
        }
    }

    /// From here on the outcome of this command is open. It waits as long as its client does.
    fn mark_sent(&mut self, sequence: u64, term: Term) {
        // It keeps its place among the deadlines until that has come: most are answered long before.
        if let Some(waiting) = self.waiting.get_mut(&sequence) {
            waiting.place = Place::Sent(term);
        }
    }

    /// Forgets a command that is not in the queue, and returns who waits for it.
    fn finish(&mut self, sequence: u64) -> Option<W> {
        self.remove(sequence).map(|waiting| waiting.client)
    }

    /// Queues a command again that is in no log and never will be, under a new number: whatever still travels
    /// under the old one means nothing any more.
    fn requeue(&mut self, sequence: u64, patience: Duration) {
        if let Some(old) = self.remove(sequence) {
            self.enqueue(old.client, old.data, old.deadline, patience);
        }
    }

    /// Queues the commands again that were sent to leaders of terms before this one. The module says why.
    fn requeue_before(&mut self, term: Term, patience: Duration) {
        let lost = |place| matches!(place, Place::Sent(sent) if sent < term);
        let lost = self
            .waiting
            .iter()
            .filter(|(_, waiting)| lost(waiting.place));
        let lost: Vec<u64> = lost.map(|(&sequence, _)| sequence).collect();
        for sequence in lost {
            self.requeue(sequence, patience);
        }
    }

    /// What was sent up to this term may or may not be in a snapshot.
    fn doubt_up_to(&mut self, term: Term) {
        for waiting in self.waiting.values_mut() {
            if matches!(waiting.place, Place::Sent(sent) if sent <= term) {
                waiting.place = Place::InDoubt;
            }
        }
    }

    /// The commit index is here by now.
    pub(super) fn note_committed(&mut self, committed: Index) {
        if committed > self.committed {
            self.committed = committed;
            self.came_after = self.next_sequence;
        }
    }

    /// Clients whose time is up. `stuck` says that entries of this leader wait for a majority: where none was
    /// committed in all the time that a command waited for its turn, it is not load that has kept it out.
    pub(super) fn expire(
        &mut self,
        now: Duration,
        has_leader: bool,
        stuck: bool,
    ) -> Vec<(W, SubmitError)> {
        let mut expired = Vec::new();
        let mut unqueued = BTreeSet::new();
        while let Some(&(due, sequence)) = self.deadlines.first().filter(|(due, _)| *due <= now) {
            let Some(waiting) = self.waiting.get(&sequence) else {
                unreachable!("{due:?} is the deadline of command {sequence}, which waits");
            };
            let (queued, deadline) = (waiting.place == Place::Queued, waiting.deadline);
            if (has_leader || !queued) && now < deadline {
                // There is a leader after all, or it was sent to one; it waits on, as long as its client does.
                self.reschedule(sequence, deadline);
                continue;
            }
            let error = match (queued, has_leader) {
                (true, false) => SubmitError::NoLeader,
                (true, true) if stuck && sequence >= self.came_after => SubmitError::NoLeader,
                (true, true) => SubmitError::Overloaded {
                    what: "commands that wait for their turn",
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
            .retain(|command| command.session != session || !sequences.contains(&command.sequence));
        self.queue_bytes = self
            .queue
            .iter()
            .map(|command| command.data.len() as u64)
            .sum();
    }

    /// Own commands that wait for their turn, which will not come.
    fn take_queued(&mut self) -> Vec<W> {
        let queued = self.waiting.iter();
        let queued: BTreeSet<u64> = queued
            .filter(|(_, waiting)| waiting.place == Place::Queued)
            .map(|(sequence, _)| *sequence)
            .collect();
        self.drop_queued(&queued);
        let finished = queued.into_iter();
        finished
            .filter_map(|sequence| self.finish(sequence))
            .collect()
    }

    pub(super) fn drain(&mut self) -> Vec<W> {
        self.queue.clear();
        self.queue_bytes = 0;
        self.waiting_bytes = 0;
        self.deadlines.clear();
        std::mem::take(&mut self.waiting)
            .into_values()
            .map(|waiting| waiting.client)
            .collect()
    }
}

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
        if let Some(what) = self.bound_met() {
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
        let patience = self.patience();
        self.proposals.enqueue(client, data, deadline, patience);
    }

    /// The bound that keeps a further command out, if one does.
    fn bound_met(&self) -> Option<&'static str> {
        let (proposals, limits) = (&self.proposals, &self.limits);
        if proposals.waiting.len() >= limits.waiting {
            Some("commands that wait for an outcome")
        } else if proposals.waiting_bytes >= limits.queued_bytes {
            Some("bytes of commands that wait for an outcome")
        } else if proposals.is_queue_full(limits.waiting, limits.queued_bytes) {
            Some("commands that wait for their turn")
        } else {
            None
        }
    }

    /// Until when a command that is queued now waits for a leader.
    fn patience(&self) -> Duration {
        self.now + self.limits.leader_timeout
    }

    /// Puts waiting commands into the log, or sends them to the leader.
    pub(super) fn propose_waiting(&mut self) {
        self.refuse_outdated();
        if self.proposals.queue.is_empty() {
            return;
        }
        if self.core.check_room() == Err(ProposeError::DiskFull) {
            self.refuse_queued();
        } else if self.leads() {
            self.propose_batches();
        } else if let Some((leader, term)) = self.leadership() {
            self.forward_waiting(&leader, term);
        }
    }

    /// Where a bound of the core is met, the commands wait in the queue; their clients' deadlines bound the wait.
    fn propose_batches(&mut self) {
        while !self.proposals.queue.is_empty()
            && self.is_worth_an_entry()
            && self.core.check_room().is_ok()
        {
            let (max_bytes, max_commands) = (self.limits.batch_bytes, self.limits.batch_commands);
            let batch = self
                .proposals
                .take_batch(self.core.term(), max_bytes, max_commands);
            self.proposals.last_batch = batch.len();
            let wall_ms = self.env.wall_ms();
            if let Err(error) = self.core.propose(self.now, wall_ms, batch) {
                unreachable!("the core said that it has room: {error}");
            }
        }
    }

    /// Nothing more goes into the log until there is room on this leader's disk: who waits for that is told at once.
    fn refuse_queued(&mut self) {
        self.refuse_foreign(ForwardRefusal::DiskFull);
        for client in self.proposals.take_queued() {
            self.env.reply(client, Err(SubmitError::DiskFull));
        }
    }

    /// Each entry costs every node a write, so one that is to go beside others should hold as much as they do. Without
    /// this rule, clients that wait for their answers settle into many small groups, one behind the other.
    fn is_worth_an_entry(&self) -> bool {
        let under_way = self.core.uncommitted_entries();
        let (proposals, limits) = (&self.proposals, &self.limits);
        let holds_as_much = proposals.queue.len()
            >= proposals.last_batch.min(limits.batch_commands)
            || proposals.queue_bytes >= limits.batch_bytes;
        under_way == 0 || (under_way < limits.entries_in_flight && holds_as_much)
    }

    fn forward_waiting(&mut self, leader: &NodeId, term: Term) {
        let blocked = self.proposals.not_leading.as_ref();
        if blocked.is_some_and(|(id, at)| id == leader && *at == term) {
            return;
        }
        while !self.proposals.queue.is_empty() {
            let (max_bytes, max_commands) = (self.limits.batch_bytes, self.limits.batch_commands);
            let commands = self.proposals.take_batch(term, max_bytes, max_commands);
            let forward = RaftRequest::Forward(Forward { term, commands });
            self.env.send(leader, Message::Request(forward));
        }
    }

    /// The leader did not take some commands: they are in no log.
    pub(super) fn on_forward_response(&mut self, from: &NodeId, answer: &ForwardResponse) {
        if answer.session != self.proposals.session {
            return;
        }
        let patience = self.patience();
        for &sequence in &answer.sequences {
            let Some(waiting) = self.proposals.waiting.get(&sequence) else {
                continue;
            };
            let place = waiting.place;
            match (answer.reason, place) {
                (_, Place::Queued) => {}
                (ForwardRefusal::NotLeader, _) => {
                    if let Place::Sent(term) = place {
                        self.proposals.not_leading = Some((from.clone(), term));
                    }
                    self.proposals.requeue(sequence, patience);
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

    /// The machine has applied entries: the clients of this node hear of it.
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
            let patience = self.patience();
            self.proposals.requeue_before(term, patience);
        }
        self.core.applied(self.now, index);
    }

    /// The machine has taken over a snapshot's state, and with it the effects of entries that it never saw.
    pub(super) fn on_restored(&mut self, meta: &SnapshotMeta) {
        self.proposals.applied_term = self.proposals.applied_term.max(meta.last.term);
        self.proposals.doubt_up_to(meta.last.term);
        self.core.applied(self.now, meta.last.index);
    }
}
