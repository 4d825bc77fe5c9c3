//! Reports through the log that the memory of the guest is low on this node, or no longer low.
//!
//! Each node reports for itself. The leader reports for nodes that can't: removed ones, and those without a connection for
//! some time. Once a node is back, it reports again. While memory is low here, the node takes snapshots, so that the machine
//! can move the guest to a new instance and give back memory.

use std::collections::BTreeSet;
use std::time::Duration;

use oarlock_wasm::{Backoff, Envelope, MemoryRecord, RETRY_PAUSE, StatusHandle, WasmMachine};
use task_queue_raft::ids::{Index, NodeId};
use task_queue_raft::{Leadership, Raft, Status};
use tokio::sync::watch;

use crate::upgrades::UpgradeWatch;

/// Timeout of one proposal.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two snapshots while memory is low, and between two looks at the connections. A node that is not connected
/// at two looks does not count any more.
const INTERVAL: Duration = Duration::from_secs(15);
/// Longest pause between two attempts to commit a report.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The first cluster level whose nodes understand the records.
const FIRST_LEVEL: u32 = 1;

/// Takes part in the reports until the node stops.
pub(crate) async fn run(
    raft: Raft<WasmMachine>,
    machine: StatusHandle,
    mut watched: UpgradeWatch,
    mut leadership: watch::Receiver<Leadership>,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut absent = Absent::default();
    let mut relief = Relief::default();
    // The last committed record. If it is still due, it was over the limit of nodes: it is repeated at the next tick.
    let mut committed = None;
    let mut backoff = Backoff::new(RETRY_PAUSE, LONGEST_PAUSE);
    loop {
        watched.mark_unchanged();
        leadership.mark_unchanged();
        let (low, status) = (machine.low_memory(), raft.status());
        let is_low = machine.get().counts.own_memory_is_low;
        let record = next_record(&low, is_low, &status, &absent.longer);
        if let Some(record) = record.filter(|record| committed.as_ref() != Some(record)) {
            if submit(&raft, &record).await.is_some() {
                committed = Some(record);
                backoff.reset();
            } else {
                tokio::time::sleep(backoff.advance()).await;
            }
            continue;
        }
        tokio::select! {
            changed = watched.changed() => if !changed { return },
            changed = leadership.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {
                committed = None;
                absent.look(&low, |id| raft.network().is_some_and(|network| network.is_connected(id)));
                if is_low && status.cluster_level >= FIRST_LEVEL {
                    relief.advance(&raft, &status).await;
                }
            }
        }
    }
}

/// Returns the entry, or `None` if the record was not committed.
async fn submit(raft: &Raft<WasmMachine>, record: &MemoryRecord) -> Option<Index> {
    match raft.submit(Envelope::memory(record), TIMEOUT).await {
        Ok(applied) => {
            let MemoryRecord { node, is_low } = record;
            tracing::warn!(node, is_low, index = %applied.index, "memory of the guest: a node reported");
            Some(applied.index)
        }
        Err(error) => {
            tracing::debug!(%error, "memory record was not committed, retrying");
            None
        }
    }
}

/// The record that this node has to propose, if there is one. `low`: the nodes whose memory is low by the log. `is_low`:
/// whether this node's is. `absent`: nodes without a connection to this one.
fn next_record(
    low: &BTreeSet<String>,
    is_low: bool,
    status: &Status,
    absent: &BTreeSet<String>,
) -> Option<MemoryRecord> {
    if status.cluster_level < FIRST_LEVEL {
        return None;
    }
    let me = status.node_id.as_str();
    let record = |node: &str, is_low| {
        Some(MemoryRecord {
            node: node.to_owned(),
            is_low,
        })
    };
    if low.contains(me) != is_low {
        return record(me, is_low);
    }
    if !status.has_committed_in_term {
        return None;
    }
    let members = status.membership.members();
    let is_gone = |node: &&String| {
        node.as_str() != me
            && (absent.contains(*node) || !members.contains_key(&NodeId::from(node.as_str())))
    };
    low.iter()
        .find(is_gone)
        .and_then(|node| record(node, false))
}

/// Nodes without a connection.
#[derive(Default)]
struct Absent {
    /// At the last look.
    last: BTreeSet<String>,
    /// At the last two looks.
    longer: BTreeSet<String>,
}

impl Absent {
    fn look(&mut self, low: &BTreeSet<String>, is_connected: impl Fn(&NodeId) -> bool) {
        let is_absent = |node: &&String| !is_connected(&NodeId::from(node.as_str()));
        let now: BTreeSet<String> = low.iter().filter(is_absent).cloned().collect();
        self.longer = self.last.intersection(&now).cloned().collect();
        self.last = now;
    }
}

/// Lets the machine give back memory: with a snapshot, and then with an entry, after which the machine uses it.
#[derive(Default)]
struct Relief {
    /// The last applied entry at the last snapshot. Without a later one, there is nothing to gain.
    done_at: Index,
    needs_entry: bool,
}

impl Relief {
    async fn advance(&mut self, raft: &Raft<WasmMachine>, status: &Status) {
        if self.needs_entry && status.applied == self.done_at {
            // No client has sent a command since the snapshot.
            let record = MemoryRecord {
                node: status.node_id.as_str().to_owned(),
                is_low: true,
            };
            if let Some(index) = submit(raft, &record).await {
                self.done_at = index;
                self.needs_entry = false;
            }
        } else if status.applied > self.done_at {
            // An error means that the node is stopping.
            let _ = raft.request_snapshot();
            self.done_at = status.applied;
            self.needs_entry = true;
        }
    }
}

#[cfg(test)]
mod tests;
