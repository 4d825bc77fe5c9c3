//! `GET /v1/status`: the status of this node.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use oarlock_wasm::{MachineCounters, MachineStatus, QuarantineState};
use task_queue_raft::Status;
use task_queue_raft::ids::NodeId;

use super::app::App;
use crate::status::{
    AuditStatus, MemberStatus, MemoryStatus, NodeStatus, StateAuditStatus, VotingInfo, status_role,
};

pub(super) async fn status(State(app): State<Arc<App>>) -> Json<NodeStatus> {
    Json(app.status())
}

impl App {
    /// The current status of this node.
    pub(crate) fn status(&self) -> NodeStatus {
        // Raft first, then the machine: see `applied_and_hash`.
        let raft = self.raft.status();
        let machine = self.machine.get();
        let (applied_index, state_hash) = applied_and_hash(&raft, &machine);
        let counts = machine.counts;
        NodeStatus {
            role: status_role(&raft).into(),
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
            version: env!("CARGO_PKG_VERSION").into(),
            cluster_id: self.cluster_id(),
            ready: raft.leader.is_some()
                && self.readiness.has_caught_up()
                && !self.auditor.is_quarantined()
                && !self.observations.is_directory_lost(),
            audit: self.audit_status(),
            voting: VotingInfo::from(&raft),
            clock: raft.clock.into(),
            memory: self.memory_status(&counts),
            node_id: raft.node_id.as_str().to_owned(),
        }
    }

    fn memory_status(&self, counts: &MachineCounters) -> MemoryStatus {
        let limit_bytes = counts.memory_limit_bytes;
        MemoryStatus {
            bytes: counts.memory_bytes,
            soft_limit_bytes: self.machine.limits().soft_memory_bytes(),
            limit_bytes,
            low: counts.memory_is_low,
            low_nodes: self.machine.low_memory().into_iter().collect(),
        }
    }

    /// The result of the latest audit.
    pub(super) fn audit_status(&self) -> AuditStatus {
        let findings = self.auditor.findings();
        let states = self.auditor.state_findings();
        let quarantine = self.auditor.quarantine();
        AuditStatus {
            index: findings.index.map(|index| index.0),
            agreeing: findings.agreeing,
            differing: findings.differing,
            undecided: findings.undecided,
            writes_stopped: findings.writes_stopped,
            states: StateAuditStatus {
                index: states.index.map(|index| index.0),
                agreeing: states.agreeing,
                differing: states.differing,
                not_comparable: states.not_comparable,
            },
            quarantined: !quarantine.is_serving(),
            reinstalls: quarantine.reinstalls,
            given_up: quarantine.state == QuarantineState::GivenUp,
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
            let configured = configured
                .find(|member| member.node_id == id.as_str())
                .map(|member| member.addr.to_string());
            let address = Some(member.address.clone()).filter(|address| !address.is_empty());
            let peer_addr = address.or(configured).unwrap_or_default();
            let announced = network.as_ref().and_then(|network| network.peer_addr(id));
            MemberStatus {
                announced_addr: announced.filter(|announced| *announced != peer_addr),
                peer_addr,
                client_addr: client_addr(id),
                voter: raft.membership.is_voter(id),
                node_id: id.as_str().to_owned(),
            }
        });
        members.collect()
    }

    /// The members of the cluster in this node's log.
    pub(super) fn member_list(&self) -> Vec<MemberStatus> {
        self.member_statuses(&self.raft.status())
    }

    /// The name of the cluster; empty for a node that waits to be added to one.
    pub(crate) fn cluster_id(&self) -> String {
        let network = self.raft.network();
        network.map_or_else(String::new, |network| network.cluster_id().to_owned())
    }
}

/// The last applied entry, and the state hash after exactly this entry.
///
/// The machine may lag behind Raft: it does not see entries without commands, which don't change the hash. It may also
/// be ahead, because Raft records its progress later. Since Raft's status is read first, the larger index matches the
/// hash: a command that was applied in between would have raised the machine's own index.
fn applied_and_hash(raft: &Status, machine: &MachineStatus) -> (u64, String) {
    let applied = raft.applied.max(machine.counts.applied.index);
    (applied.0, machine.counts.state_hash.to_string())
}
