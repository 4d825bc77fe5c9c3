//! The words that every module shares: node, term, index, entry, hard state.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::raft::membership::{Member, Membership};

/// Name of a node, unique in its cluster. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for NodeId {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first one.
            pub const ZERO: Self = Self(0);

            /// The next one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }

            /// The one before; zero has none and stays zero.
            #[must_use]
            pub fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// A period with at most one leader, counted from 1 (Raft paper §5.1). 0: before any election.
    Term
}
counter! {
    /// Position in the log, counted from 1. 0: before the first entry.
    Index
}

/// An entry's name: no two different entries share one (Log Matching, Raft paper §5.3).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogId {
    /// Term of the leader that made the entry. First, so that the order is "more up to date" (§5.4.1).
    pub term: Term,
    /// Position of the entry.
    pub index: Index,
}

impl LogId {
    /// Names the entry of `term` at `index`.
    #[must_use]
    pub fn new(term: Term, index: Index) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}

/// One opaque command, and who waits for its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Random number of the node's run that proposed it: a restarted node doesn't answer for its former self.
    pub session: u64,
    /// Number of the command within the session. That node finds the waiting client by it when it applies the entry.
    pub sequence: u64,
    /// The bytes for the state machine.
    pub data: Bytes,
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing. A new leader's first entry, by which it commits those before it (Raft paper §5.4.2, §8).
    Noop,
    /// The commands that waited when the leader made the entry; the state machine gets them in one call.
    Commands(Vec<Command>),
    /// Who belongs to the cluster from this entry on (dissertation §4.1).
    Membership(Membership),
}

/// One record of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub id: LogId,
    /// The leader's clock when it made the entry, in milliseconds since 1970; never less than the entry before.
    pub time_ms: u64,
    /// What it carries.
    pub payload: Payload,
}

impl Entry {
    /// Its size for budgets of memory and of messages, in bytes: the data and an allowance for the rest.
    #[must_use]
    pub fn cost(&self) -> u64 {
        const ENTRY: u64 = 64;
        const COMMAND: u64 = 24;
        const MEMBER: u64 = 24;
        match &self.payload {
            Payload::Noop => ENTRY,
            Payload::Commands(commands) => {
                let data: u64 = commands
                    .iter()
                    .map(|command| command.data.len() as u64)
                    .sum();
                ENTRY + COMMAND * commands.len() as u64 + data
            }
            Payload::Membership(membership) => {
                let bytes = |(id, member): (&NodeId, &Member)| {
                    MEMBER + id.as_str().len() as u64 + member.address.len() as u64
                };
                ENTRY + membership.members().iter().map(bytes).sum::<u64>()
            }
        }
    }
}

/// What a node must not forget between answers (Raft paper, Figure 2: persistent state, without the log).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term that the node has seen.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
}

/// What a snapshot stands for: the state after the entry `last`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that it includes.
    pub last: LogId,
    /// That entry's time, so that time never runs backwards after it.
    pub time_ms: u64,
    /// Length of the state machine's bytes.
    pub length: u64,
    /// CRC-32C of the state machine's bytes.
    pub checksum: u32,
    /// Who belonged to the cluster at that entry; none where the log had not said so yet, and the start
    /// configuration held. Travels beside it, not in it.
    #[serde(skip)]
    pub membership: Option<Membership>,
}
