//! Compares the states of the nodes, and quarantines this node if its state differs from the majority's.
//!
//! The leader proposes an audit at regular intervals, and every node proposes its state hash in response
//! (`oarlock_wasm`, module `audit`). Each node evaluates the committed hashes by itself; `oarlock_wasm`
//! (module `duties`) decides what follows. Without a new command since the last audit there is no audit, so an idle cluster
//! writes no entries.

pub(crate) mod stopped;

use std::time::Duration;

#[cfg(test)]
use oarlock_wasm::QuarantineState;
use oarlock_wasm::{
    Audit, AuditDuties, AuditRecord, AuditVerdict, Envelope, Findings, Quarantine, StateFindings,
    StatusHandle, WasmMachine,
};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::upgrades::UpgradeWatch;

/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a leadership transfer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);

/// What this node concludes from audits, with notification of changes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auditor {
    verdict: watch::Sender<AuditVerdict>,
}

impl Auditor {
    /// The auditor of a starting node. A node that stopped in quarantine starts in quarantine, and one that refused commands
    /// refuses them.
    pub(crate) fn starting(quarantined: bool, stopped_by: Option<Index>) -> Self {
        let auditor = Self::default();
        auditor
            .verdict
            .send_replace(AuditVerdict::starting(quarantined, stopped_by));
        auditor
    }

    /// The current state of quarantine.
    pub(crate) fn quarantine(&self) -> Quarantine {
        self.verdict.borrow().quarantine()
    }

    /// Whether this node serves no requests because its state differs from the majority's.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.verdict.borrow().is_quarantined()
    }

    /// Whether the node has served requests without interruption since `before`, a value of [`Self::quarantine`].
    /// Only then may a response of its guest be sent to a client.
    pub(crate) fn has_served_since(&self, before: Quarantine) -> bool {
        self.verdict.borrow().has_served_since(before)
    }

    /// Whether the reply to a command that was submitted at `before` may be sent to its client.
    pub(crate) fn acknowledges_since(&self, before: Quarantine) -> bool {
        self.verdict.borrow().acknowledges_since(before)
    }

    /// Whether commands are refused because the states differ and no majority agrees.
    pub(crate) fn are_writes_stopped(&self) -> bool {
        self.verdict.borrow().are_writes_stopped()
    }

    /// Waits until commands are accepted.
    pub(crate) async fn writes_accepted(&self) {
        self.wait_for(|verdict| !verdict.are_writes_stopped()).await;
    }

    /// Refuses commands: the voters that have not reported yet had time to.
    fn stop_writes(&self) {
        self.verdict.send_if_modified(AuditVerdict::stop_writes);
    }

    /// Waits until the node is in quarantine.
    pub(crate) async fn quarantined(&self) {
        self.wait_for(AuditVerdict::is_quarantined).await;
    }

    /// Ends a quarantine: the machine has the leader's state after the entry at `index`.
    pub(crate) fn leave_quarantine(&self, index: Index) {
        self.verdict
            .send_modify(|verdict| verdict.leave_quarantine(index));
    }

    /// Waits until the node serves requests.
    pub(crate) async fn serving(&self) {
        self.wait_for(|verdict| !verdict.is_quarantined()).await;
    }

    /// Makes the quarantine permanent.
    pub(crate) fn give_up(&self) {
        self.verdict.send_modify(AuditVerdict::give_up);
    }

    /// The result of the latest audit.
    pub(crate) fn findings(&self) -> Findings {
        self.verdict.borrow().findings().clone()
    }

    /// The result of the latest audit of the complete state.
    pub(crate) fn state_findings(&self) -> StateFindings {
        self.verdict.borrow().state_findings().clone()
    }

    /// A voter that is to lead instead of this node.
    fn intact_voter(
        &self,
        audit: &Audit,
        voters: &[NodeId],
        me: &str,
        attempt: usize,
    ) -> Option<NodeId> {
        let verdict = self.verdict.borrow();
        verdict.intact_voter(audit, voters, me, attempt)
    }

    /// Evaluates an audit of state hashes.
    pub(crate) fn evaluate(&self, audit: &Audit, voters: &[NodeId], me: &str) {
        self.verdict
            .send_if_modified(|verdict| verdict.evaluate(audit, voters, me));
    }

    /// Evaluates an audit of the complete state.
    pub(crate) fn evaluate_states(&self, audit: &Audit, voters: &[NodeId], me: &str) {
        self.verdict
            .send_if_modified(|verdict| verdict.evaluate_states(audit, voters, me));
    }

    async fn wait_for(&self, condition: impl Fn(&AuditVerdict) -> bool) {
        let mut verdict = self.verdict.subscribe();
        // `self` holds the sender, so the channel stays open.
        let _ = verdict.wait_for(condition).await;
    }

    /// Notifies of changes.
    #[cfg(test)]
    pub(crate) fn watch(&self) -> watch::Receiver<AuditVerdict> {
        self.verdict.subscribe()
    }

    /// Waits until the quarantine is permanent.
    #[cfg(test)]
    pub(crate) async fn given_up(&self) {
        self.wait_for(|verdict| verdict.quarantine().state == QuarantineState::GivenUp)
            .await;
    }

    /// Waits until an audit finds that exactly these nodes differ.
    #[cfg(test)]
    pub(crate) async fn found_differing(&self, nodes: &[&str]) {
        self.wait_for(|verdict| verdict.findings().differing == nodes)
            .await;
    }
}

