//! Ends quarantines: replaces the state of a diverged node by a snapshot of the leader.
//!
//! A node that diverges again and again is left in quarantine for an operator. The state of quarantine is stored in the
//! data directory, so a node that restarts in quarantine serves no requests before its state is replaced.

use std::time::Duration;

use oarlock_wasm::{RETRY_PAUSE, WasmMachine};
use task_queue_raft::ids::Index;
use task_queue_raft::raft::reinstall::Reinstall;
use task_queue_raft::{Leadership, Raft, Status};
use tokio::sync::watch;

use crate::audit::Auditor;
use crate::file_writes::FileWrites;
use crate::wall_clock;
use record::{MAX_REINSTALLS, QuarantineRecord};

pub(crate) mod record;

/// How long the leader may take to start sending a snapshot.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// After this time without progress, the node requests the snapshot again: the leader may have changed.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);

/// Ends each quarantine of this node by a reinstall, until the node stops or has diverged too often.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    auditor: Auditor,
    mut leadership: watch::Receiver<Leadership>,
    mut record: QuarantineRecord,
    writes: FileWrites,
) {
    // A quarantine from before the restart is recorded already.
    let mut is_new = !record.is_quarantined();
    loop {
        auditor.quarantined().await;
        let written = writes.run(move || {
            if is_new {
                record.enter(wall_clock::now_ms());
            }
            record
        });
        match written.await {
            Ok(written) => record = written,
            Err(error) => {
                return tracing::error!(%error, "quarantine: cannot record it, so this node stays in quarantine until it is restarted");
            }
        }
        is_new = true;
        if record.is_given_up() {
            tracing::error!(
                reinstalls = MAX_REINSTALLS,
                "quarantine: the state of this node diverges again and again, so it stays in quarantine; examine the \
                 snapshots in `quarantine` in its data directory, fix the cause, and replace the node with `oarlock members \
                 replace`; if its state is the right one, accept it with `oarlock audit accept NODE`"
            );
            auditor.give_up();
            // Only an operator can end it, by accepting the state of this node.
            auditor.serving().await;
            record.leave();
            continue;
        }
        let reinstalled = tokio::select! {
            reinstalled = reinstall(&raft, &auditor, &mut leadership) => reinstalled,
            // The node agrees with the majority again, or an operator has accepted its state.
            () = auditor.serving() => {
                record.leave();
                continue;
            }
        };
        match reinstalled {
            Some(ReinstallResult::Installed(index)) => {
                record.leave();
                tracing::warn!(%index, "quarantine: a snapshot of the leader is installed, this node serves requests again");
                auditor.leave_quarantine(index);
            }
            Some(ReinstallResult::NotInstalled) => {
                tracing::error!("quarantine: no snapshot was installed in time, retrying");
            }
            None => return,
        }
    }
}

/// The result of one attempt.
enum ReinstallResult {
    /// The machine has the state of a snapshot up to this entry.
    Installed(Index),
    /// The machine has its old state.
    NotInstalled,
}

/// Replaces the machine's state by a snapshot of the leader. `None` if the node stops first.
async fn reinstall(
    raft: &Raft<WasmMachine>,
    auditor: &Auditor,
    leadership: &mut watch::Receiver<Leadership>,
) -> Option<ReinstallResult> {
    let mut status = raft.watch_status();
    let (me, before) = {
        let status = status.borrow();
        (status.node_id.clone(), status.reinstalled)
    };
    // A leader that differs from the majority has the wrong state. It transfers its leadership, so wait for the next
    // one.
    let differing = auditor.findings().differing;
    let has_intact_leader = |leadership: &Leadership| {
        let leader = leadership.leader.as_ref();
        leader.is_some_and(|leader| {
            *leader != me && !differing.iter().any(|id| id == leader.as_str())
        })
    };
    leadership.wait_for(has_intact_leader).await.ok()?;
    raft.reinstall().ok()?;
    let begun = |now: &Status| now.reinstall.is_some() || now.reinstalled > before;
    match tokio::time::timeout(PROGRESS_TIMEOUT, status.wait_for(begun)).await {
        Ok(seen) => drop(seen.ok()?),
        Err(_elapsed) => return Some(ReinstallResult::NotInstalled),
    }
    loop {
        let now = status.borrow_and_update().clone();
        match now.reinstall {
            _ if now.reinstalled > before => {
                // Not that of the newest snapshot, which this node may have taken itself since.
                return Some(ReinstallResult::Installed(now.reinstalled_at));
            }
            None => return Some(ReinstallResult::NotInstalled),
            Some(Reinstall::Wants(from)) => {
                leadership.wait_for(has_intact_leader).await.ok()?;
                if let Err(error) = raft.request_leader_snapshot(from, SEND_TIMEOUT).await {
                    tracing::debug!(%error, "quarantine: the leader sends no snapshot yet, retrying");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            }
            // The machine installs the snapshot, which may take any time.
            Some(_) => {}
        }
        let changed = status.wait_for(|next| next.reinstall != now.reinstall);
        if let Ok(seen) = tokio::time::timeout(PROGRESS_TIMEOUT, changed).await {
            drop(seen.ok()?);
        }
    }
}
