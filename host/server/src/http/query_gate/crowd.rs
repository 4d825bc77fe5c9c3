//! Counts who waits, and finds who has most waiting.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// How many items of each one wait.
#[derive(Debug)]
pub(super) struct Crowd<K> {
    counts: HashMap<K, usize>,
    order: BTreeSet<(usize, K)>,
}

impl<K: Clone + Ord + Hash> Crowd<K> {
    pub(super) fn new() -> Self {
        Self {
            counts: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, key: &K) {
        let count = self.count(key);
        self.set(key, count + 1);
    }

    pub(super) fn remove(&mut self, key: &K) {
        let count = self.count(key);
        self.set(key, count.saturating_sub(1));
    }

    fn count(&self, key: &K) -> usize {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// The one with most items; of several, the largest.
    pub(super) fn most(&self) -> Option<&K> {
        self.order.last().map(|(_, key)| key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn set(&mut self, key: &K, count: usize) {
        if let Some(before) = self.counts.remove(key) {
            self.order.remove(&(before, key.clone()));
        }
        if count > 0 {
            self.counts.insert(key.clone(), count);
            self.order.insert((count, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_with_most_items_is_found() {
        let mut crowd = Crowd::new();
        assert_eq!(crowd.most(), None);
        for key in ["a", "b", "b", "c", "c", "c"] {
            crowd.add(&key);
        }
        assert_eq!(crowd.most(), Some(&"c"));
        crowd.remove(&"c");
        crowd.remove(&"c");
        assert_eq!((crowd.most(), crowd.count(&"c")), (Some(&"b"), 1));
        crowd.remove(&"b");
        assert_eq!(
            crowd.most(),
            Some(&"c"),
            "the largest of those with equally many"
        );
        for key in ["a", "b", "c"] {
            crowd.remove(&key);
        }
        assert!(crowd.is_empty());
    }
}
