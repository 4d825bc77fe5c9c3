//! Releases, the level of the cluster, and settings.

use super::super::check::{Check, Hit, each_node};
use super::super::finding::FindingSeverity::Notice;
use super::super::view::ClusterView;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "versions-differ",
        severity: Notice,
        condition: "Nodes run different releases.",
        why: "That is normal during a rolling upgrade. Until it ends, the level of the cluster can't be raised.",
        remedy: "Upgrade the other nodes, one after the other.",
        examine: versions_differ,
    },
    Check {
        id: "level-low",
        severity: Notice,
        condition: "Every node supports a higher level than the cluster has.",
        why: "What the newer level repairs and adds is not in use.",
        remedy: "Raise the level, once no node has to go back to the older release: a level is never lowered.",
        examine: level_low,
    },
    Check {
        id: "settings-differ",
        severity: Notice,
        condition: "Flags of a node differ from the settings of the cluster.",
        why: "The settings of the cluster apply, so these flags have no effect.",
        remedy: "Remove the flags, or change the settings of the cluster.",
        examine: settings_differ,
    },
];

fn versions_differ(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(first) = view.nodes.first() else {
        return Vec::new();
    };
    if view
        .nodes
        .iter()
        .all(|node| node.status.version == first.status.version)
    {
        return Vec::new();
    }
    let versions = view
        .nodes
        .iter()
        .map(|node| format!("{} runs {}", node.status.node_id, node.status.version));
    let seen = versions.collect::<Vec<_>>().join(", ");
    let ids = view.nodes.iter().map(|node| node.status.node_id.as_str());
    vec![Hit::seen(seen).of(ids).command("oarlock status")]
}

fn level_low(view: &ClusterView<'_>) -> Vec<Hit> {
    let Some(authority) = view.authority else {
        return Vec::new();
    };
    let level = authority.levels.level;
    let members = view.members().len();
    let highest = view
        .nodes
        .iter()
        .map(|node| node.levels.highest_level)
        .min();
    let all_known = view.nodes.len() >= members;
    match highest {
        Some(highest) if all_known && members > 0 && highest > level => {
            let seen = format!("the cluster is at level {level}, every node supports {highest}");
            vec![Hit::seen(seen).command("oarlock settings raise-level")]
        }
        _ => Vec::new(),
    }
}

fn settings_differ(view: &ClusterView<'_>) -> Vec<Hit> {
    each_node(view, |node| {
        let flags = &node.levels.differing_flags;
        (!flags.is_empty()).then(|| {
            Hit::seen(format!("without effect: {}", flags.join(", ")))
                .command("oarlock settings show")
        })
    })
}