/// What a task that takes part in audits uses. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AuditTask {
    pub(crate) raft: Raft<WasmMachine>,
    pub(crate) machine: StatusHandle,
    /// Notifies of records in the log.
    pub(crate) watched: UpgradeWatch,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) auditor: Auditor,
}

/// Takes part in audits until the node stops. The leader proposes one every `interval`, and so does a node that
/// refuses commands.
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
    // The first tick would be now, at some time of the first election.
    ticks.reset();
    let mut duties = AuditDuties::default();
    let start = Instant::now();
    loop {
        watched.mark_unchanged();
        let (audit, status) = (machine.audit(), raft.status());
        let me = status.node_id.as_str();
        auditor.evaluate(&audit, &status.voters, me);
        let now = start.elapsed();
        let situation = auditor
            .verdict
            .borrow()
            .situation(&audit, status.has_committed_in_term);
        duties.note(situation, now);
        let report = audit.missing_report(me);
        duties.set_report_missing(report.is_some());
        let due = match report {
            Some(report) if duties.may_report(now) => {
                duties.report_attempted(now);
                Some(report)
            }
            // If it fails, the next tick repeats it.
            _ => duties.takes_request(now).then_some(AuditRecord::Request),
        };
        if let Some(record) = due {
            if let Err(error) = raft.submit(Envelope::audit(&record), TIMEOUT).await {
                tracing::debug!(%error, "audit record was not committed");
            }
            continue;
        }
        tokio::select! {
            changed = watched.changed() => if !changed { return },
            changed = leadership.changed() => match changed {
                // A new leader is a new chance for the report.
                Ok(()) => duties.retry_report(),
                Err(_) => return,
            },
            () = at(start, duties.report_again_at()) => {}
            () = at(start, duties.stop_writes_at()) => auditor.stop_writes(),
            () = at(start, duties.hand_over_at()) => {
                let attempt = duties.hand_overs();
                let to = auditor.intact_voter(&audit, &status.voters, me, attempt);
                hand_over(&raft, to).await;
                duties.handed_over();
            }
            _ = ticks.tick(), if status.has_committed_in_term || auditor.are_writes_stopped() => {
                duties.request(machine.audit().is_due, start.elapsed());
            }
        }
    }
}

/// Sleeps until so long after `start`; for ever without a time.
async fn at(start: Instant, time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep_until(start + time).await,
        None => std::future::pending().await,
    }
}

/// Transfers the leadership of a node in quarantine to a voter whose state is that of the majority, if one is known: a
/// leader in quarantine can't send a snapshot, and gets none.
async fn hand_over(raft: &Raft<WasmMachine>, to: Option<NodeId>) {
    if let Err(error) = raft.transfer_leadership(to, TRANSFER_TIMEOUT).await {
        tracing::warn!(%error, "this node leads while in quarantine, and the leadership transfer failed; it is retried later");
    }
}

#[cfg(test)]
mod tests;
