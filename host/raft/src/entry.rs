//! What the log holds and what a node keeps durable: entries, hard state, the description of a snapshot.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{LogId, NodeId, Term};
use crate::raft::membership::{Member, Membership};

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
