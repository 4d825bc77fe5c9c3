//! Before a node with an empty data directory begins a cluster of its own: flags that contradict that, and members that look
//! for the node.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use task_queue_raft::ids::NodeId;
use task_queue_raft::node::{contact_time, first_contact};
use task_queue_raft::storage::node_store::NodeStore;
use task_queue_raft::storage::{StorageError, StoreState};
use thiserror::Error;

use crate::settings::{FirstStart, ServeSettings, StartSettings};

/// `--bootstrap` contradicts another flag.
#[derive(Debug, Error)]
#[error(
    "the data directory is empty, and --bootstrap would begin a new cluster of this node alone, but {with} is set too; \
     remove one of the two. If this cluster ever held data, remove --bootstrap"
)]
pub(crate) struct BootstrapConflict {
    /// The other flag.
    with: &'static str,
}

/// Whether the data directory holds nothing that a cluster may have acknowledged.
///
/// # Errors
/// The directory can't be read.
pub(crate) fn is_new(data_dir: &Path) -> Result<bool, StorageError> {
    match NodeStore::open_existing(data_dir) {
        Ok(None) => Ok(true),
        Ok(Some(store)) => Ok(store.init().state == StoreState::New),
        // A repair may follow. The store is not new, or it would not be corrupt.
        Err(StorageError::Corrupt { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Checks `--bootstrap` against the other flags.
///
/// # Errors
/// Another flag tells that the node has a cluster.
pub(crate) fn check(settings: &ServeSettings, is_new: bool) -> Result<(), BootstrapConflict> {
    let with = match settings.start.first {
        FirstStart::BootstrapAlone => None,
        FirstStart::BootstrapTogether => Some("a --cluster of several nodes"),
        FirstStart::Wait => Some("--join"),
    };
    match with.filter(|_| settings.start.bootstrap_flag && is_new) {
        Some(with) => Err(BootstrapConflict { with }),
        None => Ok(()),
    }
}

/// A node that would begin a cluster alone with `--bootstrap` first listens whether members of a cluster look for it. If
/// so, it waits to rejoin them: its disk was replaced, and the flag was left in its start command.
pub(crate) async fn settle(
    settings: ServeSettings,
    is_new: bool,
    peers: &TcpListener,
) -> ServeSettings {
    let begins = settings.start.first == FirstStart::BootstrapAlone;
    if !begins || !is_new || !settings.start.bootstrap_flag {
        return settings;
    }
    let own = NodeId::from(settings.node_id.as_str());
    let security = settings.tls.clone().map(|tls| Arc::new(tls) as _);
    let contact = match first_contact(peers, &own, contact_time(), security).await {
        Ok(contact) => contact,
        Err(error) => {
            tracing::warn!(%error, "cannot find out whether a cluster looks for this node");
            None
        }
    };
    let Some(contact) = contact else {
        return settings;
    };
    tracing::error!(
        member = %contact.node_id,
        cluster = contact.cluster_id,
        "--bootstrap is ignored: a member of a cluster looks for this node, so its disk was replaced. It waits to rejoin \
         that cluster. Remove --bootstrap from the start command"
    );
    let cluster_id = if settings.start.derived_cluster_id {
        String::new()
    } else {
        settings.cluster_id
    };
    ServeSettings {
        cluster_id,
        start: StartSettings {
            first: FirstStart::Wait,
            ..settings.start
        },
        ..settings
    }
}
