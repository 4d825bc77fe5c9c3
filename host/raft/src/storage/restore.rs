//! Makes a data directory from the state in a backup: the first node of a new cluster that begins after the last entry of
//! that state.
//!
//! The new cluster has another lineage and its only member another store id, so no node of the old cluster can take part in it.
//! The files are complete under a temporary name before the directory gets its own, so a crash leaves no directory that could be started.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files::{create_dir, failed, publish};
use super::node_store::{Identity, NodeStore, StoreInit};
use super::snapshot::SnapshotFiles;
use super::{LogStore, SnapshotStore, StorageError, StoreState, WriteBatch};
use crate::entry::{ClusterState, HardState, SnapshotMeta};
use crate::ids::{Lineage, LogId, StoreId};
use crate::raft::membership::{Member, MemberRole, Membership};

const UNFINISHED: &str = "restoring";

/// The new cluster, and the state with which it begins.
#[derive(Clone, Debug)]
pub struct RestoredCluster {
    /// Name of the cluster and of its only node.
    pub identity: Identity,
    /// The node's address for peers, `host:port`. Empty: the one in the settings of the node.
    pub address: String,
    /// Id of the node's store: random, not 0.
    pub store_id: StoreId,
    /// Random number for the lineage of the new cluster.
    pub random: u128,
    /// The cluster level of the state, 1 or more.
    pub level: u32,
    /// The last entry that the state contains.
    pub last: LogId,
    /// The time of that entry, milliseconds since 1970.
    pub time_ms: u64,
}

/// Writes the data directory `dir`, which must not exist or be empty. `state` has the state machine's bytes.
///
/// # Errors
/// `dir` contains something, `state` can't be read, or the disk returns an error.
pub fn restore(
    dir: &Path,
    cluster: &RestoredCluster,
    state: &mut dyn Read,
) -> Result<SnapshotMeta, StorageError> {
    refuse_used(dir)?;
    let unfinished = unfinished(dir);
    // What an interrupted restore has left.
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed("cannot remove", &unfinished))?;
    }
    let written = write(&unfinished, cluster, state);
    let meta = written.inspect_err(|_| {
        // The cause matters more than what is left of the files; the next restore removes them.
        let _ = fs::remove_dir_all(&unfinished);
    })?;
    if dir.exists() {
        fs::remove_dir(dir).map_err(failed("cannot replace", dir))?;
    }
    publish(&unfinished, dir)?;
    Ok(meta)
}

/// Next to the directory, so that it can be renamed.
fn unfinished(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    dir.with_file_name(name)
}

fn refuse_used(dir: &Path) -> Result<(), StorageError> {
    let mut items = match fs::read_dir(dir) {
        Ok(items) => items,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("cannot list", dir)(error)),
    };
    if items.next().is_none() {
        return Ok(());
    }
    let used = io::Error::new(
        io::ErrorKind::DirectoryNotEmpty,
        "it is not empty; choose a directory that does not exist",
    );
    Err(failed("cannot restore into", dir)(used))
}

fn write(
    dir: &Path,
    cluster: &RestoredCluster,
    state: &mut dyn Read,
) -> Result<SnapshotMeta, StorageError> {
    create_dir(dir)?;
    let init = StoreInit {
        store_id: cluster.store_id,
        state: StoreState::Complete,
    };
    let mut log = NodeStore::open_or_create(dir, &cluster.identity, init)?;
    log.load()?;
    log.purge(cluster.last)?;
    log.write(&WriteBatch {
        hard_state: Some(HardState {
            term: cluster.last.term,
            vote: None,
        }),
        ..WriteBatch::default()
    })?;
    let member = Member {
        address: cluster.address.clone(),
        store_id: cluster.store_id,
        role: MemberRole::Voter,
    };
    let id = cluster.identity.node_id.clone();
    let membership = Membership::new([(id, member)].into());
    let state_of = ClusterState {
        level: cluster.level,
        lineage: Lineage::at_bootstrap(cluster.random),
    };
    let snapshots = SnapshotFiles::open(dir)?;
    let mut writer =
        snapshots.create(cluster.last, cluster.time_ms, Some(&membership), state_of)?;
    io::copy(state, &mut writer).map_err(failed("cannot write a snapshot in", dir))?;
    writer.finish()
}
