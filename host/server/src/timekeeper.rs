//! Wakes the guest: at the time that the guest requested, the leader proposes a wake-up entry.
//!
//! The guest's clock is the time of the log's entries, which may differ from the clock of this machine. Whether an entry wakes the guest depends on the time of that
//! entry, which is the same on every node. A superfluous wake-up has no effect.

use std::sync::Arc;
use std::time::Duration;

use oarlock_wasm::{Envelope, RETRY_PAUSE, StatusHandle, WasmMachine};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::{Notify, watch};

use crate::audit::Auditor;

/// Longest sleep before the time of the log is read again, because a clock may be set.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Shortest time between two wake-ups. It limits the entries of a guest that always requests a time in the past.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Notifies the timekeeper that the guest has requested another time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarm(Arc<Notify>);

impl Alarm {
    /// The guest has requested another time.
    pub(crate) fn changed(&self) {
        self.0.notify_one();
    }
}

/// Proposes wake-ups while this node is the leader, until the node stops.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    machine: StatusHandle,
    alarm: Alarm,
    auditor: Auditor,
    mut leadership: watch::Receiver<Leadership>,
) {
    loop {
        // A wake-up changes the state, as a command does.
        auditor.writes_accepted().await;
        if leadership
            .wait_for(|leadership| leadership.is_own)
            .await
            .is_err()
        {
            return;
        }
        let wait = due_in(machine.get().counts.wake_at_ms, raft.log_time_ms());
        tokio::select! {
            // A new leader runs its own timer.
            changed = leadership.changed() => if changed.is_err() { return },
            () = alarm.0.notified() => {}
            () = tokio::time::sleep(wait.unwrap_or(MAX_WAIT).min(MAX_WAIT)), if wait.is_some() => {
                if due_in(machine.get().counts.wake_at_ms, raft.log_time_ms()) == Some(Duration::ZERO) {
                    wake(&raft).await;
                }
            }
        }
    }
}

async fn wake(raft: &Raft<WasmMachine>) {
    let pause = match raft.submit(Envelope::wake(), TIMEOUT).await {
        Ok(_) => MIN_PAUSE,
        Err(error) => {
            tracing::debug!(%error, "wake-up of the guest was not committed, retrying");
            RETRY_PAUSE
        }
    };
    tokio::time::sleep(pause).await;
}

/// Time from `now_ms` to the requested wake-up; `None` without a request (`wake_at_ms` is 0).
fn due_in(wake_at_ms: u64, now_ms: u64) -> Option<Duration> {
    (wake_at_ms != 0).then(|| Duration::from_millis(wake_at_ms.saturating_sub(now_ms)))
}

#[cfg(test)]
mod tests;
