//! A set of ids in little memory: 64 neighbours are one entry of a map, as bits.

use std::collections::BTreeMap;

/// Ids of one entry.
const GROUP: u64 = 64;

/// Ids of tasks, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    groups: BTreeMap<u64, u64>,
}

impl Ids {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether it was not in the set.
    pub(crate) fn insert(&mut self, id: u64) -> bool {
        let group = self.groups.entry(id / GROUP).or_default();
        let bit = 1 << (id % GROUP);
        let is_new = *group & bit == 0;
        *group |= bit;
        is_new
    }

    /// Whether it was in the set.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let Some(group) = self.groups.get_mut(&(id / GROUP)) else {
            return false;
        };
        let bit = 1 << (id % GROUP);
        let is_there = *group & bit != 0;
        *group &= !bit;
        if *group == 0 {
            self.groups.remove(&(id / GROUP));
        }
        is_there
    }

    pub(crate) fn first(&self) -> Option<u64> {
        let (group, bits) = self.groups.first_key_value()?;
        Some(group * GROUP + u64::from(bits.trailing_zeros()))
    }

    /// Those that are not smaller, in their order.
    pub(crate) fn from(&self, id: u64) -> impl Iterator<Item = u64> {
        let start = id / GROUP;
        self.groups.range(start..).flat_map(move |(&group, &bits)| {
            let skipped = if group == start { id % GROUP } else { 0 };
            let bits = bits >> skipped << skipped;
            (0..GROUP)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| group * GROUP + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_set_is_the_same_as_one_of_numbers_whatever_is_added_and_removed() {
        let (mut ids, mut set) = (Ids::default(), BTreeSet::new());
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = crate::retry::mix(random.wrapping_add(step));
            let id = random % 400;
            if random >> 40 & 1 == 0 {
                assert_eq!(ids.insert(id), set.insert(id));
            } else {
                assert_eq!(ids.remove(id), set.remove(&id));
            }
            assert_eq!(ids.first(), set.first().copied());
            assert_eq!(ids.is_empty(), set.is_empty());
            if step % 50 == 0 {
                let from: Vec<u64> = ids.from(id).collect();
                assert_eq!(from, set.range(id..).copied().collect::<Vec<_>>());
            }
        }
        assert_eq!(Ids::default().from(u64::MAX).next(), None);
        ids.insert(u64::MAX);
        assert_eq!(ids.from(u64::MAX).collect::<Vec<_>>(), [u64::MAX]);
    }
}
