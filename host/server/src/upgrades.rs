//! This node's part in an upgrade: it says what it found when it tried the new module out, and where it leads, it says
//! when all voters are ready, or that they won't be.
//!
//! What follows from the log is the machine's business (`oarlock_wasm`, module `upgrade`, has the steps). Here is only
//! what somebody has to say next, and when; a leader that dies is followed by one that reads the same.

use std::time::Duration;

use oarlock_wasm::{
    AbortCause, CheckResult, CommandOutcome, Envelope, MigrationRoute, PastUpgrade, Sha256,
    StatusHandle, UpgradeEnd, UpgradeOutcome, UpgradeRecord, UpgradeStatus, UpgradeSummary,
    WasmMachine,
};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::{Leadership, Raft, Status};
use tokio::sync::watch;

use crate::retry::RETRY_PAUSE;
use crate::wall_clock;

/// How long a word may take to be applied.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait before the clock is looked at again: it may have been set.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Upgrades as this node knows them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    machine: StatusHandle,
    changes: watch::Receiver<()>,
}

impl Watched {
    /// Follows a machine, of which there is one to a node.
    pub(crate) fn new(machine: StatusHandle) -> Self {
        let (sender, changes) = watch::channel(());
        machine.on_upgrade(move || {
            sender.send_replace(());
        });
        Self { machine, changes }
    }

    /// What is known now.
    pub(crate) fn now(&self) -> UpgradeSummary {
        self.machine.upgrades()
    }

    /// Takes everything so far for known.
    pub(crate) fn mark_unchanged(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits for a change; `false` where there will be none.
    pub(crate) async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// Waits until `find` finds something. `None` where the node stops first.
    pub(crate) async fn find<T>(
        &self,
        mut find: impl FnMut(&UpgradeSummary) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changes.clone();
        loop {
            changes.mark_unchanged();
            if let Some(found) = find(&self.now()) {
                return Some(found);
            }
            changes.changed().await.ok()?;
        }
    }

    /// Waits for the end of one.
    pub(crate) async fn end_of(&self, upgrade: Index) -> Option<PastUpgrade> {
        self.find(|upgrades| {
            let mut past = upgrades.past.iter().rev();
            past.find(|past| past.upgrade == upgrade).cloned()
        })
        .await
    }
}

/// Where a new module is compiled and tried out, beside the thread that applies.
pub(crate) fn on_a_thread(work: oarlock_wasm::PreparationTask) -> std::io::Result<()> {
    let thread = std::thread::Builder::new()
        .name("oarlock-upgrade".to_owned())
        .stack_size(oarlock_wasm::THREAD_STACK_BYTES);
    thread.spawn(work).map(drop)
}

/// What is to be said next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Next {
    /// This.
    Say(UpgradeRecord),
    /// Nothing, until something changes or this time has come (milliseconds since 1970).
    WaitUntil(Option<u64>),
}

