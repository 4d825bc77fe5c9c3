//! What the process of a node uses, and its clients.

use super::super::check::{Check, Hit, duration, each_node, size};
use super::super::finding::FindingSeverity::{Notice, Warning};
use super::super::view::ClusterView;

/// Memory, descriptors and connections are short from these parts of their limits on, in percent.
const MEMORY_PERCENT: u64 = 90;
const DESCRIPTOR_PERCENT: u64 = 80;
const CONNECTION_PERCENT: u64 = 90;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "process-memory-high",
        severity: Warning,
        condition: "The process of a node uses more than 90 % of the memory that it can get.",
        why: "At the limit the operating system kills it.",
        remedy: "Give it more memory, or lower the limits of the guest and of what waits for clients.",
        examine: process_memory_high,
    },
    Check {
        id: "descriptors-high",
        severity: Warning,
        condition: "The process of a node uses more than 80 % of its file descriptors.",
        why: "Without descriptors it can't open files or accept connections.",
        remedy: "Raise the limit of open files (`ulimit -n`, or `LimitNOFILE=` in the unit), and restart the node.",
        examine: descriptors_high,
    },
    Check {
        id: "connections-high",
        severity: Warning,
        condition: "A node has nearly as many clients as it accepts, or has refused some.",
        why: "Further clients take the places of idle ones, or are refused.",
        remedy: "Have clients share connections, or raise `--max-connections`.",
        examine: connections_high,
    },
    Check {
        id: "clients-stall",
        severity: Notice,
        condition: "Clients do not read what a node sends them.",
        why: "Replies wait in the memory of the node until it closes these connections.",
        remedy: "Find the clients in the log of the node.",
        examine: clients_stall,
    },
    Check {
        id: "queries-overloaded",
        severity: Warning,
        condition: "A node refuses queries, because too many wait.",
        why: "The clients get `overloaded` and have to send them again.",
        remedy: "Make queries cheaper, send them to all nodes, or give the node more processors.",
        examine: queries_overloaded,
    },
];

/// Whether `used` is at least so many percent of `limit`.
fn is_high(used: u64, limit: u64, percent: u64) -> bool {
    limit > 0 && used >= limit / 100 * percent + limit % 100 * percent / 100
}

fn process_memory_high(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let used = node.process.memory_bytes?;
        let limit = node.process.memory_limit_bytes?;
        is_high(used, limit, MEMORY_PERCENT).then(|| {
            let seen = format!("{} of {} are used", size(used), size(limit));
            Hit::seen(seen).command("oarlock settings show")
        })
    })
}

fn descriptors_high(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let used = node.process.descriptors?;
        let limit = node.process.descriptor_limit?;
        is_high(used, limit, DESCRIPTOR_PERCENT)
            .then(|| Hit::seen(format!("{used} of {limit} file descriptors are open")))
    })
}

fn connections_high(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let (used, most) = (node.access.connections, node.access.max_connections);
        let rejected = node.recent.rejected_connections;
        (is_high(used, most, CONNECTION_PERCENT) || rejected > 0).then(|| {
            Hit::seen(format!(
                "{used} of at most {most} connections, {rejected} refused in {}",
                duration(node.recent.window_ms)
            ))
        })
    })
}

fn clients_stall(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let stalled = node.recent.stalled_clients;
        (stalled > 0).then(|| {
            let window = duration(node.recent.window_ms);
            let id = &node.status.node_id;
            Hit::seen(format!("{stalled} connections were closed in {window}"))
                .command(format!("oarlock logs --node {id} --source node"))
        })
    })
}

fn queries_overloaded(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let refused = node.recent.overloaded_queries;
        (refused > 0).then(|| {
            let window = duration(node.recent.window_ms);
            Hit::seen(format!("{refused} queries in {window}"))
        })
    })
}
