//! All tasks by id, in little memory. Ids follow each other, so tasks are in pages of neighbours, each in one allocation without
//! gaps. A map with an entry for each task would take 1.8 times as much: its nodes are half full after insertions in order.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::task::Task;

/// Tasks of one page, at most.
const PAGE: u64 = 32;

/// The tasks by id. Encoded as a map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    pages: BTreeMap<u64, Page>,
    len: usize,
}

/// Up to [`PAGE`] tasks whose ids are neighbours.
#[derive(Debug, Clone, Default)]
struct Page {
    /// Bit `n` is set if the task with the `n`th id of the page exists.
    present: u32,
    /// Those that exist, in the order of their ids.
    tasks: Vec<Task>,
}

impl Page {
    /// Position in `tasks` of the task with the `n`th id, if it exists.
    fn position(&self, n: u32) -> Option<usize> {
        (self.present >> n & 1 == 1).then(|| self.rank(n))
    }

    /// Number of tasks before the `n`th id.
    fn rank(&self, n: u32) -> usize {
        let before = self.present & ((1 << n) - 1);
        before.count_ones() as usize
    }
}

/// Number of the page of an id, and the place of the id in it.
fn place(id: u64) -> (u64, u32) {
    (id / PAGE, (id % PAGE) as u32)
}

impl Tasks {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Task> {
        let (number, n) = place(id);
        let page = self.pages.get(&number)?;
        page.position(n).map(|at| &page.tasks[at])
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Task> {
        let (number, n) = place(id);
        let page = self.pages.get_mut(&number)?;
        page.position(n).map(|at| &mut page.tasks[at])
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.get(id).is_some()
    }

    /// Adds a task, or replaces the one with this id.
    pub(crate) fn insert(&mut self, id: u64, task: Task) {
        let (number, n) = place(id);
        let page = self.pages.entry(number).or_default();
        let at = page.rank(n);
        if page.position(n).is_some() {
            page.tasks[at] = task;
            return;
        }
        page.tasks.insert(at, task);
        page.present |= 1 << n;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Task> {
        let (number, n) = place(id);
        let page = self.pages.get_mut(&number)?;
        let at = page.position(n)?;
        let task = page.tasks.remove(at);
        page.present &= !(1 << n);
        self.len -= 1;
        if page.tasks.is_empty() {
            self.pages.remove(&number);
        } else if page.tasks.len() * 4 <= page.tasks.capacity() {
            page.tasks.shrink_to_fit();
        }
        Some(task)
    }

    /// All tasks, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Task)> {
        self.pages.iter().flat_map(|(number, page)| {
            let ids = (0..PAGE as u32).filter(|n| page.present >> n & 1 == 1);
            ids.map(move |n| number * PAGE + u64::from(n))
                .zip(&page.tasks)
        })
    }
}

impl Index<u64> for Tasks {
    type Output = Task;

    /// The task, which must exist.
    fn index(&self, id: u64) -> &Task {
        self.get(id).expect("the caller found the task")
    }
}

impl Serialize for Tasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len))?;
        for (id, task) in self.iter() {
            map.serialize_entry(&id, task)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Tasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Tasks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tasks by id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tasks, A::Error> {
                let mut tasks = Tasks::default();
                while let Some((id, task)) = entries.next_entry()? {
                    tasks.insert(id, task);
                }
                Ok(tasks)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Payload;
    use crate::task::Place;

    fn task(number: u64) -> Task {
        Task {
            queue: 0,
            key: 0,
            priority: 0,
            attempt: 0,
            max_attempts: 1,
            place: Place::Ready.into(),
            enqueued_ms: number,
            delivery: None,
            payload: Payload::Bytes(Box::default()),
            extra: None,
        }
    }

    #[test]
    fn tasks_are_the_same_as_in_a_map_whatever_is_added_and_removed() {
        let (mut tasks, mut map) = (Tasks::default(), BTreeMap::new());
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = crate::retry::mix(random.wrapping_add(step));
            let id = random % 500;
            if random >> 40 & 1 == 0 {
                tasks.insert(id, task(step));
                map.insert(id, step);
            } else {
                let removed = tasks.remove(id).map(|task| task.enqueued_ms);
                assert_eq!(removed, map.remove(&id));
            }
            assert_eq!(tasks.len(), map.len());
            assert_eq!(
                tasks.get(id).map(|task| task.enqueued_ms),
                map.get(&id).copied()
            );
        }
        let all: BTreeMap<u64, u64> = tasks
            .iter()
            .map(|(id, task)| (id, task.enqueued_ms))
            .collect();
        assert_eq!(all, map);
        for id in 0..500 {
            tasks.remove(id);
        }
        assert!(tasks.pages.is_empty() && tasks.len() == 0);
    }
}
