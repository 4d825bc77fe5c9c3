//! The events for a node's driver, and what the driver publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::environment::ThreadEnvironment;
use super::error::FatalError;
use super::status::{Leadership, Status};
use super::status_log;
use crate::driver::{Input, SnapshotFailures};
use crate::raft::Core;
use crate::state_machine::ReplicatedStateMachine;

/// An input as the driver of a running node gets it.
pub(super) type NodeInput<M> = Input<M, ThreadEnvironment<M>>;

/// An event for the driver.
#[allow(
    clippy::large_enum_variant,
    reason = "almost all events are inputs, and a box for each would cost an allocation"
)]
pub(super) enum DriverEvent<M: ReplicatedStateMachine> {
    /// An input. A message of a peer holds its permit until the driver has handled it.
    Input(NodeInput<M>, Option<OwnedSemaphorePermit>),
    /// Another thread of the node has failed.
    Fatal(FatalError),
    /// Stop the node.
    Stop,
}

/// The node is not running.
pub(super) struct NotRunning;

/// What the driver publishes.
pub(super) struct Publisher {
    pub(super) status: watch::Sender<Status>,
    pub(super) leadership: watch::Sender<Leadership>,
    /// Whether `leadership` has a leader. Changes after it.
    has_leader: Arc<AtomicBool>,
    snapshot_failures: watch::Sender<SnapshotFailures>,
    pub(super) fatal: watch::Sender<Option<FatalError>>,
}

/// Where it can be read.
pub(super) struct Published {
    pub(super) status: watch::Receiver<Status>,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) has_leader: Arc<AtomicBool>,
    pub(super) snapshot_failures: watch::Receiver<SnapshotFailures>,
    pub(super) fatal: watch::Receiver<Option<FatalError>>,
}

impl Publisher {
    /// Channels that hold this status, no leader and no error.
    pub(super) fn new(status: Status) -> (Self, Published) {
        let (status_sender, status) = watch::channel(status);
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let (fatal_sender, fatal) = watch::channel(None);
        let (failures_sender, snapshot_failures) = watch::channel(SnapshotFailures::default());
        let has_leader = Arc::new(AtomicBool::new(false));
        (
            Self {
                status: status_sender,
                leadership: leadership_sender,
                has_leader: Arc::clone(&has_leader),
                snapshot_failures: failures_sender,
                fatal: fatal_sender,
            },
            Published {
                status,
                leadership,
                has_leader,
                snapshot_failures,
                fatal,
            },
        )
    }

    /// Publishes what has changed: the snapshots that failed, and the state of the core.
    pub(super) fn publish(&self, failures: &SnapshotFailures, core: &Core) {
        self.snapshot_failures.send_if_modified(|published| {
            let changed = published.count != failures.count;
            if changed {
                published.clone_from(failures);
            }
            changed
        });
        self.status.send_if_modified(|status| {
            let before = (status.voting.clone(), status.voters_without_data.clone());
            let (clock, was_damaged) = (status.clock, status.snapshot_damaged);
            let changed = status.update(core);
            if changed {
                status_log::log_changes(&before.0, &before.1, status);
                status_log::log_clock(clock, status.clock);
                status_log::log_snapshot(was_damaged, status);
            }
            changed
        });
        let changed = self
            .leadership
            .send_if_modified(|leadership| leadership.update(core));
        if changed {
            let has_leader = core.leader().is_some();
            self.has_leader.store(has_leader, Ordering::Release);
        }
    }
}
