//! The configurations in the log.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::entry::SnapshotMeta;
use crate::ids::Index;
use crate::raft::membership::Membership;

/// The configurations that a log contains, in order. The last one is in effect, committed or not. After a truncation, the one
/// before it is in effect again (dissertation §4.1).
#[derive(Clone, Debug)]
pub(super) struct Configurations {
    /// In effect while neither log nor snapshot contains a configuration.
    start: Membership,
    /// In effect at the snapshot, with the index of its entry.
    base: (Index, Membership),
    /// The entries after `base`, in ascending order.
    later: VecDeque<(Index, Membership)>,
}

impl Configurations {
    /// From the content of a store. `start` is used only if neither log nor snapshot contains a configuration.
    pub(super) fn new(
        start: Membership,
        snapshot: Option<&SnapshotMeta>,
        stored: &[(Index, Membership)],
    ) -> Self {
        let mut configurations = Self {
            base: (Index::ZERO, start.clone()),
            start,
            later: stored.iter().cloned().collect(),
        };
        if let Some(meta) = snapshot {
            configurations.install(meta, true);
        }
        configurations
    }

    /// The configuration in effect.
    pub(super) fn current(&self) -> &Membership {
        self.later.back().map_or(&self.base.1, |(_, last)| last)
    }

    /// Whether a condition holds for the one at the snapshot, or else at the start, and for all later ones.
    pub(super) fn all(&self, condition: impl Fn(&Membership) -> bool) -> bool {
        let later = self.later.iter().map(|(_, members)| members);
        later.chain([&self.base.1]).all(condition)
    }

    /// The last one among the entries up to `committed`.
    pub(super) fn committed(&self, committed: Index) -> &Membership {
        let known = self.later.iter().rev();
        let known = known.skip_while(|(index, _)| *index > committed);
        known
            .map(|(_, membership)| membership)
            .next()
            .unwrap_or(&self.base.1)
    }

    /// Index of its entry; 0 for the start configuration.
    pub(super) fn index(&self) -> Index {
        self.later.back().map_or(self.base.0, |(index, _)| *index)
    }

    /// The configuration whose entry has this index, if it is known.
    pub(super) fn at(&self, index: Index) -> Option<&Membership> {
        let mut known = [&self.base].into_iter().chain(&self.later);
        known
            .find(|(at, _)| *at == index && index > Index::ZERO)
            .map(|(_, membership)| membership)
    }

    pub(super) fn append(&mut self, index: Index, membership: Membership) {
        self.later.push_back((index, membership));
    }

    /// The entries from `from` on are truncated.
    pub(super) fn truncate(&mut self, from: Index) {
        while self.later.back().is_some_and(|(index, _)| *index >= from) {
            self.later.pop_back();
        }
    }

    /// The log continues after a snapshot. Later entries stay if `keeps_later`.
    pub(super) fn install(&mut self, meta: &SnapshotMeta, keeps_later: bool) {
        let at = meta.last.index;
        match &meta.membership {
            Some(membership) => self.base = (at, membership.clone()),
            None => self.base = (Index::ZERO, self.start.clone()),
        }
        self.later.retain(|(index, _)| keeps_later && *index > at);
    }

    /// Entries up to here are committed: only the last configuration among them is still needed.
    pub(super) fn compact(&mut self, up_to: Index) {
        while self.later.get(1).is_some_and(|(index, _)| *index <= up_to) {
            if let Some(oldest) = self.later.pop_front() {
                self.base = oldest;
            }
        }
    }
}
