//! What a node says to clients over HTTP/1.1 and HTTP/2: the routes of the contract.
//!
//! | module | what it does |
//! |---|---|
//! | [`serve`] | accepts connections, bounds them, ends them |
//! | [`express`] | small commands and questions over HTTP/1.1, the short way |
//! | [`error`] | every error of the host as JSON |
//! | [`request`] | headers and bodies, checked |
//! | [`apply`], [`query`] | commands and questions |
//! | [`members`] | who belongs to the cluster, and who leads it |
//! | [`events`] | what the guest publishes |
//! | [`module`] | the guest's bytes, and another guest in its place |
//! | [`status`], [`snapshot`], [`health`], [`metrics`], [`dashboard`] | about the node |

mod apply;
mod dashboard;
pub(crate) mod error;
mod events;
mod express;
mod health;
mod members;
mod metrics;
mod module;
mod query;
mod request;
mod serve;
mod snapshot;
pub(crate) mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{delete, get, post};
use oarlock_wasm::{MachineLimits, StatusHandle, WasmMachine};
use task_queue_raft::Raft;

use crate::audit::Auditor;
use crate::deferred::Deferred;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::settings::HttpSettings;
use crate::settings::cluster::ClusterPeer;
use crate::upgrades::Watched;

use error::ApiError;

pub(crate) use request::BodyBudget;
pub(crate) use serve::Server;

/// What every request can reach.
pub(crate) struct App {
    /// Replication.
    pub(crate) raft: Raft<WasmMachine>,
    /// What the machine says of itself.
    pub(crate) machine: StatusHandle,
    /// Upgrades of the guest.
    pub(crate) upgrades: Watched,
    /// The nodes that the settings name.
    pub(crate) members: Vec<ClusterPeer>,
    /// Where clients reach this node.
    pub(crate) client_addr: String,
    /// What the guest may use.
    pub(crate) limits: MachineLimits,
    /// What clients may do.
    pub(crate) http: HttpSettings,
    /// How long a request waits for a leader to appear.
    pub(crate) leader_patience: Duration,
    /// When the node was started.
    pub(crate) started: Instant,
    /// Whether it has caught up.
    pub(crate) readiness: Readiness,
    /// Whether this node's state is the cluster's.
    pub(crate) auditor: Auditor,
    /// What the guest has published.
    pub(crate) events: Arc<Events>,
    /// Who waits for a late answer.
    pub(crate) deferred: Arc<Deferred>,
    /// Bodies of requests in memory.
    pub(crate) bodies: BodyBudget,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// All routes.
fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/apply", post(apply::apply))
        .route("/v1/query", post(query::query))
        .route("/v1/status", get(status::status))
        .route(
            "/v1/state-machine",
            get(module::module).post(module::upgrade),
        )
        .route("/v1/events", get(events::events))
        .route("/v1/upgrades", get(module::upgrades))
        .route("/v1/snapshot", post(snapshot::snapshot))
        .route("/v1/members", get(members::list).post(members::add))
        .route("/v1/members/{id}", delete(members::remove))
        .route("/v1/members/{id}/promote", post(members::promote))
        .route("/v1/leader/transfer", post(members::transfer))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/", get(dashboard::dashboard))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // Bodies are read and bounded in `request`.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

async fn not_found(request: Request) -> ApiError {
    ApiError::not_found(request.uri().path())
}

async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method(), request.uri().path())
}
