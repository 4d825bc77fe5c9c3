//! Clocks, and the time of the log.

use super::super::check::{Check, Hit, duration, each_node};
use super::super::facts::{NodeAnswer, NodeSeen};
use super::super::finding::FindingSeverity::{Notice, Warning};
use super::super::view::ClusterView;

/// How far two clocks may be apart, in milliseconds.
const APART_MS: i64 = 1_000;
/// After this time a node with a leader should know the clocks of the others.
const UNKNOWN_AFTER_MS: u64 = 60_000;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "clock-skewed",
        severity: Warning,
        condition: "The clock of a node differs from those of the majority by more than `--max-clock-skew-ms`.",
        why: "The node does not lead while another one can.",
        remedy: "Correct the clock, and keep it correct with NTP.",
        examine: clock_skewed,
    },
    Check {
        id: "clocks-apart",
        severity: Warning,
        condition: "The clocks of two nodes differ by more than a second.",
        why: "Certificates, tokens and logs use these clocks. Without a majority, no node can notice it by itself.",
        remedy: "Correct the clocks, and keep them correct with NTP.",
        examine: clocks_apart,
    },
    Check {
        id: "log-time-ahead",
        severity: Warning,
        condition: "The time of the log is ahead of the clocks of the majority.",
        why: "A majority of clocks was wrong. Delays and leases that were set then end earlier than meant.",
        remedy: "Nothing: the time of the log goes on at normal speed until the clocks have caught up. Keep the clocks correct with NTP.",
        examine: log_time_ahead,
    },
    Check {
        id: "clock-unknown",
        severity: Notice,
        condition: "A node with a leader does not know the clocks of the others.",
        why: "It can't tell whether its own clock is right.",
        remedy: "It needs the reports of a majority of the voters: check that they run and reach each other.",
        examine: clock_unknown,
    },
];

fn clock_skewed(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let clock = node.status.clock;
        let offset = clock.offset_ms.unwrap_or(0);
        let side = if offset < 0 { "behind" } else { "ahead of" };
        clock.skewed.then(|| {
            let off = duration(offset.unsigned_abs());
            Hit::seen(format!("its clock is {off} {side} the majority"))
        })
    })
}

/// The clock of a node minus that of the one who examines: the least and the greatest possible difference.
fn offset(seen: &NodeSeen) -> Option<(&str, i64, i64)> {
    let NodeAnswer::Facts(facts) = &seen.answer else {
        return None;
    };
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let time = signed(facts.time_ms);
    let (asked, answered) = seen.asked_ms?;
    let id = facts.status.node_id.as_str();
    Some((id, time - signed(answered), time - signed(asked)))
}

fn clocks_apart(view: &ClusterView<'_>) -> Vec<Hit> {
    let offsets: Vec<_> = view.facts.nodes.iter().filter_map(offset).collect();
    let slowest = offsets.iter().min_by_key(|(_, _, most)| *most);
    let fastest = offsets.iter().max_by_key(|(_, least, _)| *least);
    let (Some((slow, _, most)), Some((fast, least, _))) = (slowest, fastest) else {
        return Vec::new();
    };
    let apart = least.saturating_sub(*most);
    if apart <= APART_MS {
        return Vec::new();
    }
    let by = duration(apart.unsigned_abs());
    let seen = format!("the clock of {fast} is at least {by} ahead of that of {slow}");
    vec![Hit::seen(seen).of([*slow, *fast])]
}

fn log_time_ahead(view: &ClusterView<'_>) -> Vec<Hit> {
    let ahead = view.nodes.iter().map(|node| node.status.clock.ahead_ms);
    match ahead.max() {
        Some(ahead @ 1..) => {
            let seen = format!("the time of the log is {} ahead", duration(ahead));
            vec![Hit::seen(seen)]
        }
        _ => Vec::new(),
    }
}

fn clock_unknown(view: &ClusterView<'_>) -> Vec<Hit> {
    let has_others = view.voters().len() > 1;
    each_node(view, |node| {
        let status = &node.status;
        let has_time = status.uptime_ms >= UNKNOWN_AFTER_MS;
        let is_unknown = status.clock.offset_ms.is_none() && status.leader_id.is_some();
        (has_others && has_time && is_unknown)
            .then(|| Hit::seen("it has no reports of the clocks of a majority"))
    })
}
