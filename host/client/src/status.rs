//! Data of `GET /v1/status` and of the member routes.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Raft role of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Accepts commands and replicates them.
    Leader,
    /// Replicates the leader's log, and votes.
    Follower,
    /// Requests votes.
    Candidate,
    /// Replicates the leader's log, without a vote.
    Learner,
    /// A role that this version of the client does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Unknown => "unknown",
        })
    }
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Node id.
    pub node_id: String,
    /// `host:port` for its peers.
    pub peer_addr: String,
    /// `host:port` for its peers that the member has announced, if it differs from `peer_addr`: the member has moved.
    #[serde(default)]
    pub announced_addr: Option<String>,
    /// `host:port` for clients. `None` or empty until the responding node has connected to this member.
    #[serde(default)]
    pub client_addr: Option<String>,
    /// Whether the member votes. If not, it is a learner.
    pub voter: bool,
}

/// The active module of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// Name that the guest declares.
    pub name: String,
    /// Version that the guest declares.
    pub version: u32,
    /// SHA-256 of the module's bytes, in hexadecimal.
    pub sha256: String,
    /// Other fields, among them those that later versions add.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ModuleInfo {
    /// Fingerprint of the layout of the guest's state. `None`: the guest does not tell it.
    #[must_use]
    pub fn layout(&self) -> Option<&str> {
        self.other.get("layout")?.as_str()
    }
}

/// Status of a node at the time of its response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Node id.
    pub node_id: String,
    /// Raft role.
    pub role: NodeRole,
    /// Raft term.
    pub term: u64,
    /// Node id of the leader. `None`: no leader is known.
    #[serde(default)]
    pub leader_id: Option<String>,
    /// Index of the last entry that this node knows to be committed.
    pub commit_index: u64,
    /// Index of the last entry that this node has applied.
    pub applied_index: u64,
    /// Index of the first entry in the log.
    pub first_log_index: u64,
    /// Index of the last entry in the log.
    pub last_log_index: u64,
    /// Index of the last entry in the newest snapshot. 0: there is no snapshot.
    #[serde(default)]
    pub snapshot_index: Option<u64>,
    /// Running hash over all applied entries, in hexadecimal. Equal on all nodes with the same `applied_index`.
    pub state_hash: String,
    /// All members of the cluster.
    pub members: Vec<MemberInfo>,
    /// The active module.
    pub state_machine: ModuleInfo,
    /// Time since the node started, in milliseconds.
    pub uptime_ms: u64,
    /// Version of `oarlock`.
    pub version: String,
    /// Fields that later versions add.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A committed change of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersChanged {
    /// Log index at which the change is in effect, or a later one.
    pub index: u64,
    /// The members as the responding node knows them. A follower may not have received the change yet.
    pub members: Vec<MemberInfo>,
}

/// The result of a leadership transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadershipMoved {
    /// Node id of the new leader. `None`: the responding node does not know it yet.
    pub leader_id: Option<String>,
    /// Raft term of the new leader.
    pub term: u64,
}
