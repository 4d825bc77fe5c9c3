//! Formats the status as a table or JSON.

use std::fmt::Write;

use oarlock_client::{Endpoint, NodeRole};
use serde_json::{Value, json};

use super::gather::{ClusterReport, Health, NodeReport};
use crate::command::output::print_safely;
use crate::command::table::{Align, Table, Tone};

const COLUMNS: [(&str, Align); 9] = [
    ("NODE", Align::Left),
    ("ROLE", Align::Left),
    ("TERM", Align::Right),
    ("COMMIT", Align::Right),
    ("APPLIED", Align::Right),
    ("LAG", Align::Right),
    ("MODULE", Align::Left),
    ("HEALTH", Align::Left),
    ("ADDRESS", Align::Left),
];

/// The cluster as a table.
pub(crate) fn as_text(cluster: &ClusterReport) -> String {
    let mut table = Table::new(&COLUMNS);
    for node in &cluster.nodes {
        table.row(row(cluster, node));
    }
    let mut text = table.render();
    if let Some(ahead) = log_time_ahead(cluster) {
        let _ = writeln!(
            text,
            "the time of the log is {ahead} ahead of the clocks of the nodes: it goes on from there at normal speed"
        );
    }
    text
}

fn row(cluster: &ClusterReport, node: &NodeReport) -> Vec<(String, Tone)> {
    let plain = |text: &str| (print_safely(text).into_owned(), Tone::Plain);
    let (health, tone) = health(node);
    let mut cells = vec![plain(node.node_id.as_deref().unwrap_or("?"))];
    match &node.status {
        Some(status) => {
            let role_tone = if status.role == NodeRole::Leader {
                Tone::Good
            } else {
                Tone::Plain
            };
            cells.push((status.role.to_string(), role_tone));
            let numbers = [
                status.term,
                status.commit_index,
                status.applied_index,
                cluster.lag(status),
            ];
            cells.extend(numbers.map(|number| (number.to_string(), Tone::Plain)));
            cells.push(plain(&format!(
                "{} v{}",
                status.state_machine.name, status.state_machine.version
            )));
        }
        None => cells.extend((0..6).map(|_| plain("-"))),
    }
    cells.push((print_safely(&health).into_owned(), tone));
    cells.push(plain(
        node.endpoint
            .as_ref()
            .map_or("-", |endpoint| endpoint.as_str()),
    ));
    cells
}

fn health(node: &NodeReport) -> (String, Tone) {
    match &node.health {
        Health::Ready => match warnings(node) {
            warnings if warnings.is_empty() => ("ok".to_owned(), Tone::Good),
            warnings => (warnings.join(", "), Tone::Attention),
        },
        Health::NotReady => ("not ready".to_owned(), Tone::Attention),
        Health::Quarantined { given_up: false } => (
            "diverged: reinstalling from the leader".to_owned(),
            Tone::Bad,
        ),
        Health::Quarantined { given_up: true } => {
            ("diverged: operator action needed".to_owned(), Tone::Bad)
        }
        Health::NoMember => ("not a member".to_owned(), Tone::Attention),
        Health::Unreachable(reason) => (format!("unreachable: {reason}"), Tone::Bad),
        Health::NoAddress => ("unreachable: client address unknown".to_owned(), Tone::Bad),
    }
}

/// What needs attention although the node is ready.
fn warnings(node: &NodeReport) -> Vec<String> {
    let memory = is_memory_low(node).then(|| "memory low".to_owned());
    memory.into_iter().chain(clock_skew(node)).collect()
}

/// How far the clock of the node is outside of the bound.
fn clock_skew(node: &NodeReport) -> Option<String> {
    let clock = node.status.as_ref()?.other.get("clock")?;
    let offset_ms = clock["offset_ms"].as_i64()?;
    let side = if offset_ms < 0 { "behind" } else { "ahead" };
    let is_skewed = clock["skewed"] == true;
    is_skewed.then(|| format!("clock {} {side}", seconds(offset_ms.unsigned_abs())))
}

/// The largest difference that a node reports between the time of the log and the clocks, if it is an alarm.
fn log_time_ahead(cluster: &ClusterReport) -> Option<String> {
    let clocks = cluster
        .statuses()
        .filter_map(|status| status.other.get("clock"));
    let ahead_ms = clocks
        .filter_map(|clock| clock["ahead_ms"].as_u64())
        .max()?;
    (ahead_ms > 0).then(|| seconds(ahead_ms))
}

/// Milliseconds as seconds.
fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Whether the node is among those that have reported low memory.
fn is_memory_low(node: &NodeReport) -> bool {
    let status = node.status.as_ref();
    let memory = status.and_then(|status| status.other.get("memory"));
    let low = memory.and_then(|memory| memory["low_nodes"].as_array());
    low.is_some_and(|low| {
        low.iter()
            .any(|id| id.as_str().is_some() && id.as_str() == node.node_id.as_deref())
    })
}

/// One line for each node that did not respond.
pub(super) fn unreachable(cluster: &ClusterReport) -> String {
    let mut text = String::new();
    for node in &cluster.nodes {
        if let (Health::Unreachable(reason), Some(endpoint)) = (&node.health, &node.endpoint) {
            let _ = writeln!(text, "  {endpoint}: {}", print_safely(reason));
        }
    }
    text
}

/// The cluster as JSON. `status` is the node's response, including fields unknown to this version.
pub(super) fn as_json(cluster: &ClusterReport) -> Value {
    let nodes: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| node_json(cluster, node))
        .collect();
    json!({ "leader_id": cluster.leader_id(), "nodes": nodes })
}

fn node_json(cluster: &ClusterReport, node: &NodeReport) -> Value {
    let (health, error) = match &node.health {
        Health::Ready => ("ok", None),
        Health::NotReady => ("not_ready", None),
        Health::Quarantined { .. } => ("quarantined", None),
        Health::NoMember => ("no_member", None),
        Health::Unreachable(reason) => ("unreachable", Some(reason.as_str())),
        Health::NoAddress => ("unreachable", Some("client address unknown")),
    };
    json!({
        "node_id": node.node_id,
        "endpoint": node.endpoint.as_ref().map(Endpoint::as_str),
        "health": health,
        "error": error,
        "lag": node.status.as_ref().map(|status| cluster.lag(status)),
        "status": node.status,
    })
}
