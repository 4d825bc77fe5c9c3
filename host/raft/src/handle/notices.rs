//! What an operator is told about a node's say: once when it changes, in the log.

use super::Status;
use crate::raft::admission::Say;
use crate::types::NodeId;

/// Tells what has changed of a node's say and of the lost, where somebody should know.
pub(super) fn tell(say: &Say, lost: &[NodeId], now: &Status) {
    if *say != now.say {
        tell_say(say, &now.say);
    }
    if lost != now.lost && !now.lost.is_empty() {
        tell_lost(now);
    }
}

fn tell_say(before: &Say, say: &Say) {
    match say {
        Say::Has if *before != Say::Has => {
            tracing::info!("this node has its say: it votes where it is a voter");
        }
        Say::Founding { missing } if !missing.is_empty() => tracing::info!(
            waits_for = %names(missing),
            "the store is empty: a new cluster begins once all of its nodes have said that theirs are. One that is to \
             come later is left out of --cluster and added with `oarlock members add`"
        ),
        Say::Disagreed { with } => tracing::error!(
            %with,
            "that node was started with other members: give every node of a new cluster the same --cluster"
        ),
        Say::Returning => tracing::warn!(
            "the store is empty, or was set aside, and the cluster is not new: this node does not vote until the \
             others have given it everything. If that does not happen, too few of them run"
        ),
        Say::Has | Say::Soon | Say::Founding { .. } | Say::Joining => {}
    }
}

fn tell_lost(now: &Status) {
    let voters = now.voters.len();
    let left = voters.saturating_sub(now.lost.len());
    if left > voters / 2 {
        tracing::warn!(
            nodes = %names(&now.lost),
            "voters have come back with empty stores: they get everything from the others and vote again then"
        );
    } else {
        tracing::error!(
            nodes = %names(&now.lost),
            left,
            voters,
            "too many voters have lost their stores: the rest is no majority, and nothing is made up. Put back a data \
             directory that is whole, or stop all nodes and begin a new cluster from a backup or from what this node holds"
        );
    }
}

fn names(nodes: &[NodeId]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
    names.join(", ")
}
