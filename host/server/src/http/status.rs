//! `GET /v1/status`: the node as it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use oarlock_wasm::MachineStatus;
use serde::Serialize;
use task_queue_raft::Status;
use task_queue_raft::ids::NodeId;
use task_queue_raft::raft::Role;
use task_queue_raft::raft::admission::VotingStatus;

use super::App;

/// A node as it is, in the words of the contract.
#[derive(Debug, Serialize)]
pub(crate) struct NodeStatus {
    pub(crate) node_id: String,
    pub(crate) role: &'static str,
    pub(crate) term: u64,
    pub(crate) leader_id: Option<String>,
    pub(crate) commit_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) first_log_index: u64,
    pub(crate) last_log_index: u64,
    pub(crate) snapshot_index: u64,
    pub(crate) state_hash: String,
    pub(crate) members: Vec<MemberStatus>,
    pub(crate) state_machine: ModuleStatus,
    pub(crate) uptime_ms: u64,
    pub(crate) version: &'static str,
    pub(crate) cluster_id: String,
    pub(crate) ready: bool,
    pub(crate) audit: AuditStatus,
    pub(crate) voting: VotingInfo,
}

/// A node as this one knows it.
#[derive(Debug, Serialize)]
pub(crate) struct MemberStatus {
    pub(crate) node_id: String,
    pub(crate) peer_addr: String,
    /// Null until that node has said so.
    pub(crate) client_addr: Option<String>,
    pub(crate) voter: bool,
}

/// What comparing the nodes' states has shown.
#[derive(Debug, Serialize)]
pub(crate) struct AuditStatus {
    /// The entry after which they were compared last; null: they were not yet.
    pub(crate) index: Option<u64>,
    /// Voters that have the state that most have.
    pub(crate) agreeing: usize,
    /// Nodes that have another one.
    pub(crate) differing: Vec<String>,
    /// There are several states, and a majority for none.
    pub(crate) undecided: bool,
    /// This node is one that differs: it serves nobody.
    pub(crate) quarantined: bool,
    /// How often this node was given a leader's state in place of its own, since it was started.
    pub(crate) reinstalls: u64,
    /// It has differed so often that it stays in quarantine until somebody has looked at it.
    pub(crate) given_up: bool,
}

/// Whether this node may vote, and what keeps it from voting.
#[derive(Debug, Serialize)]
pub(crate) struct VotingInfo {
    /// True if this node votes when it is a voter.
    pub(crate) eligible: bool,
    /// Why the node does not vote yet; null if it does. One of `bootstrap` (other initial members have not responded yet),
    /// `bootstrap_mismatch` (a node was started with other initial members), `commit` (the bootstrap configuration is not
    /// committed yet), `join` (the node was started with `--join` and waits to be added), `rejoin` (the store of the node
    /// is new, and the leader has not readmitted the node yet).
    pub(crate) blocked_on: Option<&'static str>,
    /// The nodes that `blocked_on` is about: those that have not responded, or the one with other initial members.
    pub(crate) nodes: Vec<String>,
    /// Voters whose stores were lost and that have not rejoined yet. Known only from their own messages, so a node that
    /// has not been contacted by such a voter does not list it.
    pub(crate) voters_without_data: Vec<String>,
}

/// The guest.
#[derive(Debug, Serialize)]
pub(crate) struct ModuleStatus {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) sha256: String,
    /// How a command that fails is undone: `images` or `replay`.
    pub(crate) undo: &'static str,
}

/// What a node is called: one without a vote that doesn't lead is a learner, or waits to be one.
fn role_of(raft: &Status) -> &'static str {
    match raft.role {
        Role::Follower if !raft.voters.contains(&raft.node_id) => "learner",
        role => role_name(role),
    }
}

/// What a node's role is called.
pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::PreCandidate | Role::Candidate => "candidate",
    }
}

