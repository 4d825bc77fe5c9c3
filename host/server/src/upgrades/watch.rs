//! The upgrades that this node knows, with notification of changes.

use oarlock_wasm::{PastUpgrade, StatusHandle, UpgradeSummary};
use task_queue_raft::ids::Index;
use tokio::sync::watch;

/// Reads and follows the state machine's upgrades. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct UpgradeWatch {
    machine: StatusHandle,
    changes: watch::Receiver<()>,
}

impl UpgradeWatch {
    /// Follows a state machine. Create one per node and clone it: a state machine notifies only its first listener.
    pub(crate) fn new(machine: StatusHandle) -> Self {
        let (sender, changes) = watch::channel(());
        machine.on_upgrade(move || {
            sender.send_replace(());
        });
        Self { machine, changes }
    }

    /// The upgrade in progress and past upgrades.
    pub(crate) fn now(&self) -> UpgradeSummary {
        self.machine.upgrades()
    }

    /// Makes [`Self::changed`] ignore all changes so far.
    pub(crate) fn mark_unchanged(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits for a change. Returns `false` if the node is stopping.
    pub(crate) async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// Waits until `find` returns a value. `None` if the node stops first.
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

    /// Waits until the upgrade that began at this entry has ended. `None` if the node stops first.
    pub(crate) async fn end_of(&self, upgrade: Index) -> Option<PastUpgrade> {
        self.find(|upgrades| {
            let mut past = upgrades.past.iter().rev();
            past.find(|past| past.upgrade == upgrade).cloned()
        })
        .await
    }
}
