//! A check, and where its condition holds.

use super::facts::NodeFacts;
use super::finding::FindingSeverity;
use super::view::ClusterView;

/// A check.
pub(crate) struct Check {
    /// Name, for scripts. It is kept stable.
    pub(crate) id: &'static str,
    /// The severity of what it finds, unless a hit has another one.
    pub(crate) severity: FindingSeverity,
    /// The condition, for the page.
    pub(crate) condition: &'static str,
    /// Why it matters.
    pub(crate) why: &'static str,
    /// What to do.
    pub(crate) remedy: &'static str,
    /// Looks for it.
    pub(crate) examine: fn(&ClusterView<'_>) -> Vec<Hit>,
}

/// Where the condition of a check holds.
#[derive(Debug, Default)]
pub(crate) struct Hit {
    pub(crate) severity: Option<FindingSeverity>,
    pub(crate) nodes: Vec<String>,
    pub(crate) seen: String,
    pub(crate) commands: Vec<String>,
}

impl Hit {
    /// A condition of the cluster.
    pub(super) fn seen(seen: impl Into<String>) -> Self {
        Self {
            seen: seen.into(),
            ..Self::default()
        }
    }

    /// A condition of one node.
    pub(super) fn on(node_id: &str, seen: impl Into<String>) -> Self {
        Self::seen(seen).of([node_id])
    }

    /// The nodes that it is about.
    pub(super) fn of<'a>(mut self, nodes: impl IntoIterator<Item = &'a str>) -> Self {
        self.nodes = nodes.into_iter().map(str::to_owned).collect();
        self
    }

    /// A command that helps.
    pub(super) fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    pub(super) fn severity(mut self, severity: FindingSeverity) -> Self {
        self.severity = Some(severity);
        self
    }
}

/// A hit for each node that responded, where `look` finds something.
pub(super) fn each_node(
    view: &ClusterView<'_>,
    look: impl Fn(&NodeFacts) -> Option<Hit>,
) -> Vec<Hit> {
    let hits = view.nodes.iter().filter_map(|node| {
        let hit = look(node)?;
        Some(hit.of([node.status.node_id.as_str()]))
    });
    hits.collect()
}

/// Milliseconds for people.
pub(super) fn duration(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["GiB", "MiB", "KiB", "bytes"];
    let unit = match bytes {
        0..1024 => 3,
        1024..1_048_576 => 2,
        1_048_576..1_073_741_824 => 1,
        _ => 0,
    };
    let shift = 10 * (3 - unit);
    format!("{} {}", bytes >> shift, UNITS[unit])
}
