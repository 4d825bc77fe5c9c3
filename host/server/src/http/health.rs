//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::extract::State;

use super::app::App;
use super::error::ApiError;

/// 200 while the process runs.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// 200 if the node has a leader, has caught up with it, is not quarantined and does not stop; else 503.
///
/// Low memory does not make a node unready: commands that remove state must reach it. The body tells.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<String, ApiError> {
    if app.auditor.is_quarantined() {
        return Err(ApiError::quarantined());
    }
    if !*app.streams.borrow() || app.observations.is_directory_lost() {
        return Err(ApiError::stopping());
    }
    if app.raft.status().leader.is_none() {
        return Err(ApiError::no_leader());
    }
    if !app.readiness.has_caught_up() {
        return Err(ApiError::not_ready());
    }
    let low: Vec<String> = app.machine.low_memory().into_iter().collect();
    Ok(if low.is_empty() {
        "ready\n".to_owned()
    } else {
        format!(
            "ready; memory of the guest is low on {}: remove state, or raise the limit with `oarlock settings set memory_bytes=BYTES`\n",
            low.join(", ")
        )
    })
}
