//! `GET /metrics`: counters and gauges in the text format of Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use prometheus::TEXT_FORMAT;
use time::OffsetDateTime;

use super::app::App;
use super::connection_table::CloseReason;
use super::error::ApiError;
use crate::metrics::{Sample, openmetrics};

pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
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
    let (is_there, _) = app.observations.directory.look();
    app.metrics.data_directory_missing.set((!is_there).into());
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
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let (media_type, text) = if accept.is_some_and(openmetrics::is_preferred) {
        (openmetrics::OPENMETRICS, openmetrics::of_text(&text))
    } else {
        (TEXT_FORMAT, text)
    };
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static(media_type))];
    Ok((content_type, text).into_response())
}
