//! The table of routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{delete, get, post};

use super::app::App;
use super::error::ApiError;
use super::{
    apply, audit, dashboard, events, health, members, metrics, query, settings, snapshot, status,
    upgrade,
};

/// All routes of the API, with JSON errors for unknown paths and methods.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/apply", post(apply::apply))
        .route("/v1/query", post(query::query))
        .route("/v1/status", get(status::status))
        .route(
            "/v1/state-machine",
            get(upgrade::module).post(upgrade::upgrade),
        )
        .route("/v1/events", get(events::events))
        .route("/v1/upgrades", get(upgrade::upgrades))
        .route("/v1/snapshot", post(snapshot::snapshot))
        .route("/v1/members", get(members::list).post(members::add))
        .route("/v1/members/{id}", delete(members::remove))
        .route("/v1/members/{id}/promote", post(members::promote))
        .route("/v1/leader/transfer", post(members::transfer))
        .route("/v1/settings", get(settings::show).post(settings::change))
        .route("/v1/settings/raise-level", post(settings::raise_level))
        .route("/v1/audit", get(audit::show))
        .route("/v1/audit/accept", post(audit::accept))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/", get(dashboard::dashboard))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // `request` reads bodies and enforces their limit.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

async fn not_found(request: Request) -> ApiError {
    ApiError::not_found(request.uri().path())
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method(), request.uri().path())
}
