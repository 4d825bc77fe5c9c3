//! Compares the states of the nodes, and quarantines this node if its state differs from the majority's.
//!
//! The leader proposes an audit at regular intervals, and every node proposes its state hash in response
//! (`oarlock_wasm`, module `audit`). Each node evaluates the committed hashes by itself. Without a new command since
//! the last audit there is no audit, so an idle cluster writes no entries.
//!
//! If the hashes differ and none is that of a majority, no node knows which state is right: every node refuses commands
//! until an audit finds a majority again, or an operator accepts the state of one node.

mod duties;

pub(crate) mod findings;
pub(crate) mod stopped;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use oarlock_wasm::{Audit, AuditRecord, Envelope, Sha256, StatusHandle, WasmMachine};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::quarantine::state::Quarantine;
#[cfg(test)]
use crate::quarantine::state::QuarantineState;
use crate::upgrades::UpgradeWatch;
use duties::{Duties, Situation};
use findings::StateFindings;

/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a leadership transfer.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of the latest audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The entry after which the hashes were compared.
    pub(crate) index: Option<Index>,
    /// Number of voters with the most frequent hash.
    pub(crate) agreeing: usize,
    /// Nodes whose hash differs from that of the majority.
    pub(crate) differing: Vec<String>,
    /// There are different hashes, and none is that of a majority.
    pub(crate) undecided: bool,
    /// The hashes differ, and no majority can have the same one any more, or none had it in time. Commands are refused.
    pub(crate) writes_stopped: bool,
}

/// The findings, and whether this node is in quarantine. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auditor {
    quarantine: watch::Sender<Quarantine>,
    /// Audits up to this entry compared a state that has been replaced since.
    ignored_up_to: Arc<AtomicU64>,
    findings: watch::Sender<Findings>,
    /// The audit because of which commands are refused. Earlier ones do not end that.
    stopped_by: Arc<AtomicU64>,
    /// The result of the latest audit of the complete state.
    states: watch::Sender<StateFindings>,
    /// An audit of the complete state has started the quarantine, so equal hashes do not end it.
    by_state: Arc<AtomicBool>,
}

impl Auditor {
    /// The auditor of a starting node. A node that stopped in quarantine starts in quarantine, and one that refused commands
    /// refuses them.
    pub(crate) fn starting(quarantined: bool, stopped_by: Option<Index>) -> Self {
        let auditor = Self::default();
        if stopped_by.is_some() {
            auditor.writes_stopped_by(stopped_by);
            let findings = &auditor.findings;
            findings.send_modify(|now| now.writes_stopped = true);
        }
        if quarantined {
            auditor.quarantine.send_modify(|now| {
                now.enter();
            });
        }
        auditor
    }

    /// The current state of quarantine.
    pub(crate) fn quarantine(&self) -> Quarantine {
        *self.quarantine.borrow()
    }

    /// Whether this node serves no requests because its state differs from the majority's.
    pub(crate) fn is_quarantined(&self) -> bool {
        !self.quarantine().is_serving()
    }

    /// Whether the node has served requests without interruption since `before`, a value of [`Self::quarantine`].
    /// Only then may a reply of its guest be sent to a client.
    pub(crate) fn has_served_since(&self, before: Quarantine) -> bool {
        before.is_serving() && self.quarantine() == before
    }

    /// Whether commands are refused because the states differ and no majority agrees.
    pub(crate) fn are_writes_stopped(&self) -> bool {
        self.findings.borrow().writes_stopped
    }

    fn situation(&self, audit: &Audit, leads: bool) -> Situation {
        let findings = self.findings.borrow();
        Situation {
            requested_at: audit.requested_at,
            leads,
            is_quarantined: self.is_quarantined(),
            undecided: findings.undecided,
            are_writes_stopped: findings.writes_stopped,
        }
    }

    /// Waits until commands are accepted.
    pub(crate) async fn writes_accepted(&self) {
        let mut findings = self.findings.subscribe();
        // `self` holds the sender, so the channel stays open.
        let _ = findings.wait_for(|findings| !findings.writes_stopped).await;
    }

    /// Refuses commands: the voters that have not reported yet had time to.
    fn stop_writes(&self) {
        self.findings.send_if_modified(|findings| {
            let stops = findings.undecided && !findings.writes_stopped;
            if stops {
                self.writes_stopped_by(findings.index);
            }
            findings.writes_stopped |= stops;
            stops
        });
    }

