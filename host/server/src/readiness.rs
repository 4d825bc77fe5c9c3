//! Whether the node has caught up with its leader, so that `GET /readyz` succeeds.
//!
//! A node that has just found a leader can't tell from its own log how far behind it is. So it proposes an entry with
//! the digest of the module that it was started with, or that its log has. Once it has applied this entry, it has also applied all entries
//! that were committed before the proposal. The same entry stops a node that was started with a module that is not
//! the cluster's.

use std::time::Duration;

use oarlock_wasm::{Envelope, RETRY_PAUSE, Sha256, StatusHandle, WasmMachine};
use task_queue_raft::{Leadership, Raft};
use tokio::sync::watch;

/// Timeout of one proposal. A node that needs more time to catch up proposes again.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the node has caught up. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(watch::Sender<bool>);

impl Readiness {
    /// Whether it has caught up with its current leader.
    pub(crate) fn has_caught_up(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it has caught up.
    pub(crate) async fn caught_up(&self) {
        let mut receiver = self.0.subscribe();
        // `self` is the sender, so the channel stays open.
        let _ = receiver.wait_for(|caught_up| *caught_up).await;
    }

    fn set(&self, caught_up: bool) {
        self.0.send_replace(caught_up);
    }
}

/// The module that the node records.
#[derive(Clone, Debug)]
pub(crate) enum RecordedModule {
    /// The one that an operator has chosen for this node. The node stops if it is not the cluster's.
    Started(Sha256),
    /// The one that runs now.
    Active(StatusHandle),
}

impl RecordedModule {
    fn sha256(&self) -> Sha256 {
        match self {
            Self::Started(sha256) => *sha256,
            Self::Active(machine) => machine.module().sha256(),
        }
    }
}

/// Updates `ready` after each change of the leader, until the node stops.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    module: RecordedModule,
    ready: Readiness,
    mut leadership: watch::Receiver<Leadership>,
) {
    loop {
        let now = leadership.borrow_and_update().clone();
        // Only a new leader or term matters, not whether an entry of the term is committed.
        let is_other = |next: &Leadership| (&next.leader, next.term) != (&now.leader, now.term);
        ready.set(false);
        let caught_up = tokio::select! {
            () = catch_up(&raft, &module), if now.leader.is_some() => true,
            changed = leadership.wait_for(is_other) => match changed {
                Ok(_) => false,
                Err(_) => return,
            },
        };
        if caught_up {
            ready.set(true);
            if leadership.wait_for(is_other).await.is_err() {
                return;
            }
        }
    }
}

/// Returns once this node has applied all entries that were committed at the time of the call.
async fn catch_up(raft: &Raft<WasmMachine>, module: &RecordedModule) {
    while let Err(error) = raft.submit(Envelope::runs(module.sha256()), TIMEOUT).await {
        tracing::debug!(%error, "not caught up yet, retrying");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}
