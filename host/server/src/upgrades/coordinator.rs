//! This node's part in the upgrade protocol: it proposes its own report. On the leader it also proposes the decision:
//! activate once all voters are ready, or abort.
//!
//! All decisions follow from the replicated state, so a new leader continues where the previous one stopped.

use std::time::Duration;

use oarlock_wasm::{
    AbortCause, CheckResult, CommandOutcome, Envelope, MigrationRoute, Sha256, UpgradeEnd,
    UpgradeOutcome, UpgradeRecord, UpgradeStatus, UpgradeSummary, WasmMachine,
};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::{Leadership, Raft, Status};
use tokio::sync::watch;

use super::watch::UpgradeWatch;
use crate::retry::RETRY_PAUSE;

/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest sleep before the time of the log is read again, because a clock may be set.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Longest reason in a record of the log, in bytes.
const MAX_REASON_BYTES: usize = 4096;

/// The next action of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
enum UpgradeStep {
    /// Propose this record.
    Propose(UpgradeRecord),
    /// Wait for a change, or until this time (milliseconds since 1970).
    WaitUntil(Option<u64>),
}

/// Takes part in upgrades until the node stops.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    mut watched: UpgradeWatch,
    mut leadership: watch::Receiver<Leadership>,
) {
    let mut proposed = None;
    let mut snapshots = SnapshotAfterUpgrade::new(&watched.now());
    loop {
        watched.mark_unchanged();
        leadership.mark_unchanged();
        let (upgrades, status) = (watched.now(), raft.status());
        snapshots.request(&upgrades, &raft);
        match next_step(&upgrades, &status, proposed.as_ref(), raft.log_time_ms()) {
            UpgradeStep::Propose(record) => {
                if propose(&raft, &record).await {
                    proposed = Some(record);
                } else {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            UpgradeStep::WaitUntil(deadline_ms) => {
                let voters = status.voters;
                let mut members = raft.watch_status();
                let wait = deadline_ms.map(|time_ms| {
                    Duration::from_millis(time_ms.saturating_sub(raft.log_time_ms()))
                });
                tokio::select! {
                    changed = watched.changed() => if !changed { return },
                    changed = leadership.changed() => if changed.is_err() { return },
                    // The leader decides on the reports of the current voters.
                    changed = members.wait_for(|status| status.voters != voters), if wait.is_some() => {
                        if changed.is_err() { return }
                    }
                    () = tokio::time::sleep(wait.unwrap_or(MAX_WAIT).min(MAX_WAIT)), if wait.is_some() => {}
                }
            }
        }
    }
}

/// Proposes a record. Returns `false` if the node should retry.
async fn propose(raft: &Raft<WasmMachine>, record: &UpgradeRecord) -> bool {
    match raft.submit(Envelope::upgrade(record), TIMEOUT).await {
        Ok(applied) => match applied.reply {
            CommandOutcome::Upgrade(UpgradeOutcome::Refused(refusal)) => {
                tracing::debug!(%refusal, "record of the upgrade was refused");
                false
            }
            _ => true,
        },
        Err(error) => {
            tracing::debug!(%error, "record of the upgrade was not committed, retrying");
            false
        }
    }
}

/// The next action of this node. `proposed` is the last record that it proposed.
fn next_step(
    upgrades: &UpgradeSummary,
    status: &Status,
    proposed: Option<&UpgradeRecord>,
    now_ms: u64,
) -> UpgradeStep {
    let Some(pending) = &upgrades.pending else {
        return UpgradeStep::WaitUntil(None);
    };
    let me = status.node_id.as_str();
    if let Some(result) = upgrades.own_check()
        && pending.staged_at.is_some()
        && pending.reports.get(me) != Some(result)
    {
        let report = UpgradeRecord::Report {
            upgrade: pending.upgrade,
            node: me.to_owned(),
            result: result.clone(),
        };
        // A report that was committed and is still missing was over the limit for reports.
        if proposed != Some(&report) {
            return UpgradeStep::Propose(report);
        }
    }
    if !status.has_committed_in_term {
        return UpgradeStep::WaitUntil(None);
    }
    match decide(pending, &status.voters, now_ms) {
        Some(record) => UpgradeStep::Propose(record),
        None => UpgradeStep::WaitUntil(Some(pending.deadline_ms)),
    }
}

/// The leader's decision, or `None` while reports are missing and the deadline is not over.
fn decide(pending: &UpgradeStatus, voters: &[NodeId], now_ms: u64) -> Option<UpgradeRecord> {
    let upgrade = pending.upgrade;
    let close = |end| Some(UpgradeRecord::Close { upgrade, end });
    let abort = |cause, message| close(UpgradeEnd::Aborted { cause, message });
    let mut ready = Vec::new();
    let mut missing = Vec::new();
    for voter in voters {
        match pending.reports.get(voter.as_str()) {
            Some(CheckResult::Refused { message }) => {
                return abort(
                    AbortCause::NodeRefused,
                    cut(format!("{}: {message}", voter.as_str())),
                );
            }
            Some(CheckResult::Ready {
                tried_at,
                route,
                state,
            }) => ready.push(ReadyVoter {
                voter,
                tried_at: *tried_at,
                route: *route,
                state: *state,
            }),
            None => missing.push(voter.as_str()),
        }
    }
    if let Some(reason) = difference(&ready) {
        return abort(AbortCause::StatesDiffer, cut(reason));
    }
    if pending.staged_at.is_some()
        && missing.is_empty()
        && let Some(first) = ready.first()
    {
        if pending.dry_run {
            return close(UpgradeEnd::DryRunPassed);
        }
        let (route, state) = (first.route, first.state);
        return Some(UpgradeRecord::Activate {
            upgrade,
            route,
            state,
        });
    }
    if now_ms < pending.deadline_ms {
        return None;
    }
    let reason = if pending.staged_at.is_some() {
        format!("no report from {}", missing.join(", "))
    } else {
        let (received, bytes) = (pending.received, pending.bytes);
        format!("{received} of {bytes} bytes of the module arrived")
    };
    abort(AbortCause::TimedOut, cut(reason))
}

struct ReadyVoter<'a> {
    voter: &'a NodeId,
    tried_at: Index,
    route: MigrationRoute,
    state: Sha256,
}

/// A contradiction between two reports. States after different entries can't be compared, except on the journal route:
/// there all voters must arrive at the same state.
fn difference(ready: &[ReadyVoter<'_>]) -> Option<String> {
    let first = ready.first()?;
    ready.iter().find_map(|other| {
        let journal = [first, other].iter().any(|one| one.route == MigrationRoute::Journal);
        let comparable = first.tried_at == other.tried_at || journal;
        let differ = first.route != other.route || (comparable && first.state != other.state);
        differ.then(|| {
            let (one, two) = (first.voter.as_str(), other.voter.as_str());
            format!(
                "the state hash is {} on {one} and {} on {two}; the module's `restore` or `snapshot` is not deterministic",
                first.state, other.state
            )
        })
    })
}

/// Shortens a reason to the limit of the log.
fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    reason
}

/// Requests a snapshot after each activation. The snapshot holds the new module, so the node can then be started with
/// the previous or the new one.
struct SnapshotAfterUpgrade {
    activated: Option<Index>,
}

impl SnapshotAfterUpgrade {
    fn new(upgrades: &UpgradeSummary) -> Self {
        Self {
            activated: last_activated(upgrades),
        }
    }

    fn request(&mut self, upgrades: &UpgradeSummary, raft: &Raft<WasmMachine>) {
        let activated = last_activated(upgrades);
        if activated > self.activated {
            self.activated = activated;
            // An error means that the node is stopping.
            let _ = raft.request_snapshot();
        }
    }
}

fn last_activated(upgrades: &UpgradeSummary) -> Option<Index> {
    let mut past = upgrades.past.iter().rev();
    past.find(|past| past.end == UpgradeEnd::Activated)
        .map(|past| past.ended.index)
}

#[cfg(test)]
mod tests;
