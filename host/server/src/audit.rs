//! Compares the states of the nodes, and quarantines this node if its state differs from the majority's.
//!
//! The leader proposes an audit at regular intervals, and every node proposes its state hash in response
//! (`oarlock_wasm`, module `audit`). Each node evaluates the committed hashes by itself. Without a new command since
//! the last audit there is no audit, so an idle cluster writes no entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oarlock_wasm::{Audit, AuditRecord, Envelope, Sha256, StatusHandle, WasmMachine};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::watch;

use crate::quarantine::state::Quarantine;
#[cfg(test)]
use crate::quarantine::state::QuarantineState;
use crate::retry::RETRY_PAUSE;
use crate::upgrades::UpgradeWatch;

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
}

/// The findings, and whether this node is in quarantine. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auditor {
    quarantine: watch::Sender<Quarantine>,
    /// Audits up to this entry compared a state that has been replaced since.
    ignored_up_to: Arc<AtomicU64>,
    findings: watch::Sender<Findings>,
}

impl Auditor {
    /// The auditor of a starting node. A node that stopped in quarantine starts in quarantine.
    pub(crate) fn starting(quarantined: bool) -> Self {
        let auditor = Self::default();
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

    /// Waits until the node is in quarantine.
    pub(crate) async fn quarantined(&self) {
        self.wait_for(|now| !now.is_serving()).await;
    }

    /// Ends a quarantine: the machine has the leader's state after the entry at `index`.
    pub(crate) fn leave_quarantine(&self, index: Index) {
        // Before the state changes: an audit of the old state must not quarantine the node again.
        self.ignored_up_to.store(index.0, Ordering::Release);
        self.findings.send_replace(Findings::default());
        self.quarantine.send_modify(Quarantine::leave);
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

    /// Waits until the node serves requests.
    #[cfg(test)]
    pub(crate) async fn serving(&self) {
        self.wait_for(|now| now.is_serving()).await;
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

/// Takes part in audits until the node stops. The leader proposes one every `interval`.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    machine: StatusHandle,
    mut watched: UpgradeWatch,
    mut leadership: watch::Receiver<Leadership>,
    auditor: Auditor,
    interval: Duration,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_due = false;
    loop {
        watched.mark_unchanged();
        let (audit, status) = (machine.audit(), raft.status());
        let me = status.node_id.as_str();
        auditor.evaluate(&audit, &status.voters, me);
        if let Some(record) =
            response(&audit, me).or_else(|| is_due.then_some(AuditRecord::Request))
        {
            is_due = false;
            if let Err(error) = raft.submit(Envelope::audit(&record), TIMEOUT).await {
                tracing::debug!(%error, "audit record was not committed, retrying");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            continue;
        }
        if auditor.is_quarantined() && status.has_committed_in_term {
            // A leader serves linearizable queries from its own state, so a diverged node must not lead.
            if let Err(error) = raft.transfer_leadership(None, TRANSFER_TIMEOUT).await {
                tracing::warn!(%error, "this node leads while in quarantine, and the leadership transfer failed, retrying");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            continue;
        }
        tokio::select! {
            changed = watched.changed() => if !changed { return },
            changed = leadership.changed() => if changed.is_err() { return },
            _ = ticks.tick(), if status.has_committed_in_term => is_due = machine.audit().is_due,
        }
    }
}

/// The record with this node's hash, unless it is in the log already or the node has no hash.
fn response(audit: &Audit, me: &str) -> Option<AuditRecord> {
    let (requested_at, hash) = (audit.requested_at?, audit.own?);
    (!audit.reports.contains_key(me)).then(|| AuditRecord::Report {
        requested_at,
        hash,
        node: me.to_owned(),
    })
}

impl Auditor {
    /// Compares the committed hashes, and starts a quarantine if this node differs from a majority of the voters.
    fn evaluate(&self, audit: &Audit, voters: &[NodeId], me: &str) {
        let ignored = Index(self.ignored_up_to.load(Ordering::Acquire));
        if audit.requested_at.is_none_or(|index| index <= ignored) {
            return;
        }
        let (findings, majority) = compare(audit, voters);
        let differs = majority.is_some_and(|hash| audit.own.is_some_and(|own| own != hash));
        if differs && self.quarantine.send_if_modified(Quarantine::enter) {
            tracing::error!(
                node = me,
                index = audit.requested_at.map_or(0, |index| index.0),
                "quarantine: the state of this node differs from the majority, so it stops serving requests; it copies its \
                 state to `quarantine` in its data directory and installs a snapshot of the leader"
            );
        }
        self.findings.send_if_modified(|before| {
            let changed = *before != findings;
            if changed && (!findings.differing.is_empty() || findings.undecided) {
                tracing::error!(?findings, "audit: the states of the nodes differ");
            }
            *before = findings;
            changed
        });
    }
}

/// The findings, and the hash of a majority of the voters, if there is one.
fn compare(audit: &Audit, voters: &[NodeId]) -> (Findings, Option<Sha256>) {
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
        agreeing,
        differing,
        undecided,
    };
    (findings, majority)
}

#[cfg(test)]
mod tests;
