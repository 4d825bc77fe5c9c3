//! `host/docs/grafana.json`: a dashboard for Grafana, made from a table.
//!
//! To write it again: `OARLOCK_UPDATE_DOCS=1 cargo test --workspace --bin oarlock -- made_from_the_table`

use serde_json::{Value, json};

use super::names::{check_query, compare};

/// A graph: title, unit of Grafana, and queries with the legend of each.
type Panel = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const PANELS: [Panel; 16] = [
    (
        "Commands and queries",
        "reqps",
        &[
            (
                "sum(rate(oarlock_http_requests_total{route=\"/v1/apply\"}[$__rate_interval])) by (status)",
                "commands {{status}}",
            ),
            (
                "sum(rate(oarlock_http_requests_total{route=\"/v1/query\"}[$__rate_interval])) by (status)",
                "queries {{status}}",
            ),
        ],
    ),
    (
        "Latency of commands",
        "s",
        &[
            (
                "histogram_quantile(0.5, sum(rate(oarlock_http_request_seconds_bucket{route=\"/v1/apply\"}[$__rate_interval])) by (le))",
                "p50",
            ),
            (
                "histogram_quantile(0.99, sum(rate(oarlock_http_request_seconds_bucket{route=\"/v1/apply\"}[$__rate_interval])) by (le))",
                "p99",
            ),
        ],
    ),
    (
        "Ready, and with a leader",
        "short",
        &[
            ("oarlock_ready", "ready {{instance}}"),
            ("oarlock_raft_has_leader", "has a leader {{instance}}"),
        ],
    ),
    (
        "Role",
        "short",
        &[("oarlock_raft_role == 1", "{{instance}} {{role}}")],
    ),
    ("Term", "short", &[("oarlock_raft_term", "{{instance}}")]),
    (
        "Lag of members",
        "short",
        &[("oarlock_raft_peer_lag_entries", "{{peer}}")],
    ),
    (
        "Entries that are not applied",
        "short",
        &[(
            "oarlock_raft_commit_index - oarlock_raft_applied_index",
            "{{instance}}",
        )],
    ),
    (
        "Entries in the log",
        "short",
        &[(
            "oarlock_raft_last_log_index - oarlock_raft_first_log_index",
            "{{instance}}",
        )],
    ),
    (
        "Durable writes",
        "wps",
        &[(
            "rate(oarlock_log_writes_total[$__rate_interval])",
            "{{instance}}",
        )],
    ),
    (
        "Mean duration of a durable write",
        "µs",
        &[(
            "rate(oarlock_log_write_microseconds_total[$__rate_interval]) / rate(oarlock_log_writes_total[$__rate_interval])",
            "{{instance}}",
        )],
    ),
    (
        "Memory of the guest",
        "bytes",
        &[
            ("oarlock_guest_memory_bytes", "{{instance}}"),
            ("max(oarlock_guest_memory_limit_bytes)", "limit"),
        ],
    ),
    (
        "Failures of the guest",
        "short",
        &[(
            "max(increase(oarlock_guest_failures_total[$__rate_interval]))",
            "failures",
        )],
    ),
    (
        "Queries",
        "short",
        &[
            ("oarlock_queries_running", "running {{instance}}"),
            ("oarlock_queries_waiting", "waiting {{instance}}"),
        ],
    ),
    (
        "Offset of the clock",
        "ms",
        &[("oarlock_clock_offset_milliseconds", "{{instance}}")],
    ),
    (
        "Traffic between nodes",
        "Bps",
        &[
            (
                "rate(oarlock_peer_bytes_sent_total[$__rate_interval])",
                "sent {{instance}}",
            ),
            (
                "rate(oarlock_peer_bytes_received_total[$__rate_interval])",
                "received {{instance}}",
            ),
        ],
    ),
    (
        "Connections of clients",
        "short",
        &[("oarlock_http_connections", "{{instance}}")],
    ),
];

const WIDTH: usize = 12;
const HEIGHT: usize = 8;

fn dashboard() -> Value {
    let source = json!({"type": "prometheus", "uid": "${source}"});
    let panels = PANELS
        .iter()
        .enumerate()
        .map(|(at, (title, unit, queries))| {
            let targets = queries.iter().enumerate().map(|(number, (query, legend))| {
            json!({
                "datasource": source,
                "expr": query,
                "legendFormat": legend,
                "refId": char::from(b'A' + u8::try_from(number).expect("few queries")).to_string(),
            })
        });
            json!({
                "id": at + 1,
                "type": "timeseries",
                "title": title,
                "datasource": source,
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "gridPos": {"x": at % 2 * WIDTH, "y": at / 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
                "targets": targets.collect::<Vec<_>>(),
            })
        });
    json!({
        "uid": "oarlock",
        "title": "Oarlock",
        "description": "Made from the table in host/server/src/metrics/tests/grafana.rs.",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]},
        "panels": panels.collect::<Vec<_>>(),
    })
}

#[test]
fn the_dashboard_for_grafana_is_made_from_the_table() {
    let text = serde_json::to_string_pretty(&dashboard()).expect("JSON");
    compare("grafana.json", &format!("{text}\n"));
}

#[test]
fn each_graph_reads_metrics_that_exist() {
    for (_, _, queries) in &PANELS {
        for (query, _) in *queries {
            check_query(query);
        }
    }
}
