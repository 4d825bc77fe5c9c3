//! The ready tasks of one queue, in the order of delivery: by priority, within a priority by turns of the fairness keys, within
//! a key by age.
//!
//! Turns are a weighted round robin: the deficit round robin of Shreedhar and Varghese (1996), where each task costs 1.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::keys::{Key, Keys};

/// The ready tasks of a queue.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// (priority, key, id). Ids grow in the order of arrival, so a smaller id is an older task.
    tasks: BTreeSet<(i64, u32, u64)>,
    /// The keys whose turn comes, by priority. A key that a limit holds back is in none.
    turns: BTreeMap<i64, Turns>,
}

/// The keys with ready tasks of one priority, in the order of their turns.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Turns {
    now: u32,
    /// Deliveries of `now` until it is the next key's turn.
    left: u32,
    then: VecDeque<u32>,
}

fn weight(keys: &Keys, key: u32) -> u32 {
    keys.get(key).map_or(1, Key::weight)
}

impl Ready {
    pub(crate) fn len(&self) -> u64 {
        self.tasks.len() as u64
    }

    fn first_of(&self, priority: i64, key: u32) -> Option<u64> {
        let range = (priority, key, 0)..=(priority, key, u64::MAX);
        self.tasks.range(range).next().map(|&(_, _, id)| id)
    }

    /// Adds a task.
    pub(crate) fn insert(&mut self, keys: &Keys, priority: i64, key: u32, id: u64) {
        let has_turn = match self.turns.get(&priority) {
            Some(turns) => turns.now == key || self.first_of(priority, key).is_some(),
            None => false,
        };
        self.tasks.insert((priority, key, id));
        if !has_turn && !keys.is_parked(key, priority) {
            self.add_turn(keys, priority, key);
        }
    }

    fn add_turn(&mut self, keys: &Keys, priority: i64, key: u32) {
        if let Some(turns) = self.turns.get_mut(&priority) {
            turns.then.push_back(key);
        } else {
            let turns = Turns {
                now: key,
                left: weight(keys, key),
                then: VecDeque::new(),
            };
            self.turns.insert(priority, turns);
        }
    }

    /// Removes a task that is not delivered.
    pub(crate) fn remove(&mut self, keys: &Keys, priority: i64, key: u32, id: u64) {
        self.tasks.remove(&(priority, key, id));
        if self.first_of(priority, key).is_none() && !keys.is_parked(key, priority) {
            self.end_turns(keys, priority, key);
        }
    }

    /// Takes a key out of the turns of a priority.
    fn end_turns(&mut self, keys: &Keys, priority: i64, key: u32) {
        let Some(turns) = self.turns.get_mut(&priority) else {
            return;
        };
        if turns.now != key {
            turns.then.retain(|&other| other != key);
        } else if let Some(next) = turns.then.pop_front() {
            turns.now = next;
            turns.left = weight(keys, next);
        } else {
            self.turns.remove(&priority);
        }
    }

    /// The next task, as (priority, id). Holds back the keys before it that are at a limit.
    pub(crate) fn peek(
        &mut self,
        keys: &mut Keys,
        config: Option<&Config>,
        now_ms: u64,
    ) -> Option<(i64, u64)> {
        loop {
            let (&priority, turns) = self.turns.first_key_value()?;
            let key = turns.now;
            if key != 0
                && let Some(block) = keys.blocked(key, config, now_ms)
            {
                self.end_turns(keys, priority, key);
                keys.park(key, priority, block);
                continue;
            }
            return self.first_of(priority, key).map(|id| (priority, id));
        }
    }

    /// Takes the task that [`peek`](Self::peek) returned, and counts it for the turn of its key.
    pub(crate) fn take(&mut self, keys: &Keys, priority: i64, key: u32, id: u64) {
        self.tasks.remove(&(priority, key, id));
        let is_last = self.first_of(priority, key).is_none();
        let Some(turns) = self.turns.get_mut(&priority) else {
            return;
        };
        turns.left -= 1;
        if is_last {
            self.end_turns(keys, priority, key);
        } else if turns.left == 0 {
            turns.then.push_back(key);
            turns.now = turns.then.pop_front().unwrap_or(key);
            turns.left = weight(keys, turns.now);
        }
    }

    /// Gives a key that was held back its turns again.
    pub(crate) fn unpark(&mut self, keys: &mut Keys, key: u32) {
        for priority in keys.unpark(key) {
            if self.first_of(priority, key).is_some() {
                self.add_turn(keys, priority, key);
            }
        }
    }

    /// Ready tasks after one, in the order of priority, key and age.
    pub(crate) fn list(
        &self,
        after: Option<(i64, u32, u64)>,
    ) -> impl Iterator<Item = (i64, u32, u64)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.tasks
            .range((after.map_or(Unbounded, Excluded), Unbounded))
            .copied()
    }

    /// The oldest ready task, found among the first 64 pairs of priority and key.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let mut next = self.tasks.first().copied();
        let heads = std::iter::from_fn(|| {
            let (priority, key, id) = next?;
            next = self.list(Some((priority, key, u64::MAX))).next();
            Some(id)
        });
        heads.take(64).min()
    }

    /// The oldest ready task of the least urgent priority, found among the first 64 keys of it.
    pub(crate) fn oldest_of_last(&self) -> Option<u64> {
        let &(last, _, _) = self.tasks.last()?;
        let mut next = self.tasks.range((last, 0, 0)..).next().copied();
        let heads = std::iter::from_fn(|| {
            let (priority, key, id) = next?;
            next = self.list(Some((priority, key, u64::MAX))).next();
            Some(id)
        });
        heads.take(64).min()
    }
}
