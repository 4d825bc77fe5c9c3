//! Where each entry of the log is, and what a start needs to know of the log.

use std::collections::VecDeque;

use crate::entry::ClusterRecord;
use crate::ids::{Index, LogId, Term};
use crate::raft::membership::Membership;
use crate::storage::bounds::LogBounds;

/// Where the record of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryPlace {
    /// Sequence of the segment.
    pub(super) sequence: u32,
    /// First sector of the write.
    pub(super) sector: u32,
    /// Offset of the record within the write.
    pub(super) offset: u32,
    /// Length of the record.
    pub(super) bytes: u32,
}

/// The entries of a log, without their content.
#[derive(Clone, Debug, Default)]
pub(in crate::storage) struct LogIndex {
    purged: LogId,
    places: VecDeque<EntryPlace>,
    /// The first index of each term.
    terms: VecDeque<(Index, Term)>,
    memberships: VecDeque<(Index, Membership)>,
    clusters: VecDeque<(Index, ClusterRecord)>,
}

impl LogIndex {
    pub(in crate::storage) fn bounds(&self) -> LogBounds {
        LogBounds {
            purged: self.purged,
            last: self.last(),
        }
    }

    pub(super) fn purged(&self) -> LogId {
        self.purged
    }

    /// The last entry; `purged` if there is none.
    pub(super) fn last(&self) -> LogId {
        let index = Index(self.purged.index.0 + self.places.len() as u64);
        let term = self
            .terms
            .back()
            .map_or(self.purged.term, |(_, term)| *term);
        LogId::new(term, index)
    }

    /// The entry at `index`, or the purged one; `None` if the log does not contain it.
    pub(in crate::storage) fn id_at(&self, index: Index) -> Option<LogId> {
        if index == self.purged.index {
            return Some(self.purged);
        }
        self.place(index)?;
        let after = self.terms.partition_point(|(start, _)| *start <= index);
        let (_, term) = self.terms.get(after.checked_sub(1)?)?;
        Some(LogId::new(*term, index))
    }

    pub(super) fn place(&self, index: Index) -> Option<EntryPlace> {
        let offset = index.0.checked_sub(self.purged.index.0 + 1)?;
        self.places.get(usize::try_from(offset).ok()?).copied()
    }

    /// The entries and where each is, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = (Index, EntryPlace)> {
        let first = self.purged.index.0 + 1;
        (first..).map(Index).zip(self.places.iter().copied())
    }

    pub(in crate::storage) fn terms(&self) -> Vec<(Index, Term)> {
        self.terms.iter().copied().collect()
    }

    pub(in crate::storage) fn memberships(&self) -> Vec<(Index, Membership)> {
        self.memberships.iter().cloned().collect()
    }

    pub(in crate::storage) fn clusters(&self) -> Vec<(Index, ClusterRecord)> {
        self.clusters.iter().cloned().collect()
    }

    /// Adds the entry after the last one.
    pub(super) fn push(
        &mut self,
        id: LogId,
        place: EntryPlace,
        membership: Option<Membership>,
        cluster: Option<ClusterRecord>,
    ) {
        if self.terms.back().is_none_or(|(_, term)| *term != id.term) {
            self.terms.push_back((id.index, id.term));
        }
        self.places.push_back(place);
        self.memberships
            .extend(membership.map(|membership| (id.index, membership)));
        self.clusters
            .extend(cluster.map(|cluster| (id.index, cluster)));
    }

    /// Removes the entries from `from` on.
    pub(super) fn truncate(&mut self, from: Index) {
        let kept = from.0.saturating_sub(self.purged.index.0 + 1);
        self.places
            .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        truncate_at(&mut self.terms, from);
        truncate_at(&mut self.memberships, from);
        truncate_at(&mut self.clusters, from);
    }

    /// Removes the entries up to `up_to`, which is in the log.
    pub(super) fn purge(&mut self, up_to: LogId) {
        let gone = up_to.index.0.saturating_sub(self.purged.index.0);
        let gone =
            usize::try_from(gone).map_or(self.places.len(), |gone| gone.min(self.places.len()));
        self.places.drain(..gone);
        // The term of the first entry that remains begins before it.
        let first = up_to.index.next();
        while self.terms.get(1).is_some_and(|(start, _)| *start <= first) {
            self.terms.pop_front();
        }
        if self.places.is_empty() {
            self.terms.clear();
        } else if let Some((start, _)) = self.terms.front_mut() {
            *start = first.max(*start);
        }
        while self
            .memberships
            .front()
            .is_some_and(|(index, _)| *index < first)
        {
            self.memberships.pop_front();
        }
        while self
            .clusters
            .front()
            .is_some_and(|(index, _)| *index < first)
        {
            self.clusters.pop_front();
        }
        self.purged = up_to;
    }

    /// Removes all entries; the log continues after `up_to`.
    pub(super) fn reset(&mut self, up_to: LogId) {
        *self = Self {
            purged: up_to,
            ..Self::default()
        };
    }
}

fn truncate_at<T>(list: &mut VecDeque<(Index, T)>, from: Index) {
    let kept = list.partition_point(|(index, _)| *index < from);
    list.truncate(kept);
}