    /// The audit because of which commands are refused; 0 if none was.
    fn stopped_by(&self) -> Index {
        Index(self.stopped_by.load(Ordering::Acquire))
    }

    /// Called before the findings change.
    fn writes_stopped_by(&self, audit: Option<Index>) {
        let index = audit.map_or(0, |index| index.0);
        self.stopped_by.store(index, Ordering::Release);
        tracing::error!(
            index,
            "audit: the states of the nodes differ and no majority agrees, so commands are refused; compare the states with \
             stale queries on each node, then accept one of them with `oarlock audit accept NODE`"
        );
    }

    /// Waits until the node is in quarantine.
    pub(crate) async fn quarantined(&self) {
        self.wait_for(|now| !now.is_serving()).await;
    }

    /// Ends a quarantine: the machine has the leader's state after the entry at `index`.
    pub(crate) fn leave_quarantine(&self, index: Index) {
        // Before the state changes: an audit of the old state must not quarantine the node again.
        self.ignored_up_to.store(index.0, Ordering::Release);
        self.findings.send_replace(Findings::default());
        self.states.send_replace(StateFindings::default());
        self.by_state.store(false, Ordering::Release);
        self.quarantine.send_modify(Quarantine::leave);
    }

    /// Waits until the node serves requests.
    pub(crate) async fn serving(&self) {
        self.wait_for(|now| now.is_serving()).await;
    }

    /// Makes the quarantine permanent.
    pub(crate) fn give_up(&self) {
        self.quarantine.send_modify(Quarantine::give_up);
    }

    /// The result of the latest audit.
    pub(crate) fn findings(&self) -> Findings {
        self.findings.borrow().clone()
    }

    async fn wait_for(&self, condition: impl FnMut(&Quarantine) -> bool) {
        let mut quarantine = self.quarantine.subscribe();
        // `self` holds the sender, so the channel stays open.
        let _ = quarantine.wait_for(condition).await;
    }

    /// Notifies of new findings.
    #[cfg(test)]
    pub(crate) fn watch(&self) -> watch::Receiver<Findings> {
        self.findings.subscribe()
    }

    /// Waits until the quarantine is permanent.
    #[cfg(test)]
    pub(crate) async fn given_up(&self) {
        self.wait_for(|now| now.state == QuarantineState::GivenUp)
            .await;
    }

    /// Waits until an audit finds that exactly these nodes differ.
    #[cfg(test)]
    pub(crate) async fn found_differing(&self, nodes: &[&str]) {
        let mut findings = self.findings.subscribe();
        let _ = findings
            .wait_for(|findings| findings.differing == nodes)
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

/// Takes part in audits until the node stops. The leader proposes one every `interval`.
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
    let mut duties = Duties::default();
    loop {
        watched.mark_unchanged();
        let (audit, status) = (machine.audit(), raft.status());
        let me = status.node_id.as_str();
        auditor.evaluate(&audit, &status.voters, me);
        let now = Instant::now();
        duties.note(auditor.situation(&audit, status.has_committed_in_term), now);
        let report = response(&audit, me);
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
            () = at(duties.report_again_at()) => {}
            () = at(duties.stop_writes_at()) => auditor.stop_writes(),
            () = at(duties.hand_over_at()) => {
                hand_over(&raft, &audit, &status.voters, me).await;
                duties.handed_over();
            }
            _ = ticks.tick(), if status.has_committed_in_term => {
                let is_due = machine.audit().is_due || auditor.are_writes_stopped();
                duties.request(is_due, Instant::now());
            }
        }
    }
}

/// Sleeps until a time; for ever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Transfers the leadership of a node in quarantine to a voter whose state is that of the majority, if one is known: a
/// leader in quarantine can't send a snapshot, and gets none.
async fn hand_over(raft: &Raft<WasmMachine>, audit: &Audit, voters: &[NodeId], me: &str) {
    let to = intact_voter(audit, voters, me);
    if let Err(error) = raft.transfer_leadership(to, TRANSFER_TIMEOUT).await {
        tracing::warn!(%error, "this node leads while in quarantine, and the leadership transfer failed; it is retried later");
    }
}

