//! The content of the log, and the other durable state of a node: entries, hard state, the description of a snapshot.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Lineage, LogId, NodeId, Term};
use crate::raft::membership::{Member, Membership};

/// The highest cluster level that this build knows. A cluster at a higher level is refused.
pub const CLUSTER_LEVEL: u32 = 1;

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

/// The limits that a command counts against. Later classes may use what earlier ones can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandClass {
    /// A command of a client.
    Client,
    /// A report of a node, without which the cluster still works. It may use half of the reserve for control records.
    Report,
    /// A control record: it changes how the cluster works, or ends the state in which the log is full.
    Control,
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
    /// The first entry of a cluster, or its raise to another level. It contains the configuration too. Boxed: it is rare and large.
    Cluster(Box<ClusterRecord>),
}

impl Payload {
    /// The configuration that the entry contains, if it contains one.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Membership(membership) => Some(membership),
            Self::Cluster(record) => Some(&record.membership),
            Self::Noop | Self::Commands(_) => None,
        }
    }

    /// As [`Payload::membership`], to change it before the entry is appended.
    pub(crate) fn membership_mut(&mut self) -> Option<&mut Membership> {
        match self {
            Self::Membership(membership) => Some(membership),
            Self::Cluster(record) => Some(&mut record.membership),
            Self::Noop | Self::Commands(_) => None,
        }
    }

    /// The record of the cluster that the entry contains, if it contains one.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterRecord> {
        match self {
            Self::Cluster(record) => Some(record),
            _ => None,
        }
    }
}

/// Level and lineage of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// The cluster level; 0 while the log contains no [`ClusterRecord`].
    pub level: u32,
    /// The lineage; [`Lineage::NONE`] at level 0.
    pub lineage: Lineage,
}

/// Level, lineage and settings of a cluster from an entry on, and its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// The cluster level: which formats and semantics all members must know. See [`CLUSTER_LEVEL`].
    pub level: u32,
    /// The lineage. A raise from level 0 sets it, a later raise repeats it.
    pub lineage: Lineage,
    /// The configuration. A raise repeats the one before it.
    pub membership: Membership,
    /// Initial settings of the state machine. They are opaque here; see
    /// [`ReplicatedStateMachine::configure`](crate::ReplicatedStateMachine::configure).
    pub settings: Bytes,
}

impl ClusterRecord {
    /// Level and lineage.
    #[must_use]
    pub fn state(&self) -> ClusterState {
        ClusterState {
            level: self.level,
            lineage: self.lineage,
        }
    }
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
        const CLUSTER: u64 = 24;
        let members = |membership: &Membership| {
            let bytes = |(id, member): (&NodeId, &Member)| {
                MEMBER + id.as_str().len() as u64 + member.address.len() as u64
            };
            membership.members().iter().map(bytes).sum::<u64>()
        };
        match &self.payload {
            Payload::Noop => ENTRY,
            Payload::Commands(commands) => {
                let data: u64 = commands
                    .iter()
                    .map(|command| command.data.len() as u64)
                    .sum();
                ENTRY + COMMAND * commands.len() as u64 + data
            }
            Payload::Membership(membership) => ENTRY + members(membership),
            Payload::Cluster(record) => {
                ENTRY + CLUSTER + record.settings.len() as u64 + members(&record.membership)
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
    /// Level and lineage of the cluster at that entry. Stored and sent separately as well; at level 0 not at all.
    #[serde(skip)]
    pub cluster: ClusterState,
}
