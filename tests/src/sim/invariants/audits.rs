//! What the audits of the log show, every node heeds: one whose state differs from a majority of the voters acknowledges nothing
//! until it has another state, and where no majority can agree, no command is acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use oarlock_wasm::{Audit, Sha256};
use task_queue_raft::ids::NodeId;

use crate::sim::violation::{Violation, ensure};

/// Name of the invariant about one node.
pub(crate) const DIFFERING_IS_SILENT: &str =
    "a node that differs from the majority acknowledges nothing";
/// Name of the invariant about the cluster.
pub(crate) const UNDECIDED_IS_SILENT: &str = "where no majority agrees nothing is acknowledged";

/// What the latest audits showed to each node.
#[derive(Debug, Default)]
pub(crate) struct Audits {
    /// Nodes that differ from a majority.
    differing: BTreeSet<usize>,
    /// Nodes to which it was shown that no majority agrees.
    undecided: BTreeSet<usize>,
}

impl Audits {
    /// A node has looked at the latest audit.
    pub(crate) fn see(&mut self, node: usize, audit: &Audit, voters: &[NodeId]) {
        let mut counts: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        for hash in voters
            .iter()
            .filter_map(|voter| audit.reports.get(voter.as_str()))
        {
            *counts.entry(hash.0).or_default() += 1;
        }
        let (reports, most) = (
            counts.values().sum::<usize>(),
            counts.values().max().copied(),
        );
        let most = most.unwrap_or(0);
        let majority = counts.iter().find(|(_, count)| 2 * **count > voters.len());
        let majority = majority.map(|(hash, _)| Sha256(*hash));
        let majority = audit.accepted.or(majority);
        let majority = majority.or(audit.accepted_earlier());
        match (majority, audit.own) {
            (Some(majority), Some(own)) if majority != own => self.differing.insert(node),
            (Some(_), Some(_)) => self.differing.remove(&node),
            _ => false,
        };
        let missing = voters.len() - reports;
        if majority.is_none() && counts.len() > 1 && 2 * (most + missing) <= voters.len() {
            self.undecided.insert(node);
        } else {
            self.undecided.remove(&node);
        }
    }

    /// A node has the state of its leader. It may be wrong too, but no audit has shown that yet.
    pub(crate) fn replaced(&mut self, node: usize) {
        self.differing.remove(&node);
    }

    /// A process has ended, and what it knew.
    pub(crate) fn end(&mut self, node: usize) {
        self.undecided.remove(&node);
    }

    /// A node responds to a client.
    pub(crate) fn on_response(
        &self,
        node: usize,
        is_command: bool,
        is_wrong: bool,
    ) -> Result<(), Violation> {
        ensure(
            !is_wrong || !self.differing.contains(&node),
            DIFFERING_IS_SILENT,
            || format!("n{node} responds to a client"),
        )?;
        ensure(
            !is_command || !self.undecided.contains(&node),
            UNDECIDED_IS_SILENT,
            || format!("n{node} acknowledges a command"),
        )
    }
}
