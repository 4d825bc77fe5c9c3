//! A table of what the nodes do, from two measurements.

use serde::Serialize;
use serde_json::{Value, json};

use super::measure::{MeasuredNode, Measurement};
use crate::command::output::print_safely;
use crate::command::table::{Align, Table, Tone};
use crate::doctor::facts::NodeAnswer;

const COLUMNS: [(&str, Align); 13] = [
    ("NODE", Align::Left),
    ("ROLE", Align::Left),
    ("TERM", Align::Right),
    ("APPLIED/s", Align::Right),
    ("COMMANDS/s", Align::Right),
    ("QUERIES/s", Align::Right),
    ("P50 ms", Align::Right),
    ("P99 ms", Align::Right),
    ("LAG", Align::Right),
    ("GUEST MiB", Align::Right),
    ("MEMORY MiB", Align::Right),
    ("DISK ms", Align::Right),
    ("FREE GiB", Align::Right),
];

/// What one node does. Rates are per second, times in milliseconds; `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct NodeRow {
    pub(super) node_id: Option<String>,
    pub(super) endpoint: Option<String>,
    /// Why the node has no values.
    pub(super) error: Option<String>,
    pub(super) role: Option<String>,
    pub(super) ready: Option<bool>,
    pub(super) term: Option<u64>,
    pub(super) applied_per_second: Option<f64>,
    pub(super) commands_per_second: Option<f64>,
    pub(super) queries_per_second: Option<f64>,
    /// Of commands of this node's clients.
    pub(super) latency_p50_ms: Option<f64>,
    pub(super) latency_p99_ms: Option<f64>,
    /// Committed entries of the cluster that the node has not applied.
    pub(super) lag: Option<u64>,
    pub(super) guest_memory_bytes: Option<u64>,
    pub(super) process_memory_bytes: Option<u64>,
    /// Mean durable write of the last minutes.
    pub(super) disk_write_ms: Option<f64>,
    pub(super) disk_free_bytes: Option<u64>,
}

/// What all nodes do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows(pub(super) Vec<NodeRow>);

impl Rows {
    /// What happened between two measurements.
    pub(super) fn between(before: &Measurement, now: &Measurement) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let committed = now.nodes.iter().filter_map(|node| node.seen.facts());
        let committed = committed.map(|facts| facts.status.commit_index).max();
        let rows = now.nodes.iter().map(|node| {
            let earlier = before.node(&node.seen);
            row(node, earlier, committed.unwrap_or(0), seconds)
        });
        Self(rows.collect())
    }

    /// For people.
    pub(super) fn as_text(&self) -> String {
        let mut table = Table::new(&COLUMNS);
        for row in &self.0 {
            table.row(cells(row));
        }
        table.render()
    }

    /// For programs.
    pub(super) fn as_json(&self) -> Value {
        json!({ "nodes": self.0 })
    }
}

fn row(
    node: &MeasuredNode,
    earlier: Option<&MeasuredNode>,
    committed: u64,
    seconds: f64,
) -> NodeRow {
    let named = NodeRow {
        node_id: node.seen.node_id.clone(),
        endpoint: node.seen.endpoint.clone(),
        ..NodeRow::default()
    };
    let facts = match &node.seen.answer {
        NodeAnswer::Facts(facts) => facts,
        NodeAnswer::Unreachable(reason) | NodeAnswer::Refused(reason) => {
            return NodeRow {
                error: Some(reason.clone()),
                ..named
            };
        }
        NodeAnswer::NoAddress => {
            return NodeRow {
                error: Some("client address unknown".to_owned()),
                ..named
            };
        }
    };
    let status = &facts.status;
    let rate = |count: f64| (seconds > 0.0).then(|| (count / seconds).max(0.0));
    let before = earlier.and_then(|earlier| earlier.seen.facts());
    let applied = before.and_then(|before| {
        let entries = status
            .applied_index
            .saturating_sub(before.status.applied_index);
        rate(entries as f64)
    });
    let series = node.series.as_ref();
    let both = series.zip(earlier.and_then(|earlier| earlier.series.as_ref()));
    let requests =
        |route| both.and_then(|(now, before)| rate(now.requests(route) - before.requests(route)));
    let latency = both.map(|(now, before)| now.latency_since(before, "/v1/apply"));
    let quantile = |part| {
        latency
            .as_ref()
            .and_then(|latency| latency.quantile_ms(part))
    };
    NodeRow {
        role: Some(status.role.clone().into_owned()),
        ready: Some(status.ready),
        term: Some(status.term),
        applied_per_second: applied,
        commands_per_second: requests("/v1/apply"),
        queries_per_second: requests("/v1/query"),
        latency_p50_ms: quantile(0.5),
        latency_p99_ms: quantile(0.99),
        lag: Some(committed.saturating_sub(status.applied_index)),
        guest_memory_bytes: Some(status.memory.bytes),
        process_memory_bytes: facts.process.memory_bytes,
        disk_write_ms: (facts.recent.log_writes > 0)
            .then(|| facts.recent.mean_write_us as f64 / 1000.0),
        disk_free_bytes: facts.disk.space.map(|space| space.free_bytes),
        ..named
    }
}

fn cells(row: &NodeRow) -> Vec<(String, Tone)> {
    let name = row.node_id.as_deref().or(row.endpoint.as_deref());
    let name = print_safely(name.unwrap_or("?")).into_owned();
    let mut cells = vec![(name, Tone::Plain)];
    if let Some(error) = &row.error {
        cells.push((print_safely(error).into_owned(), Tone::Bad));
        return cells;
    }
    let role = row.role.as_deref().unwrap_or("-");
    let tone = match (row.ready, role) {
        (Some(false), _) => Tone::Attention,
        (_, "leader") => Tone::Good,
        _ => Tone::Plain,
    };
    cells.push((role.to_owned(), tone));
    let whole = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let tenths = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let shifted = |value: Option<u64>, bits: u32| whole(value.map(|value| value >> bits));
    let values = [
        whole(row.term),
        tenths(row.applied_per_second),
        tenths(row.commands_per_second),
        tenths(row.queries_per_second),
        tenths(row.latency_p50_ms),
        tenths(row.latency_p99_ms),
        whole(row.lag),
        shifted(row.guest_memory_bytes, 20),
        shifted(row.process_memory_bytes, 20),
        tenths(row.disk_write_ms),
        shifted(row.disk_free_bytes, 30),
    ];
    cells.extend(values.map(|value| (value, Tone::Plain)));
    cells
}
