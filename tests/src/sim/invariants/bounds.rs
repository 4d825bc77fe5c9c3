//! Nothing grows without a bound: the log, the messages in flight to a peer, the tasks that wait for disk and machine.

use std::collections::BTreeSet;

use task_queue_raft::raft::progress::ProgressState;
use task_queue_raft::raft::{Core, Limits};

use crate::sim::violation::{Violation, ensure};

const BOUNDED: &str = "nothing grows without a bound";
/// Most tasks that wait for a disk: one write at a time, and what peers and clients make it read.
const DISK_TASKS: usize = 64;

/// Most leaders that each append their first entry, before a log can be compacted.
const LEADERS: u64 = 64;

/// The limits of the nodes of a run.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) max_log_entries: u64,
    pub(crate) limits: Limits,
    /// Followers that could not take a snapshot: their logs may be longer until they have.
    pub(crate) long_logs: BTreeSet<usize>,
}

/// What waits at a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backlog {
    /// No snapshot can be taken, so the log of a follower grows.
    pub(crate) snapshots_fail: bool,
    pub(crate) disk_tasks: usize,
    /// Entries that the machine was given and has not applied.
    pub(crate) unapplied: u64,
}

impl Bounds {
    pub(crate) fn check(
        &mut self,
        node: usize,
        core: &Core,
        backlog: Backlog,
    ) -> Result<(), Violation> {
        let length = core.log().len();
        // A leader appends no command or change above `longest`, and a follower whose machine lags accepts nothing above twice
        // that. If the machine does not lag, the log has what leaders have appended since a commit, at most `longest` entries,
        // and what is kept before it, at most `max_log_entries`. The rest is for the first entries of leaders, which have no
        // limit.
        let longest = self.max_log_entries + self.limits.reserved_entries;
        let most = 2 * longest + LEADERS;
        if backlog.snapshots_fail {
            self.long_logs.insert(node);
        } else if length <= most {
            self.long_logs.remove(&node);
        }
        ensure(
            length <= most || self.long_logs.contains(&node),
            BOUNDED,
            || format!("the log of n{node} has {length} entries, and {most} would do"),
        )?;
        ensure(backlog.disk_tasks <= DISK_TASKS, BOUNDED, || {
            format!("{} tasks wait for the disk of n{node}", backlog.disk_tasks)
        })?;
        let most = 2 * self.limits.unapplied_entries;
        ensure(backlog.unapplied <= most, BOUNDED, || {
            format!(
                "{} entries wait for the machine of n{node}, and {most} would do",
                backlog.unapplied
            )
        })?;
        for (id, peer) in core.peers() {
            let (messages, most) = match &peer.state {
                ProgressState::Probe { .. } => (0, 1),
                ProgressState::Replicate { in_flight, .. } => {
                    (in_flight.len(), self.limits.in_flight_messages.max(1))
                }
                ProgressState::Snapshot(transfer) => (
                    transfer.in_flight.len(),
                    self.limits.in_flight_chunks.max(1),
                ),
            };
            ensure(messages <= most, BOUNDED, || {
                format!("{messages} messages are in flight from n{node} to {id}, and {most} may be")
            })?;
        }
        Ok(())
    }
}
