//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::extract::State;

use super::App;
use super::error::ApiError;

/// The process is alive: it answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// It has a leader and has caught up with it.
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
