//! Compares this node's state with the others': a node that came to another one than the majority stops serving.
//!
//! The leader asks now and then, every node answers (`oarlock_wasm`, module `audit`), and each node judges for itself
//! from what all of them said. Where nothing was applied since the last question there is none: a quiet cluster stays
//! quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use oarlock_wasm::{Audit, AuditRecord, Envelope, Sha256, StatusHandle, WasmMachine};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::watch;

use crate::retry::RETRY_PAUSE;
use crate::upgrades::Watched;

/// How long a word may take to be applied.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long leadership may take to be handed over.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);

/// What the latest question has shown, for everyone who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The entry after which hashes were compared.
    pub(crate) asked: Option<Index>,
    /// How many voters had the hash that most have.
    pub(crate) agreeing: usize,
    /// Nodes that had another one.
    pub(crate) differing: Vec<String>,
    /// More than one hash, and none that a majority has.
    pub(crate) undecided: bool,
}

/// Whether this node's state is the cluster's. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Auditor {
    /// Rises with each quarantine and with the end of each: an odd number is one.
    turns: watch::Sender<u64>,
    /// What was asked up to this entry was about a state that is gone.
    judged_after: Arc<AtomicU64>,
    given_up: watch::Sender<bool>,
    lifted: Arc<AtomicU64>,
    findings: watch::Sender<Findings>,
}

impl Auditor {
    /// This node came to another state than the majority: nothing of it may be served.
    pub(crate) fn is_quarantined(&self) -> bool {
        !self.turns.borrow().is_multiple_of(2)
    }

    /// A node that was in quarantine when it stopped is in quarantine.
    pub(crate) fn starting(quarantined: bool) -> Self {
        let auditor = Self::default();
        auditor.turns.send_replace(quarantined.into());
        auditor
    }

    /// Returns once the node is in quarantine.
    pub(crate) async fn quarantined(&self) {
        let mut turns = self.turns.subscribe();
        // The sender is `self`, so it is not gone.
        let _ = turns.wait_for(|turns| !turns.is_multiple_of(2)).await;
    }

    /// For [`Auditor::served_since`].
    pub(crate) fn turns(&self) -> u64 {
        *self.turns.borrow()
    }

    /// Whether the node has served all the time since then: what its guest said may be passed on.
    pub(crate) fn served_since(&self, turns: u64) -> bool {
        turns.is_multiple_of(2) && self.turns() == turns
    }

    /// How often the state was replaced by a leader's, since the node was started.
    pub(crate) fn reinstalls(&self) -> u64 {
        self.lifted.load(Ordering::Acquire)
    }

    /// The machine has a leader's state, as of this entry.
    pub(crate) fn lift(&self, index: Index) {
        self.judged_after.store(index.0, Ordering::Release);
        self.lifted.fetch_add(1, Ordering::AcqRel);
        // What was found is of before.
        self.findings.send_replace(Findings::default());
        self.turns.send_modify(|turns| *turns += 1);
    }

    /// The node stays in quarantine until somebody has looked at it.
    pub(crate) fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    /// Whether it does.
    pub(crate) fn has_given_up(&self) -> bool {
        *self.given_up.borrow()
    }

    /// What was found last.
    pub(crate) fn findings(&self) -> Findings {
        self.findings.borrow().clone()
    }

    /// Tells of what is found.
    #[cfg(test)]
    pub(crate) fn watch(&self) -> watch::Receiver<Findings> {
        self.findings.subscribe()
    }

    /// Returns once the node stays in quarantine.
    #[cfg(test)]
    pub(crate) async fn given_up(&self) {
        let mut given_up = self.given_up.subscribe();
        let _ = given_up.wait_for(|given_up| *given_up).await;
    }

    /// Returns once the node is in quarantine no more.
    #[cfg(test)]
    pub(crate) async fn lifted(&self) {
        let mut turns = self.turns.subscribe();
        let _ = turns.wait_for(|turns| turns.is_multiple_of(2)).await;
    }

    /// Returns once something was found about these.
    #[cfg(test)]
    pub(crate) async fn found_differing(&self, nodes: &[&str]) {
        let mut findings = self.findings.subscribe();
        let _ = findings
            .wait_for(|findings| findings.differing == nodes)
            .await;
    }
}

/// Runs for as long as the node does. The leader asks every `interval`.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    machine: StatusHandle,
    mut watched: Watched,
    mut leadership: watch::Receiver<Leadership>,
    auditor: Auditor,
    interval: Duration,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asks = false;
    loop {
        watched.mark_unchanged();
        let (audit, status) = (machine.audit(), raft.status());
        let me = status.node_id.as_str();
        auditor.judge(&audit, &status.voters, me);
        if let Some(word) = answer(&audit, me).or_else(|| asks.then_some(AuditRecord::Request)) {
            asks = false;
            if let Err(error) = raft.submit(Envelope::audit(&word), TIMEOUT).await {
                tracing::debug!(%error, "a word of the audit was not taken");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            continue;
        }
        if auditor.is_quarantined() && status.has_committed_in_term {
            // Who leads answers for the cluster; where nobody else can lead, it is tried again.
            if let Err(error) = raft.transfer_leadership(None, TRANSFER_TIMEOUT).await {
                tracing::warn!(%error, "leadership of a node in quarantine was not taken over");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            continue;
        }
        tokio::select! {
            changed = watched.changed() => if !changed { return },
            changed = leadership.changed() => if changed.is_err() { return },
            _ = ticks.tick(), if status.has_committed_in_term => asks = machine.audit().is_due,
        }
    }
}

/// What this node has to say, if it has not been heard.
fn answer(audit: &Audit, me: &str) -> Option<AuditRecord> {
    let (asked, hash) = (audit.requested_at?, audit.own?);
    (!audit.reports.contains_key(me)).then(|| AuditRecord::Report {
        requested_at: asked,
        hash,
        node: me.to_owned(),
    })
}

impl Auditor {
    fn judge(&self, audit: &Audit, voters: &[NodeId], me: &str) {
        let gone = Index(self.judged_after.load(Ordering::Acquire));
        if audit.requested_at.is_none_or(|asked| asked <= gone) {
            return;
        }
        let (findings, majority) = compare(audit, voters);
        let differs = majority.is_some_and(|hash| audit.own.is_some_and(|own| own != hash));
        if differs && self.enter() {
            tracing::error!(
                node = me,
                index = audit.requested_at.map_or(0, |asked| asked.0),
                "this node came to another state than the majority and stops serving; what it holds is kept in \
                 `quarantine` in its data directory, and a leader's state takes its place"
            );
        }
        self.findings.send_if_modified(|before| {
            let news = *before != findings;
            if news && (!findings.differing.is_empty() || findings.undecided) {
                tracing::error!(?findings, "nodes came to different states");
            }
            *before = findings;
            news
        });
    }

    /// Says whether the node was not in quarantine before.
    fn enter(&self) -> bool {
        self.turns.send_if_modified(|turns| {
            let serves = turns.is_multiple_of(2);
            *turns += u64::from(serves);
            serves
        })
    }
}

/// What the answers say, and the hash that a majority of the voters has.
fn compare(audit: &Audit, voters: &[NodeId]) -> (Findings, Option<Sha256>) {
    let heard = |voter: &NodeId| audit.reports.get(voter.as_str());
    let count = |hash: &Sha256| {
        voters
            .iter()
            .filter(|voter| heard(voter) == Some(hash))
            .count()
    };
    let best = voters
        .iter()
        .filter_map(heard)
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
        asked: audit.requested_at,
        agreeing,
        differing,
        undecided,
    };
    (findings, majority)
}

#[cfg(test)]
mod tests;
