//! Counts requests by route and status, and measures their duration.
//!
//! A request needs no lookup by label: route and status are indexes into tables of counters. Each counter is created
//! when it is first needed.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::StatusCode;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Registry};

use super::register::{counter_vec, register};

/// Values of the label `route`. The last one stands for paths that no route has.
pub(crate) const ROUTES: [&str; 27] = [
    "/v1/apply",
    "/v1/query",
    "/v1/status",
    "/v1/state-machine",
    "/v1/snapshot",
    "/v1/upgrades",
    "/v1/events",
    "/v1/schema",
    "/v1/logs",
    "/v1/doctor",
    "/v1/members",
    "/v1/members/{id}",
    "/v1/members/{id}/promote",
    "/v1/leader/transfer",
    "/v1/settings",
    "/v1/settings/raise-level",
    "/v1/operations",
    "/v1/audit",
    "/v1/audit/accept",
    "/v1/backup",
    "/v1/entries",
    "/v1/openapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
    "/",
    "other",
];

/// Values of the label `status`. The last one stands for all other statuses.
const STATUSES: [&str; 19] = [
    "200", "400", "401", "403", "404", "405", "409", "410", "413", "415", "421", "422", "429",
    "500", "501", "503", "504", "507", "other",
];

/// Upper bounds of the histogram's buckets, in seconds: from a fast commit on one node to beyond the default timeout.
const BUCKETS: [f64; 16] = [
    0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0,
    16.0,
];

/// An index into [`ROUTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HttpRoute(usize);

/// The metrics of the HTTP server.
pub(crate) struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    routes: [RouteMetrics; ROUTES.len()],
}

/// Whether a path belongs to a route. A part in braces stands for any text.
fn is_path_of(route: &str, path: &str) -> bool {
    if !route.contains('{') {
        return route == path;
    }
    let (mut wanted, mut found) = (route.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

#[derive(Default)]
struct RouteMetrics {
    seconds: OnceLock<Histogram>,
    requests: [OnceLock<IntCounter>; STATUSES.len()],
}

impl HttpMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Duration of requests from the end of the head to the start of the response, in seconds.";
        let opts =
            HistogramOpts::new("oarlock_http_request_seconds", help).buckets(BUCKETS.to_vec());
        Ok(Self {
            requests: counter_vec(
                registry,
                "oarlock_http_requests_total",
                "Completed requests, by route and status.",
                &["route", "status"],
            )?,
            seconds: register(registry, HistogramVec::new(opts, &["route"])?)?,
            routes: std::array::from_fn(|_| RouteMetrics::default()),
        })
    }

    /// The route of a path.
    pub(crate) fn route(&self, path: &str) -> HttpRoute {
        HttpRoute(
            ROUTES
                .iter()
                .position(|route| is_path_of(route, path))
                .unwrap_or(ROUTES.len() - 1),
        )
    }

    /// Records a completed request.
    pub(crate) fn completed(
        &self,
        HttpRoute(route): HttpRoute,
        status: StatusCode,
        took: Duration,
    ) {
        let known = STATUSES.iter().position(|known| *known == status.as_str());
        let status = known.unwrap_or(STATUSES.len() - 1);
        let metrics = &self.routes[route];
        let labels = [ROUTES[route], STATUSES[status]];
        metrics.requests[status]
            .get_or_init(|| self.requests.with_label_values(&labels))
            .inc();
        let seconds = metrics
            .seconds
            .get_or_init(|| self.seconds.with_label_values(&labels[..1]));
        seconds.observe(took.as_secs_f64());
    }
}
