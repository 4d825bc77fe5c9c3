//! What a node counts, for Prometheus. `host/docs/metrics.md` lists all of it; a test compares the two.

mod http;
mod sample;

use std::sync::Mutex;

use oarlock_wasm::GuestFailure;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

pub(crate) use http::{HttpMetrics, Route};
use sample::Sampled;

/// All metrics of a node. Each node has its own, also where several run in one process.
pub(crate) struct Metrics {
    registry: Registry,
    /// Commands that clients sent to this node.
    pub(crate) proposals: IntCounter,
    /// Commands of this node's clients that the guest refused.
    pub(crate) refusals: IntCounter,
    guest_failures: IntCounterVec,
    connections: IntGauge,
    /// Clients that listen to events.
    pub(crate) event_listeners: IntGauge,
    /// Connections that were closed because there were too many.
    pub(crate) rejected_connections: IntCounter,
    /// Requests by route and status.
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
    /// All at zero.
    ///
    /// # Errors
    /// Two have one name, which is a bug.
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
                "Commands of this node's clients that the guest refused.",
            )?,
            guest_failures: counter_vec(
                &registry,
                "oarlock_command_failures_total",
                "Commands of this node's clients at which the guest failed, by code.",
                &["code"],
            )?,
            connections: gauge(
                &registry,
                "oarlock_http_connections",
                "Connections of clients that are open.",
            )?,
            event_listeners: gauge(
                &registry,
                "oarlock_event_listeners",
                "Clients that listen at /v1/events.",
            )?,
            rejected_connections: counter(
                &registry,
                "oarlock_http_connections_rejected_total",
                "Connections that were closed at once because there were too many.",
            )?,
            http: HttpMetrics::new(&registry)?,
            sampled: Mutex::new(Sampled::new(&registry)?),
            registry,
        })
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// Commands at which the guest failed in this way.
    pub(crate) fn guest_failures(&self, failure: &GuestFailure) -> IntCounter {
        self.guest_failures.with_label_values(&[failure.code()])
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    register(registry, IntCounter::new(name, help)?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    register(registry, IntGauge::new(name, help)?)
}

fn counter_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauge_vec(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
}
