//! The leader's side of forwarding: it accepts commands of followers, or refuses them. See
//! [`ForwardedCommands`](super::forwarded::ForwardedCommands) for the rules.

use std::collections::BTreeMap;

use super::Driver;
use super::environment::Environment;
use crate::entry::Command;
use crate::ids::NodeId;
use crate::message::{Forward, ForwardRefusal, ForwardResponse, Message, RaftResponse};
use crate::state_machine::ReplicatedStateMachine;

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    /// A follower forwards commands of its clients.
    pub(super) fn on_forward(&mut self, from: &NodeId, forward: Forward) {
        if !self.core.membership().contains(from) {
            return;
        }
        self.refuse_outdated();
        if forward.term != self.forwarded.term() {
            return;
        }
        self.core.note_client_activity(from);
        let Forward { commands, .. } = forward;
        let limit = self.limits.command_bytes;
        let new: Vec<Command> = commands
            .into_iter()
            // The follower refuses such a command itself, if its limit is the same.
            .filter(|command| command.data.len() as u64 <= limit)
            .filter(|command| self.forwarded.record(from, command))
            .collect();
        if !self.leads() || self.core.term() != self.forwarded.term() {
            self.refuse(from, &new, ForwardRefusal::NotLeader);
        } else {
            let is_refused = |command: &Command| {
                let class = self.proposals.class_of(&command.data);
                self.is_queue_full(class)
            };
            let (refused, accepted): (Vec<_>, Vec<_>) = new.into_iter().partition(is_refused);
            self.refuse(from, &refused, ForwardRefusal::Overloaded);
            accepted
                .into_iter()
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
            let response = ForwardResponse {
                term,
                session,
                sequences,
                reason,
            };
            self.env
                .send(node, Message::Response(RaftResponse::Forward(response)));
        }
    }

    /// Refuses the queued commands that were accepted in a term that this node no longer leads.
    pub(super) fn refuse_outdated(&mut self) {
        let leads = self.leads();
        if leads && self.core.term() == self.forwarded.term() {
            return;
        }
        self.refuse_foreign(ForwardRefusal::NotLeader);
        if leads {
            self.forwarded.begin(self.core.term());
        }
    }

    /// Refuses the queued commands of other nodes.
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
