//! Snapshots that this node takes of its own state: requests, and why one failed.

use std::sync::Arc;

use super::Driver;
use super::environment::Environment;
use crate::entry::SnapshotMeta;
use crate::state_machine::ReplicatedStateMachine;

impl<M: ReplicatedStateMachine, E: Environment<M>> Driver<M, E> {
    pub(super) fn take_snapshot(&mut self) {
        if !self.core.take_snapshot() {
            self.note_failure("the state of this node is being replaced by the leader's".into());
        }
    }

    pub(super) fn on_snapshot_taken(&mut self, taken: Result<SnapshotMeta, Arc<str>>) {
        let meta = taken.map_err(|reason| self.note_failure(reason));
        self.core.snapshot_taken(self.now, meta.ok());
    }

    fn note_failure(&mut self, reason: Arc<str>) {
        self.snapshot_failures.count += 1;
        self.snapshot_failures.reason = reason;
    }
}
