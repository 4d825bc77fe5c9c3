//! `GET /metrics`: counters and gauges in the text format of Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus::TEXT_FORMAT;
use time::OffsetDateTime;

use super::app::App;
use super::connection_table::CloseReason;
use super::error::ApiError;
use crate::metrics::Sample;

pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let status = app.status();
    let raft = app.raft.status();
    let (network, disk) = (app.raft.network(), app.raft.disk());
    let listeners = i64::try_from(app.events.listeners()).unwrap_or(i64::MAX);
    app.metrics.event_listeners.set(listeners);
    let waiting = i64::try_from(app.connections.waiting()).unwrap_or(i64::MAX);
    app.metrics.waiting_bytes.set(waiting);
    let in_turn = i64::try_from(app.stream_turns.in_turn()).unwrap_or(i64::MAX);
    app.metrics.stream_bytes.set(in_turn);
    let archives = app.archives.counts(raft.applied.0);
    app.metrics.set_archives(archives);
    for reason in CloseReason::ALL {
        let closed = app.connections.closed(reason);
        app.metrics.set_closed_connections(reason.name(), closed);
    }
    if let Some(tls) = &app.tls {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let tls = tls.current();
        app.metrics
            .set_cert_expiry(tls.expires_at() - now, tls.authorities_expire_at() - now);
    }
    let (machine, upgrades) = (app.machine.get(), app.upgrades.now());
    let text = app.metrics.render(&Sample {
        status: &status,
        raft: &raft,
        machine: &machine,
        upgrades: &upgrades,
        network: network.as_deref(),
        disk: disk.as_deref(),
        log: app.log.counts(),
        turns: app.query_gate.counts(),
    });
    let text =
        text.map_err(|error| ApiError::internal(format!("cannot encode the metrics: {error}")))?;
    Ok((
        [(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT))],
        text,
    )
        .into_response())
}
