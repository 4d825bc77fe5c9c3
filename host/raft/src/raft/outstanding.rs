//! Entries that were handed on and are not done yet, with their size.

use std::collections::VecDeque;

use crate::ids::Index;

/// Groups of entries in log order, each with its last index and its size. Invariant: `bytes` is the sum of the sizes.
#[derive(Clone, Debug, Default)]
pub(super) struct Outstanding {
    groups: VecDeque<(Index, u64)>,
    bytes: u64,
}

impl Outstanding {
    /// Adds entries up to `last`, of this size.
    pub(super) fn push(&mut self, last: Index, bytes: u64) {
        self.groups.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// Entries up to `index` are done.
    pub(super) fn complete(&mut self, index: Index) {
        while self.groups.front().is_some_and(|&(last, _)| last <= index) {
            self.bytes -= self.groups.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }

    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.bytes = 0;
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Size of all groups together, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
