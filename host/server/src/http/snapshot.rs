//! `POST /v1/snapshot`: takes a snapshot of this node's state.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use schemars::JsonSchema;
use serde::Serialize;
use task_queue_raft::entry::SnapshotMeta;
use task_queue_raft::ids::Index;

use super::app::App;
use super::error::ApiError;
use super::operations::{self, Operation};
use super::request;

/// The response to `POST /v1/snapshot`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SnapshotTaken {
    /// Id of the node that took it.
    node_id: String,
    /// The last entry in the newest snapshot.
    snapshot_index: u64,
}

/// Responds once a snapshot holds all entries that were applied when the request arrived.
pub(super) async fn snapshot(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<SnapshotTaken>, ApiError> {
    let timeout = request::timeout(request.headers())?;
    let node_id = app.raft.status().node_id.as_str().to_owned();
    let operation = Operation::new(request.extensions(), "takeSnapshot", node_id.clone());
    let taking = async {
        let taken = tokio::time::timeout(timeout, take(&app)).await;
        taken.map_err(|_| {
            ApiError::no_response("the snapshot was not complete in time; it may still complete")
        })?
    };
    let newest = operations::recorded(&app, operation, taking).await?;
    Ok(Json(SnapshotTaken {
        node_id,
        snapshot_index: newest.last.index.0,
    }))
}

/// Waits for a snapshot with all entries that this node has applied, and takes it if there is none.
pub(super) async fn take(app: &App) -> Result<SnapshotMeta, ApiError> {
    let stopping = || ApiError::no_response("this node is stopping");
    let mut status = app.raft.watch_status();
    let mut failures = app.raft.watch_snapshot_failures();
    failures.mark_unchanged();
    let applied = status.borrow_and_update().applied;
    loop {
        let found = status.borrow().snapshot.clone();
        let newest = index_of(found.as_ref());
        if let Some(found) = found.filter(|_| newest >= applied) {
            return Ok(found);
        }
        // A snapshot in progress may have started before the request arrived. Then a second one is needed.
        app.raft.request_snapshot().map_err(|_| stopping())?;
        tokio::select! {
            taken = status.wait_for(|status| index_of(status.snapshot.as_ref()) > newest) => {
                taken.map_err(|_| stopping())?;
            }
            failed = failures.changed() => {
                failed.map_err(|_| stopping())?;
                return Err(ApiError::snapshot_failed(&failures.borrow_and_update().reason));
            }
        }
    }
}

fn index_of(snapshot: Option<&SnapshotMeta>) -> Index {
    snapshot.map_or(Index::ZERO, |meta| meta.last.index)
}
