//! The latest audit: which state hashes the nodes have reported for it.
//!
//! None of this is replicated state. Each node evaluates the reports itself, because a node whose state diverged may get
//! another result.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use task_queue_raft::ids::Index;

use crate::records::audit::{AuditRecord, StateAcceptance};
use crate::records::digest::Sha256;

/// Most nodes whose reports are kept. Further reports are dropped.
const MAX_REPORTS: usize = 64;
/// Most earlier audits that are kept. An acceptance that refers to one before them is dropped.
const MAX_EARLIER: usize = 16;

/// The hashes that nodes have reported for one audit, by the name of the node.
type Reports = BTreeMap<String, Sha256>;

/// The latest audit request and its reports, as this node has applied them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Index of the request's entry; `None` before the first request.
    pub requested_at: Option<Index>,
    /// This node's own hash after that entry. `None` if this node did not apply the entry itself but restored a
    /// snapshot since.
    pub own: Option<Sha256>,
    /// Reported hashes by node name, this node's own included. At most 64.
    pub reports: Reports,
    /// The hash that an operator has accepted as that of the right state, for this request.
    pub accepted: Option<Sha256>,
    /// The nodes whose state an operator has accepted for an earlier request. What they report now is accepted as well, where
    /// no majority of the voters agrees. Empty again after an audit in which all reports agree.
    pub accepted_nodes: BTreeSet<String>,
    /// The reports for the requests before, the latest last. At most 16 requests, those without reports left out. Shared, because
    /// audits are compared after every entry.
    pub earlier: Arc<VecDeque<(Index, Reports)>>,
    /// An entry was applied since the last request that could make states differ, so another audit is due.
    pub is_due: bool,
}

/// The audits of a machine.
#[derive(Debug, Default)]
pub(crate) struct Audits {
    /// Of the state hashes: they cover what the guest did.
    pub(crate) hashes: Audit,
    /// Of the complete states: they also cover what the guest has not shown yet.
    pub(crate) states: Audit,
}

impl Audits {
    /// The audits after a restore: the requests' entries were not applied here, and the restored state may be one that
    /// only its writer has, so audits are due.
    pub(crate) fn restored() -> Self {
        let due = Audit {
            is_due: true,
            ..Audit::default()
        };
        Self {
            hashes: due.clone(),
            states: due,
        }
    }

    /// Records that an entry was applied that could make states differ.
    pub(crate) fn set_due(&mut self) {
        self.hashes.is_due = true;
        self.states.is_due = true;
    }
}

impl Audit {
    /// Applies a record of the entry at `at`. A report for another request than the latest is dropped.
    pub(crate) fn take(&mut self, at: Index, record: AuditRecord) {
        match record {
            AuditRecord::Request => {
                *self = Self {
                    requested_at: Some(at),
                    accepted_nodes: self.still_accepted(),
                    earlier: self.take_earlier(),
                    ..Self::default()
                };
            }
            AuditRecord::Report {
                requested_at,
                hash,
                node,
            } => {
                let has_room = self.reports.len() < MAX_REPORTS || self.reports.contains_key(&node);
                if self.requested_at == Some(requested_at) && has_room {
                    self.reports.insert(node, hash);
                }
            }
        }
    }

    /// The nodes whose state stays accepted after this audit.
    fn still_accepted(&self) -> BTreeSet<String> {
        let mut hashes = self.reports.values();
        let first = hashes.next();
        if self.reports.len() > 1 && hashes.all(|hash| Some(hash) == first) {
            return BTreeSet::new();
        }
        match self.accepted {
            Some(accepted) => nodes_with(&self.reports, accepted),
            None => self.accepted_nodes.clone(),
        }
    }

    /// The earlier audits, this one included.
    fn take_earlier(&mut self) -> Arc<VecDeque<(Index, Reports)>> {
        let mut earlier = std::mem::take(&mut self.earlier);
        let reports = std::mem::take(&mut self.reports);
        if let Some(requested_at) = self.requested_at
            && !reports.is_empty()
        {
            let kept = Arc::make_mut(&mut earlier);
            kept.push_back((requested_at, reports));
            if kept.len() > MAX_EARLIER {
                kept.pop_front();
            }
        }
        earlier
    }

    /// Applies an operator's acceptance. Another audit may have been requested since the operator decided: then the nodes count
    /// that have reported the accepted hash before. One for a request that is not known is dropped.
    pub(crate) fn accept(&mut self, acceptance: &StateAcceptance) {
        let StateAcceptance {
            requested_at,
            hash,
            by,
        } = acceptance;
        if self.requested_at == Some(*requested_at) {
            self.accepted = Some(*hash);
        } else {
            let mut earlier = self.earlier.iter();
            let Some((_, reports)) = earlier.find(|(index, _)| index == requested_at) else {
                tracing::warn!(by, %hash, audit = requested_at.0, "the acceptance of a state has no effect: its audit is not known");
                return;
            };
            self.accepted_nodes = nodes_with(reports, *hash);
        }
        tracing::warn!(by, %hash, audit = requested_at.0, "an operator has accepted a state of the cluster");
    }

    /// The hash that an earlier acceptance stands for: that of the nodes that were accepted, as far as they have reported the same
    /// one.
    #[must_use]
    pub fn accepted_earlier(&self) -> Option<Sha256> {
        let nodes = self.accepted_nodes.iter();
        let mut hashes = nodes.filter_map(|node| self.reports.get(node));
        let first = hashes.next()?;
        hashes.all(|hash| hash == first).then_some(*first)
    }

    /// Records this node's hash after the entry at `at`, if the audit was requested there.
    pub(crate) fn settle(&mut self, at: Index, hash: Sha256) {
        if self.requested_at == Some(at) {
            self.own = Some(hash);
        }
    }
}

/// The nodes that have reported this hash.
fn nodes_with(reports: &Reports, hash: Sha256) -> BTreeSet<String> {
    let those = reports.iter().filter(|(_, reported)| **reported == hash);
    those.map(|(node, _)| node.clone()).collect()
}

#[cfg(test)]
mod tests;
