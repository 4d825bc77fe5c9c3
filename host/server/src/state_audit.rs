//! Audits of the complete state: they find what state hashes can't see, because it had no effect yet.
//!
//! They go through the log like the audits of state hashes, at a longer interval: each node writes its state on a copy. A
//! guest that writes the same state in different ways can't be compared, and its nodes report that.

use std::time::Duration;

use oarlock_wasm::{AuditRecord, Backoff, Envelope, RETRY_PAUSE};

use crate::audit::AuditTask;

/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause between two attempts to commit a report.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The first cluster level whose nodes understand the records.
const FIRST_LEVEL: u32 = 1;

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
        auditor.evaluate_states(&audit, &status.voters, me);
        let report = audit
            .missing_report(me)
            .filter(|_| reported != audit.requested_at);
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
                    tokio::time::sleep(backoff.advance()).await;
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
