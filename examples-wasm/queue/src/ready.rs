//! The ready tasks of one queue, in the order of delivery: by priority, within a priority by turns of the fairness keys, within
//! a key by age.
//!
//! Turns are a weighted round robin: the deficit round robin of Shreedhar and Varghese (1996), where each task costs 1.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Config;
use crate::ids::Ids;
use crate::keys::{Key, Keys};

/// The ready tasks of a queue.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ready {
    tasks: ReadyTasks,
    /// The keys whose turn comes, by priority. A key that a limit holds back is in none.
    turns: BTreeMap<i64, Turns>,
    /// (priority, key) of keys that the current command has left without a task: they are still among the turns. To take out each by
    /// itself would search all turns for each of thousands of tasks that are purged or expire. Empty between commands.
    #[serde(skip)]
    left: BTreeSet<(i64, u32)>,
}

/// Ids by (priority, key). Ids grow in the order of arrival, so a smaller id is an older task. Encoded as a sequence of (priority,
/// key, id).
#[derive(Debug, Clone, Default)]
struct ReadyTasks {
    ids: BTreeMap<(i64, u32), Ids>,
    len: u64,
}

impl ReadyTasks {
    fn insert(&mut self, priority: i64, key: u32, id: u64) {
        let ids = self.ids.entry((priority, key)).or_default();
        self.len += u64::from(ids.insert(id));
    }

    fn remove(&mut self, priority: i64, key: u32, id: u64) {
        let Some(ids) = self.ids.get_mut(&(priority, key)) else {
            return;
        };
        self.len -= u64::from(ids.remove(id));
        if ids.is_empty() {
            self.ids.remove(&(priority, key));
        }
    }

    fn first_of(&self, priority: i64, key: u32) -> Option<u64> {
        self.ids.get(&(priority, key))?.first()
    }

    /// Those that are not before this place.
    fn from(&self, from: (i64, u32, u64)) -> impl Iterator<Item = (i64, u32, u64)> {
        let (first_priority, first_key, first_id) = from;
        let groups = self.ids.range((first_priority, first_key)..);
        groups.flat_map(move |(&(priority, key), ids)| {
            let is_first = (priority, key) == (first_priority, first_key);
            let ids = ids.from(if is_first { first_id } else { 0 });
            ids.map(move |id| (priority, key, id))
        })
    }
}

impl Serialize for ReadyTasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let len = usize::try_from(self.len).map_err(serde::ser::Error::custom)?;
        let mut list = serializer.serialize_seq(Some(len))?;
        for place in self.from((i64::MIN, 0, 0)) {
            list.serialize_element(&place)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for ReadyTasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Places;

        impl<'de> Visitor<'de> for Places {
            type Value = ReadyTasks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ready tasks")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut places: A) -> Result<ReadyTasks, A::Error> {
                let mut tasks = ReadyTasks::default();
                while let Some((priority, key, id)) = places.next_element()? {
                    tasks.insert(priority, key, id);
                }
                Ok(tasks)
            }
        }

        deserializer.deserialize_seq(Places)
    }
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
        self.tasks.len
    }

    fn first_of(&self, priority: i64, key: u32) -> Option<u64> {
        self.tasks.first_of(priority, key)
    }

    /// Adds a task.
    pub(crate) fn insert(&mut self, keys: &Keys, priority: i64, key: u32, id: u64) {
        let has_turn = match self.turns.get(&priority) {
            Some(turns) => turns.now == key || self.first_of(priority, key).is_some(),
            None => false,
        };
        self.tasks.insert(priority, key, id);
        let kept_turn = self.left.remove(&(priority, key));
        if !has_turn && !kept_turn && !keys.is_parked(key, priority) {
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
        self.tasks.remove(priority, key, id);
        if self.first_of(priority, key).is_none() && !keys.is_parked(key, priority) {
            self.end_turns(keys, priority, key);
        }
    }

    /// Takes a key out of the turns of a priority: at once if it is its turn, otherwise at the end of the command.
    fn end_turns(&mut self, keys: &Keys, priority: i64, key: u32) {
        match self.turns.get(&priority) {
            Some(turns) if turns.now == key => self.next_turn(keys, priority),
            Some(_) => {
                self.left.insert((priority, key));
            }
            None => {}
        }
    }

    /// Begins the turn of the next key.
    fn next_turn(&mut self, keys: &Keys, priority: i64) {
        let Some(turns) = self.turns.get_mut(&priority) else {
            return;
        };
        while let Some(next) = turns.then.pop_front() {
            if !self.left.remove(&(priority, next)) {
                turns.now = next;
                turns.left = weight(keys, next);
                return;
            }
        }
        self.turns.remove(&priority);
    }

    /// Ends a command.
    pub(crate) fn settle(&mut self) {
        let left = std::mem::take(&mut self.left);
        let mut settled = None;
        for &(priority, _) in &left {
            if settled != Some(priority)
                && let Some(turns) = self.turns.get_mut(&priority)
            {
                turns.then.retain(|&key| !left.contains(&(priority, key)));
            }
            settled = Some(priority);
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
        self.tasks.remove(priority, key, id);
        let is_last = self.first_of(priority, key).is_none();
        let Some(turns) = self.turns.get_mut(&priority) else {
            return;
        };
        turns.left -= 1;
        if is_last {
            self.end_turns(keys, priority, key);
        } else if turns.left == 0 {
            turns.then.push_back(key);
            self.next_turn(keys, priority);
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
        let from = after.unwrap_or((i64::MIN, 0, 0));
        self.tasks
            .from(from)
            .filter(move |place| after.is_none_or(|after| *place != after))
    }

    /// The oldest ready task, found among the first 64 pairs of priority and key.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let heads = self.tasks.ids.values().filter_map(Ids::first);
        heads.take(64).min()
    }

    /// The oldest ready task of the least urgent priority, found among the first 64 keys of it.
    pub(crate) fn oldest_of_last(&self) -> Option<u64> {
        let (&(last, _), _) = self.tasks.ids.last_key_value()?;
        let keys = self.tasks.ids.range((last, 0)..);
        keys.filter_map(|(_, ids)| ids.first()).take(64).min()
    }
}
