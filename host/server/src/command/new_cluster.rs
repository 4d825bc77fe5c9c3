//! A cluster that begins anew with one node: what `oarlock restore` and `oarlock recover --into` make.

use std::path::Path;

use task_queue_raft::entry::SnapshotMeta;
use task_queue_raft::ids::{LogId, StoreId};
use task_queue_raft::storage::node_store::Identity;
use task_queue_raft::storage::restore::RestoredCluster;

use super::output::print_safely;
use crate::backup::Manifest;
use crate::cli::RestoreArgs;
use crate::exit::Failure;
use crate::settings::LONE_NODE;

/// Id of a restored cluster and of its node.
pub(super) fn identity(args: &RestoreArgs, manifest: &Manifest) -> Identity {
    let cluster_id = args.cluster_id.clone();
    Identity {
        node_id: args.node_id.as_str().into(),
        cluster_id: cluster_id.unwrap_or_else(|| manifest.cluster_id.clone()),
    }
}

/// A cluster with this node, that continues after the entry `last`.
///
/// # Errors
/// This release does not know the level, no cluster can begin with it, or the operating system has no randomness.
pub(super) fn begin(
    identity: Identity,
    address: Option<&str>,
    level: u32,
    last: LogId,
    time_ms: u64,
) -> Result<RestoredCluster, Failure> {
    if level == 0 || level > task_queue_raft::CLUSTER_LEVEL {
        return Err(Failure::failed(format!(
            "the state is of cluster level {level}, and this release makes new clusters of levels 1 to {}; use a later release for a \
             higher level. At level 0, start all nodes that there are",
            task_queue_raft::CLUSTER_LEVEL
        )));
    }
    let random = || {
        getrandom::u64().map_err(|error| {
            Failure::failed(format!(
                "the operating system has no randomness: {error}; nothing was written"
            ))
        })
    };
    Ok(RestoredCluster {
        identity,
        address: address.unwrap_or_default().to_owned(),
        store_id: StoreId(random()?.max(1)),
        random: u128::from(random()?) << 64 | u128::from(random()?),
        level,
        last,
        time_ms,
    })
}

/// What the operator does next. `address`: the one that was named.
pub(super) fn next_steps(
    dir: &Path,
    cluster: &RestoredCluster,
    meta: &SnapshotMeta,
    address: Option<&str>,
) -> String {
    let Identity {
        node_id,
        cluster_id,
    } = &cluster.identity;
    let node_id = print_safely(node_id.as_str());
    let dir = dir.display().to_string();
    let mut flags = format!("--data-dir {}", print_safely(&dir));
    if address.is_some() || node_id != LONE_NODE {
        flags.push_str(&format!(" --node-id {node_id}"));
    }
    if let Some(address) = address {
        flags.push_str(&format!(" --peer-addr {}", print_safely(address)));
    }
    format!(
        "The cluster {} begins anew with the node {node_id}, as lineage {}. Nodes of the old cluster can't join it.\nNext:\n  oarlock serve {flags}\nThen start the other nodes on empty directories, and add each with `oarlock members add`.\n",
        print_safely(cluster_id),
        meta.cluster.lineage,
    )
}
