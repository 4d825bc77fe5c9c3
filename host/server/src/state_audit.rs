//! Audits of the complete state: they find what state hashes can't see, because it had no effect yet.
//!
//! They go through the log like the audits of state hashes, at a longer interval: each node writes its state on a copy. A
//! guest that writes the same state in different ways can't be compared, and its nodes report that.

use std::time::Duration;

use oarlock_wasm::{Audit, AuditRecord, Envelope, Sha256};
use task_queue_raft::ids::NodeId;

use crate::audit::findings::StateFindings;
use crate::audit::{AuditTask, Auditor, compare, response};
use crate::retry::{Backoff, RETRY_PAUSE};

/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause between two attempts to commit a report.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The first cluster level whose nodes understand the records.
const FIRST_LEVEL: u32 = 1;
/// The report of a node whose digest can't be compared.
const NOT_COMPARABLE: Sha256 = Sha256([0; 32]);

/// Takes part in audits of the complete state until the node stops. The leader proposes one every `interval`.
pub(crate) async fn run(task: AuditTask, interval: Duration) {
    let AuditTask {
        raft,
        machine,
        mut watched,
        mut leadership,
        auditor,
    } = task;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is immediate: a node that has just started has other work.
    ticks.tick().await;
    let mut is_due = false;
    // The request that this node has reported for. A report that is still missing was over the limit of reports.
    let mut reported = None;
    let mut backoff = Backoff::new(RETRY_PAUSE, LONGEST_PAUSE);
    loop {
        watched.mark_unchanged();
        let (audit, status) = (machine.state_audit(), raft.status());
        let me = status.node_id.as_str();
        evaluate(&auditor, &audit, &status.voters, me);
        let report = response(&audit, me).filter(|_| reported != audit.requested_at);
        let request = || (is_due && status.has_committed_in_term).then_some(AuditRecord::Request);
        if status.cluster_level >= FIRST_LEVEL
            && let Some(record) = report.or_else(request)
        {
            match raft.submit(Envelope::state_audit(&record), TIMEOUT).await {
                Ok(_) => {
                    backoff.reset();
                    if record == AuditRecord::Request {
                        is_due = false;
                    } else {
                        reported = audit.requested_at;
                    }
                }
                Err(error) => {
                    // If a request fails, the next tick repeats it.
                    is_due = false;
                    tracing::debug!(%error, "record of the audit of the state was not committed");
                    tokio::time::sleep(backoff.next()).await;
                }
            }
            continue;
        }
        tokio::select! {
            changed = watched.changed() => if !changed { return },
            changed = leadership.changed() => if changed.is_err() { return },
            _ = ticks.tick(), if status.has_committed_in_term => is_due = audit.is_due,
        }
    }
}

/// Compares the committed digests, and starts a quarantine if this node differs from a majority of the voters.
fn evaluate(auditor: &Auditor, audit: &Audit, voters: &[NodeId], me: &str) {
    if auditor.is_ignored(audit) {
        return;
    }
    let (findings, majority) = compare_states(audit, voters);
    let differs = majority.is_some_and(|digest| audit.own.is_some_and(|own| own != digest));
    if differs && auditor.enter_by_state() {
        tracing::error!(
            node = me,
            index = audit.requested_at.map_or(0, |index| index.0),
            "quarantine: the complete state of this node differs from the majority's, although its outcomes do not, so it \
             stops serving requests; it copies its state to `quarantine` in its data directory and installs a snapshot \
             of the leader"
        );
    }
    if !auditor.set_state_findings(&findings) {
        return;
    }
    if !findings.differing.is_empty() {
        tracing::error!(?findings, "audit: the complete states of the nodes differ");
    }
    if !findings.not_comparable.is_empty() {
        tracing::warn!(
            nodes = ?findings.not_comparable,
            "audit: the guest writes the same state in different ways, so the complete states can't be compared; make its \
             `snapshot` depend on the state alone"
        );
    }
}

/// The findings, and the digest of a majority of the voters, if there is one.
fn compare_states(audit: &Audit, voters: &[NodeId]) -> (StateFindings, Option<Sha256>) {
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

#[cfg(test)]
mod tests;
