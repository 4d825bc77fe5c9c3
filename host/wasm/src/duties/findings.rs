//! Comparison of the reports of one audit.

use task_queue_raft::ids::{Index, NodeId};

use crate::machine::audit::Audit;
use crate::machine::state_digest::NOT_COMPARABLE;
use crate::records::audit::AuditRecord;
use crate::records::digest::Sha256;

/// The result of the latest audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The entry after which the hashes were compared.
    pub index: Option<Index>,
    /// Number of voters with the most frequent hash.
    pub agreeing: usize,
    /// Nodes whose hash differs from that of the majority. While the latest audit has no majority: in the audit before.
    pub differing: Vec<String>,
    /// There are different hashes, and none is that of a majority.
    pub undecided: bool,
    /// The hashes differ, and no majority can have the same one any more, or none had it in time. Commands are refused.
    pub writes_stopped: bool,
}

/// The result of the latest audit of the complete state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateFindings {
    /// The entry after which the states were compared.
    pub index: Option<Index>,
    /// Number of voters with the most frequent state.
    pub agreeing: usize,
    /// Nodes whose state differs from that of the majority.
    pub differing: Vec<String>,
    /// Nodes whose guest writes the same state in different ways. While there is one, nothing is compared.
    pub not_comparable: Vec<String>,
}

/// The findings, and the hash of a majority of the voters, if there is one.
pub(crate) fn compare(audit: &Audit, voters: &[NodeId]) -> (Findings, Option<Sha256>) {
    let hash_of = |voter: &NodeId| audit.reports.get(voter.as_str());
    let count = |hash: &Sha256| {
        voters
            .iter()
            .filter(|voter| hash_of(voter) == Some(hash))
            .count()
    };
    let best = voters
        .iter()
        .filter_map(hash_of)
        .max_by_key(|hash| count(hash));
    let agreeing = best.map_or(0, count);
    let majority = best.copied().filter(|_| 2 * agreeing > voters.len());
    let majority = audit.accepted.or(majority).or(audit.accepted_earlier());
    let missing = voters
        .iter()
        .filter(|voter| hash_of(voter).is_none())
        .count();
    let others = audit
        .reports
        .iter()
        .filter(|(_, hash)| Some(**hash) != majority);
    let differing: Vec<String> = match majority {
        Some(_) => others.map(|(node, _)| node.clone()).collect(),
        None => Vec::new(),
    };
    let mut hashes = audit.reports.values();
    let first = hashes.next();
    let undecided = majority.is_none() && hashes.any(|hash| Some(hash) != first);
    let findings = Findings {
        index: audit.requested_at,
        agreeing: majority.map_or(agreeing, |majority| count(&majority)),
        differing,
        undecided,
        writes_stopped: undecided && 2 * (agreeing + missing) <= voters.len(),
    };
    (findings, majority)
}

/// The findings, and the digest of a majority of the voters, if there is one.
pub(crate) fn compare_states(audit: &Audit, voters: &[NodeId]) -> (StateFindings, Option<Sha256>) {
    let reports = audit.reports.iter();
    let not_comparable: Vec<String> = reports
        .filter(|(_, digest)| **digest == NOT_COMPARABLE)
        .map(|(node, _)| node.clone())
        .collect();
    if !not_comparable.is_empty() {
        let findings = StateFindings {
            index: audit.requested_at,
            not_comparable,
            ..StateFindings::default()
        };
        return (findings, None);
    }
    let (found, majority) = compare(audit, voters);
    let findings = StateFindings {
        index: found.index,
        agreeing: found.agreeing,
        differing: found.differing,
        not_comparable,
    };
    (findings, majority)
}

impl Audit {
    /// The report of this node with its hash; `None` if it is in the log already or the node has no hash.
    #[must_use]
    pub fn missing_report(&self, me: &str) -> Option<AuditRecord> {
        let (requested_at, hash) = (self.requested_at?, self.own?);
        (!self.reports.contains_key(me)).then(|| AuditRecord::Report {
            requested_at,
            hash,
            node: me.to_owned(),
        })
    }

    /// The audit without the reports of these nodes.
    pub(crate) fn without(&self, nodes: &[String]) -> Self {
        let mut audit = self.clone();
        audit.reports.retain(|node, _| !nodes.contains(node));
        audit
    }

    /// The voters with the hash of the majority, other than this node.
    pub(crate) fn intact_voters<'a>(
        &self,
        voters: &'a [NodeId],
        me: &str,
    ) -> impl Iterator<Item = &'a NodeId> {
        let (_, majority) = compare(self, voters);
        let is_intact = move |voter: &&NodeId| {
            let report = self.reports.get(voter.as_str());
            voter.as_str() != me && majority.is_some() && report == majority.as_ref()
        };
        voters.iter().filter(is_intact)
    }
}
