//! The latest audit: which state hashes the nodes have reported for it.
//!
//! None of this is replicated state. Each node evaluates the reports itself, because a node whose state diverged may get
//! another result.

use std::collections::BTreeMap;

use task_queue_raft::ids::Index;

use crate::records::audit::{AuditRecord, StateAcceptance};
use crate::records::digest::Sha256;

/// Most nodes whose reports are kept. Further reports are dropped.
const MAX_REPORTS: usize = 64;

/// The latest audit request and its reports, as this node has applied them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Index of the request's entry; `None` before the first request.
    pub requested_at: Option<Index>,
    /// This node's own hash after that entry. `None` if this node did not apply the entry itself but restored a
    /// snapshot since.
    pub own: Option<Sha256>,
    /// Reported hashes by node name, this node's own included. At most 64.
    pub reports: BTreeMap<String, Sha256>,
    /// The hash that an operator has accepted as that of the right state, for this request.
    pub accepted: Option<Sha256>,
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

    /// Applies an operator's acceptance. One for another request than the latest is dropped.
    pub(crate) fn accept(&mut self, acceptance: &StateAcceptance) {
        if self.requested_at == Some(acceptance.requested_at) {
            tracing::warn!(by = acceptance.by, hash = %acceptance.hash, "an operator has accepted a state of the cluster");
            self.accepted = Some(acceptance.hash);
        }
    }

    /// Records this node's hash after the entry at `at`, if the audit was requested there.
    pub(crate) fn settle(&mut self, at: Index, hash: Sha256) {
        if self.requested_at == Some(at) {
            self.own = Some(hash);
        }
    }
}

#[cfg(test)]
mod tests;
