//! The status of a node, as `GET /v1/status` returns it. The metrics are derived from the same values.

use std::borrow::Cow;

use oarlock_wasm::MachineStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use task_queue_raft::Status;
use task_queue_raft::ids::NodeId;
use task_queue_raft::raft::Role;
use task_queue_raft::raft::clock::ClockStatus;
use task_queue_raft::raft::voting::VotingStatus;

/// The status of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NodeStatus {
    /// Id of this node.
    pub(crate) node_id: String,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub(crate) role: Cow<'static, str>,
    /// Highest term that this node has seen.
    pub(crate) term: u64,
    /// The leader of that term, if this node knows it.
    pub(crate) leader_id: Option<String>,
    /// The last entry that this node knows to be committed.
    pub(crate) commit_index: u64,
    /// The last applied entry.
    pub(crate) applied_index: u64,
    /// The first entry in the log of this node.
    pub(crate) first_log_index: u64,
    /// The last entry in the log of this node.
    pub(crate) last_log_index: u64,
    /// The last entry in the newest snapshot; 0 without a snapshot.
    pub(crate) snapshot_index: u64,
    /// Hash over all applied commands. Equal on nodes with the same `applied_index`.
    pub(crate) state_hash: String,
    /// The members in this node's log.
    pub(crate) members: Vec<MemberStatus>,
    /// The active module.
    pub(crate) state_machine: ModuleStatus,
    /// Milliseconds since the process started.
    pub(crate) uptime_ms: u64,
    /// Version of this program.
    pub(crate) version: Cow<'static, str>,
    /// Empty while the node waits to be added to a cluster.
    pub(crate) cluster_id: String,
    /// As `GET /readyz`.
    pub(crate) ready: bool,
    /// The result of the latest audit.
    pub(crate) audit: AuditStatus,
    /// Whether this node may vote.
    pub(crate) voting: VotingInfo,
    /// The clock of this node.
    pub(crate) clock: ClockInfo,
    /// The memory of the guest.
    pub(crate) memory: MemoryStatus,
}

/// The memory of the guest.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MemoryStatus {
    /// Linear memory of the guest on this node, in bytes; 0 while it is rebuilt.
    pub(crate) bytes: u64,
    /// The node reports low memory from this size on.
    pub(crate) soft_limit_bytes: u64,
    /// Limit of that memory, in bytes.
    pub(crate) limit_bytes: u64,
    /// True while the guest sees memory pressure: a node has reported low memory.
    pub(crate) low: bool,
    /// The nodes that have reported it.
    pub(crate) low_nodes: Vec<String>,
}

/// A member of the cluster, as this node knows it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MemberStatus {
    /// Id of the member.
    pub(crate) node_id: String,
    /// Address for peers in the log, or in the flags of this node where the log has none.
    pub(crate) peer_addr: String,
    /// The address for peers that the member has announced to this node, if it differs: the member has moved. It is used
    /// when `peer_addr` does not work. Null if it does not differ.
    pub(crate) announced_addr: Option<String>,
    /// Null until that member has connected to this node and announced its address.
    pub(crate) client_addr: Option<String>,
    /// False: the member is a learner.
    pub(crate) voter: bool,
}

/// The result of the latest audit: the comparison of the nodes' state hashes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AuditStatus {
    /// The entry after which the hashes were compared; null before the first audit.
    pub(crate) index: Option<u64>,
    /// Number of voters with the most frequent hash.
    pub(crate) agreeing: usize,
    /// Nodes whose hash differs from that of the majority.
    pub(crate) differing: Vec<String>,
    /// True if there are different hashes, and none is that of a majority.
    pub(crate) undecided: bool,
    /// True if commands are refused (503 `states_differ`) because the hashes differ and no majority agrees.
    pub(crate) writes_stopped: bool,
    /// True if this node differs from the majority, so that it serves no requests.
    pub(crate) quarantined: bool,
    /// Number of snapshots that this node installed to leave quarantine, since it was started.
    pub(crate) reinstalls: u64,
    /// The comparison of the complete states.
    pub(crate) states: StateAuditStatus,
    /// True if this node has diverged too often. It stays in quarantine until an operator replaces the node or accepts its
    /// state.
    pub(crate) given_up: bool,
}