pub(super) async fn status(State(app): State<Arc<App>>) -> Json<NodeStatus> {
    Json(app.status())
}

impl From<MachineStatus> for ModuleStatus {
    fn from(machine: MachineStatus) -> Self {
        Self {
            name: machine.name,
            version: machine.version,
            sha256: machine.sha256.to_string(),
            undo: machine.rollback_method.name(),
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
            blocked_on,
            nodes,
            voters_without_data: names(&raft.voters_without_data),
        }
    }
}

impl App {
    /// The node as it is.
    pub(crate) fn status(&self) -> NodeStatus {
        // In this order: see `applied_and_hash`.
        let raft = self.raft.status();
        let machine = self.machine.get();
        let (applied_index, state_hash) = applied_and_hash(&raft, &machine);
        NodeStatus {
            role: role_of(&raft),
            term: raft.term.0,
            leader_id: raft
                .leader
                .as_ref()
                .map(|leader| leader.as_str().to_owned()),
            commit_index: raft.commit.0.max(applied_index),
            applied_index,
            first_log_index: raft.first.0,
            last_log_index: raft.last.0.max(applied_index),
            snapshot_index: raft.snapshot.as_ref().map_or(0, |meta| meta.last.index.0),
            state_hash,
            members: self.member_statuses(&raft),
            state_machine: machine.into(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION"),
            cluster_id: self.cluster_id(),
            ready: raft.leader.is_some()
                && self.readiness.has_caught_up()
                && !self.auditor.is_quarantined(),
            audit: self.audit_status(),
            voting: VotingInfo::from(&raft),
            node_id: raft.node_id.as_str().to_owned(),
        }
    }

    fn audit_status(&self) -> AuditStatus {
        let findings = self.auditor.findings();
        AuditStatus {
            index: findings.asked.map(|asked| asked.0),
            agreeing: findings.agreeing,
            differing: findings.differing,
            undecided: findings.undecided,
            quarantined: self.auditor.is_quarantined(),
            reinstalls: self.auditor.reinstalls(),
            given_up: self.auditor.has_given_up(),
        }
    }

    fn member_statuses(&self, raft: &Status) -> Vec<MemberStatus> {
        let network = self.raft.network();
        let client_addr = |id: &NodeId| {
            if *id == raft.node_id {
                return Some(self.client_addr.clone());
            }
            network.as_ref()?.peer_client_addr(id)
        };
        let members = raft.membership.members().iter().map(|(id, member)| {
            let mut configured = self.members.iter();
            let known = configured
                .find(|member| member.node_id == id.as_str())
                .map(|member| member.addr.to_string());
            let address = Some(member.address.clone()).filter(|address| !address.is_empty());
            MemberStatus {
                peer_addr: address.or(known).unwrap_or_default(),
                client_addr: client_addr(id),
                voter: raft.membership.is_voter(id),
                node_id: id.as_str().to_owned(),
            }
        });
        members.collect()
    }

    /// Who belongs to the cluster, as far as this node knows.
    pub(super) fn member_list(&self) -> Vec<MemberStatus> {
        self.member_statuses(&self.raft.status())
    }

    /// Name of the cluster; empty for a node that waits to be added to one.
    pub(crate) fn cluster_id(&self) -> String {
        let network = self.raft.network();
        network.map_or_else(String::new, |network| network.cluster_id().to_owned())
    }
}

/// Up to where entries are applied, and the hash over exactly those.
///
/// The machine sees no entries without commands and leaves the hash alone at them, so it may lag behind Raft; and it
/// may be ahead, as Raft hears of what it does a moment later. With Raft's status taken first, the larger of the two
/// indexes is right for the hash: had the machine applied a command up to there since, its own index would say so.
fn applied_and_hash(raft: &Status, machine: &MachineStatus) -> (u64, String) {
    let applied = raft.applied.max(machine.counts.applied.index);
    (applied.0, machine.counts.state_hash.to_string())
}
