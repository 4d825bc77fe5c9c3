//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::extract::State;

use super::app::App;
use super::error::ApiError;

/// 200 while the process runs.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// 200 if the node has a leader, has caught up with it, and is not quarantined; else 503.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    if app.auditor.is_quarantined() {
        return Err(ApiError::quarantined());
    }
    if app.raft.status().leader.is_none() {
        return Err(ApiError::no_leader());
    }
    if !app.readiness.has_caught_up() {
        return Err(ApiError::not_ready());
    }
    Ok("ready\n")
}
