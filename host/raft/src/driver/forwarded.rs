//! Which forwarded commands this node has accepted or refused as the leader of one term.
//!
//! A follower may send a command again once it has proof that the first attempt had no effect. Three rules provide this
//! proof:
//!
//! - A command is accepted only by the leader of the term that it was sent in.
//! - A leader accepts each command once, however often it arrives.
//! - Only a node that led that term, and still has its record of it, refuses a command of the term. Any other node does
//!   not respond.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::entry::Command;
use crate::ids::{NodeId, Term};

/// Most sessions that are recorded. Each run of a node is one session.
const SESSIONS: usize = 64;
/// Most commands that are recorded of each session. Older ones count as accepted.
const COMMANDS: usize = 65_536;

/// The decisions of this node in the term that it led last.
#[derive(Debug, Default)]
pub(super) struct ForwardedCommands {
    term: Term,
    sessions: BTreeMap<u64, ForwardingSession>,
    /// Sessions in the order of their last command: the first is dropped first.
    order: VecDeque<u64>,
}

#[derive(Debug)]
struct ForwardingSession {
    from: NodeId,
    /// All sequence numbers up to this one count as accepted.
    floor: u64,
    sequences: BTreeSet<u64>,
}

impl ForwardedCommands {
    /// The term that the record is of.
    pub(super) fn term(&self) -> Term {
        self.term
    }

    /// Starts an empty record: this node leads `term`.
    pub(super) fn begin(&mut self, term: Term) {
        if term > self.term {
            *self = Self {
                term,
                ..Self::default()
            };
        }
    }

    /// Records a command. True where it was not recorded before.
    pub(super) fn record(&mut self, from: &NodeId, command: &Command) -> bool {
        if self.order.back() != Some(&command.session) {
            // The one that was used last is dropped last: a node that runs may send its commands again.
            self.order.retain(|session| *session != command.session);
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
            .or_insert_with(|| ForwardingSession {
                from: from.clone(),
                floor: 0,
                sequences: BTreeSet::new(),
            });
        let is_new = command.sequence > session.floor && session.sequences.insert(command.sequence);
        if session.sequences.len() > COMMANDS
            && let Some(lowest) = session.sequences.pop_first()
        {
            session.floor = lowest;
        }
        is_new
    }

    /// The node that a session is of.
    pub(super) fn node_of(&self, session: u64) -> Option<NodeId> {
        self.sessions
            .get(&session)
            .map(|session| session.from.clone())
    }
}
