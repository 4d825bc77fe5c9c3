//! The content of the log, and the other durable state of a node: entries, hard state, the description of a snapshot.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{LogId, NodeId, Term};
use crate::raft::membership::{Member, Membership};

/// One opaque command, with the number by which its client is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Random number of the run of the node that proposed it. A restarted node has a new one, and so no client for old commands.
    pub session: u64,
    /// Number of the command within the session. The node finds the waiting client by it when it applies the entry.
    pub sequence: u64,
    /// The input of the state machine.
    pub data: Bytes,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing. The first entry of a new leader, which commits the entries before it (Raft paper §5.4.2, §8).
    Noop,
    /// A batch of commands. The state machine receives it in one call.
    Commands(Vec<Command>),
    /// The configuration from this entry on (dissertation §4.1).
    Membership(Membership),
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Term and index.
    pub id: LogId,
    /// The leader's clock when it created the entry, in milliseconds since 1970. Never less than in the entry before.
    pub time_ms: u64,
    /// The content.
    pub payload: Payload,
}

impl Entry {
    /// Its size for limits of memory and of messages, in bytes: the data, and an estimate of the overhead.
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

/// Term and vote: the persistent state of a node besides the log (Raft paper, Figure 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term that the node has seen.
    pub term: Term,
    /// The candidate that received its vote in that term.
    pub vote: Option<NodeId>,
}

/// Describes a snapshot: the state after the entry `last`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry that it contains.
    pub last: LogId,
    /// The time of that entry. Later entries are not older.
    pub time_ms: u64,
    /// Length of the state machine's data, in bytes.
    pub length: u64,
    /// CRC-32C of the state machine's data.
    pub checksum: u32,
    /// The configuration at that entry; none if the log contained none until then. It is stored and sent separately, so it is
    /// not serialized here.
    #[serde(skip)]
    pub membership: Option<Membership>,
}
