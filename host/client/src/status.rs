//! What a node says of itself at `GET /v1/status`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// It takes commands and replicates them.
    Leader,
    /// It follows a leader.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It follows without a vote.
    Learner,
    /// One that this version of the client does not know.
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

/// A node of the cluster as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Its name.
    pub node_id: String,
    /// Where its peers reach it.
    pub peer_addr: String,
    /// Where its clients reach it; `None` or empty as long as it has not been met.
    #[serde(default)]
    pub client_addr: Option<String>,
    /// Whether it has a vote.
    pub voter: bool,
}

/// The module that a node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// The guest's name for itself.
    pub name: String,
    /// The guest's version of itself.
    pub version: u32,
    /// Digest of the module's bytes, in hexadecimal.
    pub sha256: String,
}

/// A node as it was when it answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub node_id: String,
    /// What it is.
    pub role: NodeRole,
    /// The latest term that it has seen.
    pub term: u64,
    /// Who leads, where it knows.
    #[serde(default)]
    pub leader_id: Option<String>,
    /// Entries up to here are committed, as far as it knows.
    pub commit_index: u64,
    /// Entries up to here are applied here.
    pub applied_index: u64,
    /// First entry kept in the log.
    pub first_log_index: u64,
    /// Last entry in the log.
    pub last_log_index: u64,
    /// The newest snapshot stands for entries up to here; 0: there is none.
    #[serde(default)]
    pub snapshot_index: Option<u64>,
    /// Running hash over everything applied, in hexadecimal: equal on all nodes at an applied index.
    pub state_hash: String,
    /// All nodes of the cluster.
    pub members: Vec<MemberInfo>,
    /// What runs on it.
    pub state_machine: ModuleInfo,
    /// How long it has been running, in milliseconds.
    pub uptime_ms: u64,
    /// Version of the host.
    pub version: String,
    /// What later versions add.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
