//! What is made from the metrics: rules for alerts, and a dashboard.

mod alerts;
mod grafana;
mod names;
