//! The metrics of a node, for Prometheus. `host/docs/metrics.md` lists all of them; a test compares this list with the
//! response of a node.

mod http;
pub(crate) mod openmetrics;
mod register;
mod sample;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use oarlock_wasm::GuestFailure;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};

#[cfg(test)]
pub(crate) use http::ROUTES;
pub(crate) use http::{HttpMetrics, HttpRoute};
use register::{counter, counter_vec, gauge, gauge_vec};
use sample::Sampled;
pub(crate) use sample::{QueryTurnCounts, Sample};

use crate::archive_streams::ArchiveCounts;

/// All metrics of a node. Nodes in the same process have separate metrics.
pub(crate) struct Metrics {
    registry: Registry,
    /// Commands that clients sent to this node.
    pub(crate) proposals: IntCounter,
    /// Commands from clients of this node that the guest rejected.
    pub(crate) refusals: IntCounter,
    guest_failures: IntCounterVec,
    connections: IntGauge,
    /// Open streams of `GET /v1/events`.
    pub(crate) event_listeners: IntGauge,
    archive_streams: IntGauge,
    archive_lag: IntGauge,
    archive_entries: IntCounter,
    /// Connections that were closed because of `HttpSettings::max_connections`.
    pub(crate) rejected_connections: IntCounter,
    closed_connections: IntCounterVec,
    /// Bytes of replies and events that wait until clients read them.
    pub(crate) waiting_bytes: IntGauge,
    /// Bytes of streams that are on their way to connections.
    pub(crate) stream_bytes: IntGauge,
    /// 1 if the data directory was removed or replaced.
    pub(crate) data_directory_missing: IntGauge,
    /// Seconds until the certificate of this node expires. Without TLS there is no series.
    cert_expiry: IntGaugeVec,
    /// Requests by route and status, with their duration.
    pub(crate) http: HttpMetrics,
    sampled: Mutex<Sampled>,
}

/// An open connection, counted until dropped.
pub(crate) struct OpenConnection(IntGauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Creates all metrics, with the value 0.
    ///
    /// # Errors
    /// Two metrics have the same name, which is a bug.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        Ok(Self {
            proposals: counter(
                &registry,
                "oarlock_proposals_total",
                "Commands that clients sent to this node.",
            )?,
            refusals: counter(
                &registry,
                "oarlock_refusals_total",
                "Commands from clients of this node that the guest rejected.",
            )?,
            guest_failures: counter_vec(
                &registry,
                "oarlock_command_failures_total",
                "Commands from clients of this node on which the guest failed, by error code.",
                &["code"],
            )?,
            connections: gauge(
                &registry,
                "oarlock_http_connections",
                "Open client connections.",
            )?,
            event_listeners: gauge(
                &registry,
                "oarlock_event_listeners",
                "Open streams of GET /v1/events.",
            )?,
            archive_streams: gauge(
                &registry,
                "oarlock_archive_streams",
                "Open streams of GET /v1/entries.",
            )?,
            archive_lag: gauge(
                &registry,
                "oarlock_archive_lag_entries",
                "Applied entries that the archive stream which is furthest behind has not received yet; 0 without a stream.",
            )?,
            archive_entries: counter(
                &registry,
                "oarlock_archive_entries_sent_total",
                "Entries that this node has sent to archives.",
            )?,
            rejected_connections: counter(
                &registry,
                "oarlock_http_connections_rejected_total",
                "Client connections that were closed because the connection limit was reached.",
            )?,
            closed_connections: counter_vec(
                &registry,
                "oarlock_http_connections_closed_total",
                "Client connections that this node has closed, by reason.",
                &["reason"],
            )?,
            waiting_bytes: gauge(
                &registry,
                "oarlock_http_waiting_bytes",
                "Bytes of replies and events that wait until clients read them.",
            )?,
            stream_bytes: gauge(
                &registry,
                "oarlock_http_stream_turn_bytes",
                "Bytes of events and log lines on their way to connections, which are sent in turn.",
            )?,
            data_directory_missing: gauge(
                &registry,
                "oarlock_data_directory_missing",
                "1 if the data directory was removed or replaced while this node runs. An alarm.",
            )?,
            cert_expiry: gauge_vec(
                &registry,
                "oarlock_cert_expiry_seconds",
                "Seconds until a certificate of this node expires.",
                &["certificate"],
            )?,
            http: HttpMetrics::new(&registry)?,
            sampled: Mutex::new(Sampled::new(&registry)?),
            registry,
        })
    }

    /// Sets the seconds until the certificate of this node expires, and the first of its authorities.
    pub(crate) fn set_cert_expiry(&self, node: i64, authority: i64) {
        self.cert_expiry.with_label_values(&["node"]).set(node);
        self.cert_expiry.with_label_values(&["ca"]).set(authority);
    }

    /// Sets what the streams of entries have sent.
    pub(crate) fn set_archives(&self, counts: ArchiveCounts) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.archive_streams.set(number(counts.streams));
        self.archive_lag.set(number(counts.lag));
        self.archive_entries.reset();
        self.archive_entries.inc_by(counts.sent);
    }

    /// Sets how many connections this node has closed for a reason.
    pub(crate) fn set_closed_connections(&self, reason: &str, connections: u64) {
        let counter = self.closed_connections.with_label_values(&[reason]);
        counter.reset();
        counter.inc_by(connections);
    }

    /// Open connections of clients.
    pub(crate) fn open_connections(&self) -> u64 {
        u64::try_from(self.connections.get()).unwrap_or(0)
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// The counter for a kind of guest failure.
    pub(crate) fn guest_failures(&self, failure: &GuestFailure) -> IntCounter {
        self.guest_failures.with_label_values(&[failure.code()])
    }

    /// Updates the sampled metrics, and returns all metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// A metric can't be encoded, which is a bug.
    pub(crate) fn render(&self, sample: &Sample<'_>) -> Result<String, prometheus::Error> {
        // The lock prevents that two requests mix their samples. A panic under it leaves only plain numbers.
        let sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        sampled.set(sample);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
