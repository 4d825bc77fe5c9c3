//! Takes part in upgrades: proposes the records of this node when they are due. `oarlock_wasm` (module `duties`) decides which.

use std::time::Duration;

use oarlock_wasm::{
    CommandOutcome, Envelope, RETRY_PAUSE, UpgradeOutcome, UpgradeRecord, UpgradeSituation,
    UpgradeStep, UpgradeSummary, WasmMachine,
};
use task_queue_raft::ids::Index;
use task_queue_raft::{Leadership, Raft};
use tokio::sync::watch;

use super::signature;
use super::watch::UpgradeWatch;
use crate::signers::ModuleSigners;

/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest sleep before the time of the log is read again, because a clock may be set.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Takes part in upgrades until the node stops.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    mut watched: UpgradeWatch,
    mut leadership: watch::Receiver<Leadership>,
    signers: Option<ModuleSigners>,
) {
    let mut proposed = None;
    let mut snapshots = SnapshotAfterUpgrade::new(&watched.now());
    loop {
        watched.mark_unchanged();
        leadership.mark_unchanged();
        let (upgrades, status) = (watched.now(), raft.status());
        snapshots.request(&upgrades, &raft);
        let refusal = refusal(signers.as_ref(), &upgrades);
        let situation = UpgradeSituation {
            me: status.node_id.as_str(),
            refusal: refusal.as_deref(),
            voters: &status.voters,
            leads: status.has_committed_in_term,
            proposed: proposed.as_ref(),
            now_ms: raft.log_time_ms(),
        };
        match upgrades.next_step(situation) {
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

/// Why this node does not accept the module of the upgrade in progress, whether it runs or not. The report goes through the log, so
/// the upgrade is aborted on every node alike, also where the files of keys differ.
fn refusal(signers: Option<&ModuleSigners>, upgrades: &UpgradeSummary) -> Option<String> {
    let pending = upgrades.pending.as_ref()?;
    let signature = upgrades.signature.as_deref();
    let checked = signature::check(signers, pending.sha256, signature);
    checked.err().map(|error| error.to_string())
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

/// Requests a snapshot after each activation. The snapshot holds the new module, so the node can then be started with
/// the previous or the new one.
struct SnapshotAfterUpgrade {
    activated: Option<Index>,
}

impl SnapshotAfterUpgrade {
    fn new(upgrades: &UpgradeSummary) -> Self {
        Self {
            activated: upgrades.last_activated(),
        }
    }

    fn request(&mut self, upgrades: &UpgradeSummary, raft: &Raft<WasmMachine>) {
        let activated = upgrades.last_activated();
        if activated > self.activated {
            self.activated = activated;
            // An error means that the node is stopping.
            let _ = raft.request_snapshot();
        }
    }
}