/// Runs for as long as the node does.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    mut watched: Watched,
    mut leadership: watch::Receiver<Leadership>,
) {
    let mut said = None;
    let mut snapshots = Snapshots::new(&watched.now());
    loop {
        watched.changes.mark_unchanged();
        leadership.mark_unchanged();
        let (upgrades, status) = (watched.now(), raft.status());
        snapshots.look(&upgrades, &raft);
        let next = next(&upgrades, &status, said.as_ref(), wall_clock::now_ms());
        match next {
            Next::Say(word) => {
                if say(&raft, &word).await {
                    said = Some(word);
                } else {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
            Next::WaitUntil(deadline_ms) => {
                let voters = status.voters;
                let mut members = raft.watch_status();
                let wait = deadline_ms.map(|time_ms| {
                    Duration::from_millis(time_ms.saturating_sub(wall_clock::now_ms()))
                });
                tokio::select! {
                    changed = watched.changes.changed() => if changed.is_err() { return },
                    changed = leadership.changed() => if changed.is_err() { return },
                    // Whom the leader waits for is who votes now.
                    changed = members.wait_for(|status| status.voters != voters), if wait.is_some() => {
                        if changed.is_err() { return }
                    }
                    () = tokio::time::sleep(wait.unwrap_or(MAX_WAIT).min(MAX_WAIT)), if wait.is_some() => {}
                }
            }
        }
    }
}

/// Whether a word was taken, or can't be any more.
async fn say(raft: &Raft<WasmMachine>, word: &UpgradeRecord) -> bool {
    match raft.submit(Envelope::upgrade(word), TIMEOUT).await {
        Ok(applied) => match applied.reply {
            CommandOutcome::Upgrade(UpgradeOutcome::Refused(refusal)) => {
                tracing::debug!(%refusal, "a word of the upgrade was refused");
                false
            }
            _ => true,
        },
        Err(error) => {
            tracing::debug!(%error, "a word of the upgrade was not taken, trying again");
            false
        }
    }
}

/// What this node has to say of the upgrade under way. `said` is what it said last.
fn next(
    upgrades: &UpgradeSummary,
    status: &Status,
    said: Option<&UpgradeRecord>,
    now_ms: u64,
) -> Next {
    let Some(pending) = &upgrades.pending else {
        return Next::WaitUntil(None);
    };
    let me = status.node_id.as_str();
    if let Some(verdict) = upgrades.own_check()
        && pending.staged_at.is_some()
        && pending.reports.get(me) != Some(verdict)
    {
        let report = UpgradeRecord::Report {
            upgrade: pending.upgrade,
            node: me.to_owned(),
            result: verdict.clone(),
        };
        // Said already, and not kept: there are too many.
        if said != Some(&report) {
            return Next::Say(report);
        }
    }
    if !status.has_committed_in_term {
        return Next::WaitUntil(None);
    }
    match decide(pending, &status.voters, now_ms) {
        Some(word) => Next::Say(word),
        None => Next::WaitUntil(Some(pending.deadline_ms)),
    }
}

/// What the leader makes of the reports.
fn decide(pending: &UpgradeStatus, voters: &[NodeId], now_ms: u64) -> Option<UpgradeRecord> {
    let upgrade = pending.upgrade;
    let close = |end| Some(UpgradeRecord::Close { upgrade, end });
    let abandon = |cause, words| {
        close(UpgradeEnd::Aborted {
            cause,
            message: words,
        })
    };
    let mut ready = Vec::new();
    let mut missing = Vec::new();
    for voter in voters {
        match pending.reports.get(voter.as_str()) {
            Some(CheckResult::Refused { message: words }) => {
                return abandon(
                    AbortCause::NodeRefused,
                    cut(format!("{}: {words}", voter.as_str())),
                );
            }
            Some(CheckResult::Ready {
                tried_at,
                route,
                state,
            }) => ready.push(Ready {
                voter,
                tried_at: *tried_at,
                route: *route,
                state: *state,
            }),
            None => missing.push(voter.as_str()),
        }
    }
    if let Some(words) = difference(&ready) {
        return abandon(AbortCause::StatesDiffer, cut(words));
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
    let words = if pending.staged_at.is_some() {
        format!("nothing was heard of {}", missing.join(", "))
    } else {
        let (received, bytes) = (pending.received, pending.bytes);
        format!("{received} of {bytes} bytes of the module arrived")
    };
    abandon(AbortCause::TimedOut, cut(words))
}

struct Ready<'a> {
    voter: &'a NodeId,
    tried_at: Index,
    route: MigrationRoute,
    state: Sha256,
}

/// Two voters that can't both be right. Those that tried other states can't be compared, but for the way they took: with
/// the journal all have to have started from one entry.
fn difference(ready: &[Ready<'_>]) -> Option<String> {
    let first = ready.first()?;
    ready.iter().find_map(|other| {
        let journal = [first, other].iter().any(|one| one.route == MigrationRoute::Journal);
        let comparable = first.tried_at == other.tried_at || journal;
        let differ = first.route != other.route || (comparable && first.state != other.state);
        differ.then(|| {
            let (one, two) = (first.voter.as_str(), other.voter.as_str());
            format!(
                "{one} came to {} and {two} to {}; the module's `restore` or `snapshot` is not deterministic",
                first.state, other.state
            )
        })
    })
}

/// Words as the log takes them.
fn cut(mut words: String) -> String {
    words.truncate(words.floor_char_boundary(4096));
    words
}

/// Has a snapshot taken after each switch: with it the node comes up from either module.
struct Snapshots {
    activated: Option<Index>,
}

impl Snapshots {
    fn new(upgrades: &UpgradeSummary) -> Self {
        Self {
            activated: last_activated(upgrades),
        }
    }

    fn look(&mut self, upgrades: &UpgradeSummary, raft: &Raft<WasmMachine>) {
        let activated = last_activated(upgrades);
        if activated > self.activated {
            self.activated = activated;
            // It fails only where the node stops.
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
