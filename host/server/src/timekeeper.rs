//! Wakes the guest: when the time has come for which it asked, the leader puts a wake-up into the log.
//!
//! The guest's time is that of the log, so the wake-up itself decides nothing: whether the guest is woken depends on
//! the time of its entry, and that is the same on every node. A wake-up too many does nothing.

use std::sync::Arc;
use std::time::Duration;

use oarlock_wasm::{Envelope, StatusHandle, WasmMachine};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::{Notify, watch};

use crate::retry::RETRY_PAUSE;
use crate::wall_clock;

/// Longest wait before the clock is looked at again: it may have been set.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Shortest time between two wake-ups: a guest that always asks for the past would fill the log with them.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// How long a wake-up may take to be applied.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Tells the timekeeper that the guest has asked for another time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarm(Arc<Notify>);

impl Alarm {
    /// The guest has asked.
    pub(crate) fn changed(&self) {
        self.0.notify_one();
    }
}

/// Runs for as long as the node does.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    machine: StatusHandle,
    alarm: Alarm,
    mut leadership: watch::Receiver<Leadership>,
) {
    loop {
        if leadership
            .wait_for(|leadership| leadership.is_own)
            .await
            .is_err()
        {
            return;
        }
        let wait = due_in(machine.get().counts.wake_at_ms, wall_clock::now_ms());
        tokio::select! {
            // A future leader looks for itself.
            changed = leadership.changed() => if changed.is_err() { return },
            () = alarm.0.notified() => {}
            () = tokio::time::sleep(wait.unwrap_or(MAX_WAIT).min(MAX_WAIT)), if wait.is_some() => {
                if due_in(machine.get().counts.wake_at_ms, wall_clock::now_ms()) == Some(Duration::ZERO) {
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
            tracing::debug!(%error, "guest not woken, trying again");
            RETRY_PAUSE
        }
    };
    tokio::time::sleep(pause).await;
}

/// How long until the guest is to be woken, at the time `now_ms`; none where it did not ask.
fn due_in(wake_at_ms: u64, now_ms: u64) -> Option<Duration> {
    (wake_at_ms != 0).then(|| Duration::from_millis(wake_at_ms.saturating_sub(now_ms)))
}

#[cfg(test)]
mod tests;
