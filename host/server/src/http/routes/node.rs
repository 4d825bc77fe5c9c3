//! Routes of this node: status, snapshot, health, metrics and dashboard.

use axum::routing::{get, post};
use schemars::SchemaGenerator;

use super::headers::TIMEOUT;
use crate::http::error_code::ErrorCode as E;
use crate::http::reference::{BodySpec, Repeat, ReplySpec, RouteSpec};
use crate::http::snapshot::SnapshotTaken;
use crate::http::{dashboard, health, metrics, snapshot, status};
use crate::status::NodeStatus;

/// A route without parameters and body that changes nothing.
const fn read_only(
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    reply: ReplySpec,
    handler: fn() -> axum::routing::MethodRouter<std::sync::Arc<crate::http::app::App>>,
) -> RouteSpec {
    RouteSpec {
        method: "GET",
        path,
        name,
        summary,
        details: "",
        handler,
        parameters: &[],
        headers: &[],
        body: BodySpec::None,
        reply,
        reply_headers: &[],
        errors: &[],
        repeat: Repeat::ReadOnly,
    }
}

pub(super) const ROUTES: &[RouteSpec] = &[
    read_only(
        "/v1/status",
        "status",
        "Show the status of this node.",
        ReplySpec::Json(SchemaGenerator::subschema_for::<NodeStatus>),
        || get(status::status),
    ),
    RouteSpec {
        method: "POST",
        path: "/v1/snapshot",
        name: "takeSnapshot",
        summary: "Take a snapshot of the state on this node.",
        details: "The response comes once a snapshot has all entries that were applied when the request arrived.",
        handler: || post(snapshot::snapshot),
        parameters: &[],
        headers: &[&TIMEOUT],
        body: BodySpec::None,
        reply: ReplySpec::Json(SchemaGenerator::subschema_for::<SnapshotTaken>),
        reply_headers: &[],
        errors: &[E::Malformed, E::Timeout],
        repeat: Repeat::Idempotent,
    },
    read_only(
        "/healthz",
        "alive",
        "Respond while the process runs.",
        ReplySpec::Other {
            media_type: "text/plain; charset=utf-8",
            meaning: "`alive`",
        },
        || get(health::alive),
    ),
    RouteSpec {
        details: "Low memory does not make a node unready; the text says so then.",
        errors: &[E::NoLeader, E::NotReady, E::Quarantined],
        ..read_only(
            "/readyz",
            "ready",
            "Respond with 200 if this node has a leader, has caught up with it and is not quarantined.",
            ReplySpec::Other {
                media_type: "text/plain; charset=utf-8",
                meaning: "`ready`",
            },
            || get(health::ready),
        )
    },
    RouteSpec {
        details: "[Metrics](metrics.md) lists them.",
        errors: &[E::Internal],
        ..read_only(
            "/metrics",
            "metrics",
            "Return counters and gauges in the text format of Prometheus.",
            ReplySpec::Other {
                media_type: "text/plain; version=0.0.4",
                meaning: "The metrics.",
            },
            || get(metrics::metrics),
        )
    },
    read_only(
        "/",
        "dashboard",
        "Return the dashboard, a page that reads `/v1/status` and `/metrics` every second.",
        ReplySpec::Other {
            media_type: "text/html; charset=utf-8",
            meaning: "The page.",
        },
        || get(dashboard::dashboard),
    ),
];
