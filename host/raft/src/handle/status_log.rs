//! Log messages for the operator about this node's right to vote and its clock: one message per change.

use super::status::Status;
use crate::ids::NodeId;
use crate::raft::clock::ClockStatus;
use crate::raft::voting::VotingStatus;

/// Logs what has changed since the status before: this node's voting status, and the voters without data.
pub(super) fn log_changes(voting: &VotingStatus, without_data: &[NodeId], now: &Status) {
    if *voting != now.voting {
        log_voting_status(voting, &now.voting);
    }
    if without_data != now.voters_without_data && !now.voters_without_data.is_empty() {
        log_voters_without_data(now);
    }
}

fn log_voting_status(before: &VotingStatus, voting: &VotingStatus) {
    match voting {
        VotingStatus::Eligible if *before != VotingStatus::Eligible => {
            tracing::info!("this node is eligible to vote");
        }
        VotingStatus::Bootstrapping { missing } if !missing.is_empty() => tracing::info!(
            blocked_on = %names(missing),
            "the store is empty: a new cluster starts once all initial members are up with empty stores. If this \
             cluster ever held data, stop this node and correct --data-dir. To add a node later, leave it out of \
             --cluster and run `oarlock members add`"
        ),
        VotingStatus::BootstrapMismatch { with } => tracing::error!(
            %with,
            "that node was started with different initial members: give every node of a new cluster the same --cluster"
        ),
        VotingStatus::Joining => tracing::info!(
            "the store is empty: this node waits until a cluster adds it, or until its own cluster connects to it. If it \
             is the first node of a new cluster, start it with --bootstrap. If it ever held data, don't: stop it and \
             correct --data-dir, or wait for the other members"
        ),
        VotingStatus::Rejoining => tracing::warn!(
            "the store is empty, a copy, or was set aside, and the cluster is not new: this node does not vote until the \
             leader has sent it the state. If this does not end, too few of the other voters are running"
        ),
        VotingStatus::Eligible
        | VotingStatus::AwaitingCommit
        | VotingStatus::Bootstrapping { .. } => {}
    }
}

fn log_voters_without_data(now: &Status) {
    let voters = now.voters.len();
    let left = voters.saturating_sub(now.voters_without_data.len());
    if left > voters / 2 {
        tracing::warn!(
            nodes = %names(&now.voters_without_data),
            "voters restarted with empty stores: the leader sends them the state, and then they vote again"
        );
    } else {
        tracing::error!(
            nodes = %names(&now.voters_without_data),
            left,
            voters,
            "quorum lost: too many voters have empty stores, and no leader can be elected. Stop those nodes, and start \
             them on their own data directories if these still exist: an older copy of one lacks what its node has \
             acknowledged since. Keep the data directories of all other nodes, and don't empty any"
        );
    }
}

/// Logs whether this node's clock, or the time of the log, is outside of the bound.
pub(super) fn log_clock(before: ClockStatus, now: ClockStatus) {
    let offset_ms = now.offset_ms.unwrap_or_default();
    match (before.is_skewed, now.is_skewed) {
        (false, true) => tracing::error!(
            offset_ms,
            "the clock of this node differs from the clocks of the majority by more than --max-clock-skew-ms: it does \
             not lead while another node can. Set its clock right, for example with NTP"
        ),
        (true, false) => tracing::info!(
            offset_ms,
            "the clock of this node is within --max-clock-skew-ms of the clocks of the majority again"
        ),
        _ => {}
    }
    match (before.ahead_ms > 0, now.ahead_ms > 0) {
        (false, true) => tracing::error!(
            ahead_ms = now.ahead_ms,
            "the time of the log is ahead of all clocks, because the clocks of a majority were ahead when it was \
             written: it continues from there at normal speed, and delays and timeouts keep their length. Check that \
             the clocks are right now; a time of day that a client gives is reached early by this difference"
        ),
        (true, false) => tracing::info!("the time of the log is no longer ahead of the clocks"),
        _ => {}
    }
}

/// Logs that the newest snapshot was found damaged, or is sound again.
pub(super) fn log_snapshot(was_damaged: bool, now: &Status) {
    let snapshot = now.snapshot.as_ref().map_or(0, |meta| meta.last.index.0);
    match (was_damaged, now.snapshot_damaged) {
        (false, true) => tracing::error!(
            snapshot,
            "the newest snapshot is damaged: this node does not use or send it, and takes a new one. Do not stop the node before \
             that is done. Then examine the disk"
        ),
        (true, false) => tracing::info!(snapshot, "a new snapshot has replaced the damaged one"),
        _ => {}
    }
}

fn names(nodes: &[NodeId]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
    names.join(", ")
}
