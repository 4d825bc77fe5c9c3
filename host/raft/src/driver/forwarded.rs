//! Commands that followers hand to this node as their leader.
//!
//! A follower may send a command again once it knows that the first sending came to nothing, so both sides have
//! to agree on what that means. Hence three rules. A command is taken only by the leader of the term that it was
//! sent in. A leader takes it once, however often it arrives. And only a node that led that term, and remembers
//! what it took in it, says that it did not take one; any other stays silent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Driver, Environment};
use crate::entry::Command;
use crate::ids::{NodeId, Term};
use crate::message::{Forward, ForwardRefusal, ForwardResponse, Message, RaftResponse};
use crate::state_machine::ReplicatedStateMachine;

/// Sessions whose commands are remembered: each node has one, and a new one when it restarts.
const SESSIONS: usize = 64;
/// Commands that are remembered of each session. Older ones count as taken.
const COMMANDS: usize = 65_536;

/// What this node has decided on, in the term that it led last.
#[derive(Debug, Default)]
pub(super) struct Forwarded {
    term: Term,
    sessions: BTreeMap<u64, Session>,
    order: VecDeque<u64>,
}

#[derive(Debug)]
struct Session {
    from: NodeId,
    /// Everything up to here counts as taken.
    floor: u64,
    sequences: BTreeSet<u64>,
}

impl Forwarded {
    /// This node leads `term`.
    fn begin(&mut self, term: Term) {
        if term > self.term {
            *self = Self {
                term,
                ..Self::default()
            };
        }
    }

    /// Whether a command arrives for the first time. It counts as known from then on.
    fn is_news(&mut self, from: &NodeId, command: &Command) -> bool {
        if !self.sessions.contains_key(&command.session) {
            self.order.push_back(command.session);
            if self.order.len() > SESSIONS
                && let Some(oldest) = self.order.pop_front()
            {
                self.sessions.remove(&oldest);
            }
        }
        let session = self
            .sessions
            .entry(command.session)
            .or_insert_with(|| Session {
                from: from.clone(),
                floor: 0,
                sequences: BTreeSet::new(),
            });
        let news = command.sequence > session.floor && session.sequences.insert(command.sequence);
        if session.sequences.len() > COMMANDS
            && let Some(lowest) = session.sequences.pop_first()
        {
            session.floor = lowest;
        }
        news
    }

    fn node_of(&self, session: u64) -> Option<NodeId> {
        self.sessions
            .get(&session)
            .map(|session| session.from.clone())
    }
}

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    /// A follower's clients have commands.
    pub(super) fn on_forward(&mut self, from: &NodeId, forward: Forward) {
        if !self.core.membership().contains(from) {
            return;
        }
        self.refuse_outdated();
        if forward.term != self.forwarded.term {
            return;
        }
        self.core.note_client_activity(from);
        let Forward { commands, .. } = forward;
        let limit = self.limits.command_bytes;
        let news: Vec<Command> = commands
            .into_iter()
            // Its own node has refused one that is too large, unless that is not of sound mind.
            .filter(|command| command.data.len() as u64 <= limit)
            .filter(|command| self.forwarded.is_news(from, command))
            .collect();
        if !self.leads() || self.core.term() != self.forwarded.term {
            self.refuse(from, &news, ForwardRefusal::NotLeader);
        } else if self
            .proposals
            .is_queue_full(self.limits.waiting, self.limits.queued_bytes)
        {
            self.refuse(from, &news, ForwardRefusal::Overloaded);
        } else {
            news.into_iter()
                .for_each(|command| self.proposals.push(command));
        }
    }

    fn refuse(&mut self, node: &NodeId, commands: &[Command], reason: ForwardRefusal) {
        let mut sessions: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for command in commands {
            sessions
                .entry(command.session)
                .or_default()
                .push(command.sequence);
        }
        let term = self.core.term();
        for (session, sequences) in sessions {
            let answer = ForwardResponse {
                term,
                session,
                sequences,
                reason,
            };
            self.env
                .send(node, Message::Response(RaftResponse::Forward(answer)));
        }
    }

    /// Commands that this node took for a term that it no longer leads go back to those who sent them.
    pub(super) fn refuse_outdated(&mut self) {
        let leads = self.leads();
        if leads && self.core.term() == self.forwarded.term {
            return;
        }
        self.refuse_foreign(ForwardRefusal::NotLeader);
        if leads {
            self.forwarded.begin(self.core.term());
        }
    }

    /// Commands of other nodes that wait for their turn here go back to those who sent them.
    pub(super) fn refuse_foreign(&mut self, reason: ForwardRefusal) {
        let mut foreign: BTreeMap<u64, Vec<Command>> = BTreeMap::new();
        for command in self.proposals.take_foreign() {
            foreign.entry(command.session).or_default().push(command);
        }
        for (session, commands) in foreign {
            if let Some(node) = self.forwarded.node_of(session) {
                self.refuse(&node, &commands, reason);
            }
        }
    }
}