/// A voter with the hash of the majority, other than this node.
fn intact_voter(audit: &Audit, voters: &[NodeId], me: &str) -> Option<NodeId> {
    let (_, majority) = compare(audit, voters);
    let majority = majority?;
    let mut intact = voters.iter().filter(|voter| {
        voter.as_str() != me && audit.reports.get(voter.as_str()) == Some(&majority)
    });
    intact.next().cloned()
}

/// The record with this node's hash, unless it is in the log already or the node has no hash.
pub(crate) fn response(audit: &Audit, me: &str) -> Option<AuditRecord> {
    let (requested_at, hash) = (audit.requested_at?, audit.own?);
    (!audit.reports.contains_key(me)).then(|| AuditRecord::Report {
        requested_at,
        hash,
        node: me.to_owned(),
    })
}

impl Auditor {
    /// The result of the latest audit of the complete state.
    pub(crate) fn state_findings(&self) -> StateFindings {
        self.states.borrow().clone()
    }

    /// Replaces that result. Returns whether it has changed.
    pub(crate) fn set_state_findings(&self, findings: &StateFindings) -> bool {
        self.states.send_if_modified(|before| {
            let has_changed = before != findings;
            before.clone_from(findings);
            has_changed
        })
    }

    /// Starts a quarantine because of an audit of the complete state. Returns `false` if the node was in quarantine already.
    pub(crate) fn enter_by_state(&self) -> bool {
        let enters = self.quarantine.send_if_modified(Quarantine::enter);
        self.by_state.fetch_or(enters, Ordering::AcqRel);
        enters
    }

    /// Whether an audit compared a state that has been replaced since, or there was none.
    pub(crate) fn is_ignored(&self, audit: &Audit) -> bool {
        let ignored = Index(self.ignored_up_to.load(Ordering::Acquire));
        audit.requested_at.is_none_or(|index| index <= ignored)
    }

    /// Compares the committed hashes. Starts a quarantine if this node differs from a majority of the voters, and ends one
    /// if it agrees with it again.
    pub(crate) fn evaluate(&self, audit: &Audit, voters: &[NodeId], me: &str) {
        if self.is_ignored(audit) {
            return;
        }
        let (mut findings, majority) = compare(audit, voters);
        self.judge(audit, majority, findings.agreeing, me);
        self.findings.send_if_modified(|before| {
            // An audit without an end yet changes nothing about earlier findings, nor does one from before them.
            let is_earlier = audit.requested_at < Some(self.stopped_by());
            let is_open = (majority.is_none() || is_earlier) && !findings.writes_stopped;
            findings.writes_stopped |= is_open && before.writes_stopped;
            let changed = *before != findings;
            if changed && (!findings.differing.is_empty() || findings.undecided) {
                tracing::error!(?findings, "audit: the states of the nodes differ");
            }
            if findings.writes_stopped && !before.writes_stopped {
                self.writes_stopped_by(findings.index);
            }
            if before.writes_stopped && !findings.writes_stopped {
                tracing::warn!("audit: a majority has the same state again, commands are accepted");
            }
            *before = findings;
            changed
        });
    }

    /// Starts or ends the quarantine of this node.
    fn judge(&self, audit: &Audit, majority: Option<Sha256>, agreeing: usize, me: &str) {
        let (Some(majority), Some(own)) = (majority, audit.own) else {
            return;
        };
        let index = audit.requested_at.map_or(0, |index| index.0);
        if own != majority {
            if self.quarantine.send_if_modified(Quarantine::enter) {
                tracing::error!(
                    node = me,
                    index,
                    "quarantine: the state of this node differs from the majority, so it stops serving requests; it copies its \
                     state to `quarantine` in its data directory and installs a snapshot of the leader"
                );
            }
            return;
        }
        // The hash covers all earlier outcomes, so a node that has the same one again did not diverge before. A node
        // alone always agrees with itself: only an operator can accept its state.
        let by_state = self.by_state.load(Ordering::Acquire);
        let is_confirmed = (agreeing > 1 && !by_state) || audit.accepted == Some(majority);
        if is_confirmed && self.quarantine.send_if_modified(Quarantine::acquit) {
            tracing::warn!(
                node = me,
                index,
                "quarantine: the state of this node is accepted, it serves requests again"
            );
        }
    }
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
    let majority = audit.accepted.or(majority);
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

#[cfg(test)]
mod tests;
