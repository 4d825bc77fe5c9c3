//! What a worker reports.

use std::fmt;
use std::time::Duration;

use crate::queue::{QueueError, ReservedTask, TaskState};

/// Why a handler was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTask {
    /// The task was cancelled.
    Cancelled,
    /// The lease had ended, and the task was delivered again or removed.
    Stale,
    /// The handler ended, but the queue gave no outcome in time. The task is delivered again after its lease.
    NoOutcome,
}

impl fmt::Display for LostTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the task was cancelled",
            Self::Stale => "its lease had ended, and it was delivered again or removed",
            Self::NoOutcome => "the queue gave no outcome; it is delivered again after its lease",
        })
    }
}

/// Something that happened in a worker.
#[derive(Debug)]
pub enum WorkerEvent<'a> {
    /// The handler of a task begins.
    Started(&'a ReservedTask),
    /// A task was acknowledged.
    Done {
        /// The task.
        task: &'a ReservedTask,
        /// How long the handler ran.
        ran: Duration,
    },
    /// An attempt failed.
    Failed {
        /// The task.
        task: &'a ReservedTask,
        /// How long the handler ran.
        ran: Duration,
        /// Why.
        reason: &'a str,
        /// The state of the task now.
        state: TaskState,
    },
    /// A task was given back before its handler began, because the worker stops.
    Released(&'a ReservedTask),
    /// A task is no longer this worker's.
    Lost {
        /// The task.
        task: &'a ReservedTask,
        /// Why.
        why: LostTask,
    },
    /// The queue gave no outcome. The worker tries again.
    Unavailable(&'a QueueError),
}

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Tasks that were acknowledged.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Tasks that were given back before their handler began.
    pub released: u64,
    /// Tasks that were cancelled, or delivered again.
    pub lost: u64,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryEnd {
    Done,
    Failed,
    Released,
    Lost,
}

impl WorkerReport {
    pub(super) fn count(&mut self, end: DeliveryEnd) {
        let number = match end {
            DeliveryEnd::Done => &mut self.done,
            DeliveryEnd::Failed => &mut self.failed,
            DeliveryEnd::Released => &mut self.released,
            DeliveryEnd::Lost => &mut self.lost,
        };
        *number += 1;
    }
}
