//! Whether the node has caught up with its leader: whether it may be sent traffic.
//!
//! A node that has just heard of a leader can't tell from its own log how far behind it is. So it has its word
//! committed which module it runs: once it has applied that itself, it had applied everything that was committed when
//! it asked. The same word keeps a node that was started with another module from going on.

use std::time::Duration;

use oarlock_wasm::{Envelope, Sha256, WasmMachine};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::watch;

use crate::retry::RETRY_PAUSE;

/// How long one attempt may take; a node that needs longer to catch up asks again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the node has caught up. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(watch::Sender<bool>);

impl Readiness {
    /// Whether it has, under the leader that it has now.
    pub(crate) fn has_caught_up(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it has.
    #[cfg(test)]
    pub(crate) async fn caught_up(&self) {
        let mut receiver = self.0.subscribe();
        // The sender is `self`, so it is not gone.
        let _ = receiver.wait_for(|caught_up| *caught_up).await;
    }

    fn set(&self, caught_up: bool) {
        self.0.send_replace(caught_up);
    }
}

/// Runs for as long as the node does.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    module: Sha256,
    ready: Readiness,
    mut leadership: watch::Receiver<Leadership>,
) {
    loop {
        let now = leadership.borrow_and_update().clone();
        // Leading with or without knowledge of what is committed makes no difference here.
        let other = |next: &Leadership| (&next.leader, next.term) != (&now.leader, now.term);
        ready.set(false);
        let caught_up = tokio::select! {
            () = catch_up(&raft, module), if now.leader.is_some() => true,
            changed = leadership.wait_for(other) => match changed {
                Ok(_) => false,
                Err(_) => return,
            },
        };
        if caught_up {
            ready.set(true);
            if leadership.wait_for(other).await.is_err() {
                return;
            }
        }
    }
}

/// Returns once this node has applied what was committed when it asked.
async fn catch_up(raft: &Raft<WasmMachine>, module: Sha256) {
    while let Err(error) = raft.submit(Envelope::runs(module), TIMEOUT).await {
        tracing::debug!(%error, "not caught up yet");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
