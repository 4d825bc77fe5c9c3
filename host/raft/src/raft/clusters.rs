//! Levels and lineages in the log.

use std::collections::VecDeque;

use crate::entry::{ClusterState, SnapshotMeta};
use crate::ids::Index;

/// The levels and lineages that a log contains, in order. Like a configuration, the one before is in effect again after a
/// truncation.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// In effect at the snapshot.
    base: ClusterState,
    /// The entries after it, in ascending order.
    later: VecDeque<(Index, ClusterState)>,
}

impl Clusters {
    pub(super) fn new(snapshot: Option<&SnapshotMeta>, stored: &[(Index, ClusterState)]) -> Self {
        let mut clusters = Self {
            base: ClusterState::default(),
            later: stored.iter().copied().collect(),
        };
        if let Some(meta) = snapshot {
            clusters.install(meta, true);
        }
        clusters
    }

    /// The last one among the entries up to `committed`.
    pub(super) fn committed(&self, committed: Index) -> ClusterState {
        let known = self.later.iter().rev();
        let mut known = known.skip_while(|(index, _)| *index > committed);
        known.next().map_or(self.base, |(_, state)| *state)
    }

    pub(super) fn append(&mut self, index: Index, state: ClusterState) {
        self.later.push_back((index, state));
    }

    /// The entries from `from` on are truncated.
    pub(super) fn truncate(&mut self, from: Index) {
        while self.later.back().is_some_and(|(index, _)| *index >= from) {
            self.later.pop_back();
        }
    }

    /// The log continues after a snapshot. Later entries stay if `keeps_later`.
    pub(super) fn install(&mut self, meta: &SnapshotMeta, keeps_later: bool) {
        self.base = meta.cluster;
        self.later
            .retain(|(index, _)| keeps_later && *index > meta.last.index);
    }
}