/// The result of the latest audit of the complete states.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StateAuditStatus {
    /// The entry after which the states were compared; null before the first audit.
    pub(crate) index: Option<u64>,
    /// Number of voters with the most frequent state.
    pub(crate) agreeing: usize,
    /// Nodes whose state differs from that of the majority.
    pub(crate) differing: Vec<String>,
    /// Nodes whose guest writes the same state in different ways, so that states can't be compared.
    pub(crate) not_comparable: Vec<String>,
}

/// Whether this node may vote, and what keeps it from voting.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct VotingInfo {
    /// True if this node votes when it is a voter.
    pub(crate) eligible: bool,
    /// Why the node does not vote yet; null if it does. One of: `bootstrap` (other initial members have not responded
    /// yet), `bootstrap_mismatch` (a node was started with other initial members), `commit` (the bootstrap
    /// configuration is not committed yet), `join` (the store of the node is empty, and the node waits to be added),
    /// `rejoin` (the store of the node is new, and the leader has not readmitted the node yet).
    pub(crate) blocked_on: Option<Cow<'static, str>>,
    /// The nodes that `blocked_on` is about: those that have not responded, or the one with other initial members.
    pub(crate) nodes: Vec<String>,
    /// Voters whose stores were lost and that have not rejoined yet. Known only from their own messages, so a node that
    /// has not been contacted by such a voter does not list it.
    pub(crate) voters_without_data: Vec<String>,
}

/// The clock of this node, and the time of the log.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ClockInfo {
    /// This node's clock minus the clocks of the majority, in milliseconds; null while that is not known.
    pub(crate) offset_ms: Option<i64>,
    /// True if that is more than `--max-clock-skew-ms`: this node does not lead while another one can.
    pub(crate) skewed: bool,
    /// How far the time of the log is ahead of the clocks of the majority, in milliseconds; 0 within the bound.
    pub(crate) ahead_ms: u64,
}

impl From<ClockStatus> for ClockInfo {
    fn from(clock: ClockStatus) -> Self {
        Self {
            offset_ms: clock.offset_ms,
            skewed: clock.is_skewed,
            ahead_ms: clock.ahead_ms,
        }
    }
}

/// The active module.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ModuleStatus {
    /// Name in the module's description.
    pub(crate) name: String,
    /// Version in the module's description.
    pub(crate) version: u32,
    /// SHA-256 of the module.
    pub(crate) sha256: String,
    /// Fingerprint of the layout of the state; null if the module does not tell it.
    pub(crate) layout: Option<String>,
    /// How the effects of a failed command are undone: `images` (memory images) or `replay` (from the last checkpoint).
    pub(crate) undo: Cow<'static, str>,
}

/// The role of a node in its status: a follower without a vote is a `learner`.
pub(crate) fn status_role(raft: &Status) -> &'static str {
    match raft.role {
        Role::Follower if !raft.voters.contains(&raft.node_id) => "learner",
        role => role_name(role),
    }
}

/// The name of a role in the contract.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::PreCandidate | Role::Candidate => "candidate",
    }
}

impl From<MachineStatus> for ModuleStatus {
    fn from(machine: MachineStatus) -> Self {
        Self {
            name: machine.name,
            version: machine.version,
            sha256: machine.sha256.to_string(),
            layout: machine.layout,
            undo: machine.rollback_method.name().into(),
        }
    }
}

impl From<&Status> for VotingInfo {
    fn from(raft: &Status) -> Self {
        let names = |nodes: &[NodeId]| nodes.iter().map(|id| id.as_str().to_owned()).collect();
        let (blocked_on, nodes) = match &raft.voting {
            VotingStatus::Eligible => (None, Vec::new()),
            VotingStatus::Bootstrapping { missing } => (Some("bootstrap"), names(missing)),
            VotingStatus::BootstrapMismatch { with } => (
                Some("bootstrap_mismatch"),
                names(std::slice::from_ref(with)),
            ),
            VotingStatus::AwaitingCommit => (Some("commit"), Vec::new()),
            VotingStatus::Joining => (Some("join"), Vec::new()),
            VotingStatus::Rejoining => (Some("rejoin"), Vec::new()),
        };
        Self {
            eligible: blocked_on.is_none(),
            blocked_on: blocked_on.map(Cow::Borrowed),
            nodes,
            voters_without_data: names(&raft.voters_without_data),
        }
    }
}
