//! Which cluster a node belongs to when it starts: once its store contains data, the cluster id and the members in the store
//! count, and not those in the settings.

use std::collections::BTreeSet;
use std::path::Path;

use crate::entry::SnapshotMeta;
use crate::ids::{Index, LogId, NodeId, StoreId};
use crate::storage::node_store::NodeStore;
use crate::storage::{StorageError, StoreState, StoredState};

/// The cluster id in the settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConfiguredCluster {
    /// Empty: the store has the id, or the first node that connects brings it.
    pub(super) id: String,
    /// Only for an empty store. A store with data keeps its own id.
    pub(super) only_if_new: bool,
    /// The node waits to be added to any cluster.
    pub(super) joins: bool,
}

/// Decides on the cluster id, and records it in a store that contains nothing of a cluster yet. Returns the id.
pub(super) fn settle_cluster_id(
    dir: &Path,
    log: &mut NodeStore,
    configured: &ConfiguredCluster,
    stored: &StoredState,
    snapshot: Option<&SnapshotMeta>,
) -> Result<String, StorageError> {
    let found = log.identity().cluster_id.clone();
    let wanted = configured.id.as_str();
    if configured.joins && wanted.is_empty() && is_unused(stored, snapshot) {
        // The id is from a start with other settings, and the store contains nothing of that cluster.
        if !found.is_empty() {
            log.replace_cluster_id("")?;
        }
        return Ok(String::new());
    }
    if wanted.is_empty() || wanted == found {
        return Ok(found);
    }
    if found.is_empty() || is_empty(stored, snapshot) {
        log.replace_cluster_id(wanted)?;
        return Ok(wanted.to_owned());
    }
    if configured.only_if_new && has_members(stored, snapshot) {
        return Ok(found);
    }
    Err(StorageError::Foreign {
        path: dir.to_owned(),
        what: "cluster",
        found,
        expected: wanted.to_owned(),
    })
}

/// The members in effect while neither log nor snapshot contains a configuration: those in the settings, except for a
/// cluster of one. Earlier versions wrote no configuration for it, so its settings could name others by mistake.
pub(super) fn start_members(
    id: &NodeId,
    configured: BTreeSet<NodeId>,
    stored: &StoredState,
) -> BTreeSet<NodeId> {
    if is_bootstrapped(stored) {
        BTreeSet::from([id.clone()])
    } else {
        configured
    }
}

/// Whether this node is the only voter, according to its store.
pub(super) fn is_alone(id: &NodeId, stored: &StoredState, snapshot: Option<&SnapshotMeta>) -> bool {
    let at_snapshot = snapshot.map_or(Index::ZERO, |meta| meta.last.index);
    let in_log = stored.memberships.last();
    let in_snapshot = snapshot.and_then(|meta| meta.membership.as_ref());
    let latest = match in_log {
        Some((index, membership)) if *index > at_snapshot => Some(membership),
        in_log => in_snapshot.or(in_log.map(|(_, membership)| membership)),
    };
    match latest {
        Some(membership) => membership.voters().eq([id]),
        None => is_bootstrapped(stored),
    }
}

/// Neither entries nor a state, and the node never voted with this store.
fn is_empty(stored: &StoredState, snapshot: Option<&SnapshotMeta>) -> bool {
    stored.state != StoreState::Complete && stored.last == LogId::default() && snapshot.is_none()
}

/// Nothing was ever stored but the identity of the node.
fn is_unused(stored: &StoredState, snapshot: Option<&SnapshotMeta>) -> bool {
    stored.state == StoreState::New && is_empty(stored, snapshot)
}

/// Whether the store shows who the members are.
fn has_members(stored: &StoredState, snapshot: Option<&SnapshotMeta>) -> bool {
    let in_snapshot = snapshot.is_some_and(|meta| meta.membership.is_some());
    in_snapshot || !stored.memberships.is_empty() || is_bootstrapped(stored)
}

/// Whether the store belonged to a voter from its creation on. Stores without an id were written before there were
/// configurations in the log.
fn is_bootstrapped(stored: &StoredState) -> bool {
    stored.state == StoreState::Complete && stored.store_id != StoreId::NONE
}
