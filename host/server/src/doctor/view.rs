//! The facts as the checks read them.

use super::facts::{ClusterFacts, NodeAnswer, NodeFacts, NodeSeen};
use crate::status::MemberStatus;

/// The facts, and what follows from them.
pub(crate) struct ClusterView<'a> {
    pub(crate) facts: &'a ClusterFacts,
    /// The nodes that responded with facts.
    pub(crate) nodes: Vec<&'a NodeFacts>,
    /// The node whose members and progress count: the leader of the highest term, or else the one with the most entries.
    pub(crate) authority: Option<&'a NodeFacts>,
}

impl<'a> ClusterView<'a> {
    pub(super) fn of(facts: &'a ClusterFacts) -> Self {
        let nodes: Vec<&NodeFacts> = facts.nodes.iter().filter_map(NodeSeen::facts).collect();
        let authority = nodes.iter().copied().max_by_key(|node| {
            let status = &node.status;
            let leads = status.role == "leader";
            let knows = status.members.len();
            (leads, status.term, status.commit_index, knows)
        });
        Self {
            facts,
            nodes,
            authority,
        }
    }

    /// The members of the cluster.
    pub(crate) fn members(&self) -> &'a [MemberStatus] {
        self.authority.map_or(&[], |node| &node.status.members)
    }

    /// Ids of the voters.
    pub(crate) fn voters(&self) -> Vec<&'a str> {
        let members = self.members().iter();
        members
            .filter(|member| member.voter)
            .map(|member| member.node_id.as_str())
            .collect()
    }

    /// How many voters a majority has.
    pub(crate) fn majority(&self) -> usize {
        self.voters().len() / 2 + 1
    }

    /// Voters that were asked and did not respond.
    pub(crate) fn silent_voters(&self) -> Vec<&'a str> {
        let voters = self.voters();
        let silent = self.facts.nodes.iter().filter(|node| is_silent(node));
        let ids = silent.filter_map(|node| node.node_id.as_deref());
        ids.filter(|id| voters.contains(id)).collect()
    }

    /// The leader that the node with the highest term knows.
    pub(crate) fn leader_id(&self) -> Option<&'a str> {
        let with_leader = self.nodes.iter().copied();
        with_leader
            .filter(|node| node.status.leader_id.is_some())
            .max_by_key(|node| node.status.term)
            .and_then(|node| node.status.leader_id.as_deref())
    }

    /// The node that leads, if it has responded.
    pub(crate) fn leader(&self) -> Option<&'a NodeFacts> {
        self.authority.filter(|node| node.status.role == "leader")
    }
}

/// Whether a node was asked and gave no response.
pub(super) fn is_silent(node: &NodeSeen) -> bool {
    matches!(
        node.answer,
        NodeAnswer::Unreachable(_) | NodeAnswer::NoAddress
    )
}
