//! `POST /v1/snapshot`: takes a snapshot of this node's state now.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use task_queue_raft::Status;
use task_queue_raft::ids::Index;

use super::App;
use super::error::ApiError;
use super::request;

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct SnapshotTaken {
    node_id: String,
    /// The newest snapshot holds the state after this entry.
    snapshot_index: u64,
}

/// Answers once a snapshot holds everything that was applied when the request came.
pub(super) async fn snapshot(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<SnapshotTaken>, ApiError> {
    let timeout = request::timeout(request.headers())?;
    let taking = tokio::time::timeout(timeout, take(&app)).await;
    let snapshot_index = taking.map_err(|_| {
        ApiError::no_answer("no snapshot was finished in time; it may still be, and this node's log says if it can't be")
    })??;
    Ok(Json(SnapshotTaken {
        node_id: app.raft.status().node_id.as_str().to_owned(),
        snapshot_index,
    }))
}

async fn take(app: &App) -> Result<u64, ApiError> {
    let stopping = || ApiError::no_answer("this node is stopping");
    let mut status = app.raft.watch_status();
    let wanted = status.borrow_and_update().applied;
    loop {
        let newest = newest(&status.borrow());
        if newest >= wanted {
            return Ok(newest.0);
        }
        // One that is under way already may have begun before the request came; then another is needed.
        app.raft.request_snapshot().map_err(|_| stopping())?;
        let changed = status
            .wait_for(|status| self::newest(status) > newest)
            .await;
        changed.map_err(|_| stopping())?;
    }
}

fn newest(status: &Status) -> Index {
    status
        .snapshot
        .as_ref()
        .map_or(Index::ZERO, |meta| meta.last.index)
}
