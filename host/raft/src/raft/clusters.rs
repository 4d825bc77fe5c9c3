//! Levels and lineages in the log.

use std::collections::VecDeque;

use crate::entry::{ClusterRecord, ClusterState, SnapshotMeta};
use crate::ids::Index;
use crate::raft::bootstrap::BOOTSTRAP_ENTRY;

/// The levels and lineages that a log contains, in order. Like a configuration, the one before is in effect again after a
/// truncation.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// In effect at the snapshot.
    base: ClusterState,
    /// The entries after it, in ascending order.
    later: VecDeque<(Index, ClusterState)>,
    /// The bootstrap entry, if the log has begun with it in this store.
    first: Option<ClusterRecord>,
}

impl Clusters {
    pub(super) fn new(snapshot: Option<&SnapshotMeta>, stored: &[(Index, ClusterRecord)]) -> Self {
        let mut clusters = Self {
            base: ClusterState::default(),
            later: VecDeque::new(),
            first: None,
        };
        for (index, record) in stored {
            clusters.append(*index, record);
        }
        if let Some(meta) = snapshot {
            clusters.install(meta, true);
        }
        clusters
    }

    /// The last one in the log, committed or not.
    pub(super) fn current(&self) -> ClusterState {
        self.later.back().map_or(self.base, |(_, last)| *last)
    }

    /// The last one among the entries up to `committed`. The bootstrap entry is committed because all members agreed to it.
    pub(super) fn committed(&self, committed: Index) -> ClusterState {
        let committed = committed.max(BOOTSTRAP_ENTRY.index);
        let known = self.later.iter().rev();
        let mut known = known.skip_while(|(index, _)| *index > committed);
        known.next().map_or(self.base, |(_, state)| *state)
    }

    /// The bootstrap entry, if it is a cluster record.
    pub(super) fn first(&self) -> Option<&ClusterRecord> {
        self.first.as_ref()
    }

    pub(super) fn append(&mut self, index: Index, record: &ClusterRecord) {
        self.later.push_back((index, record.state()));
        if index == BOOTSTRAP_ENTRY.index {
            self.first = Some(record.clone());
        }
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
