//! One queue: ordered indexes over its tasks, so that no operation scans all tasks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::messages::Counts;
use crate::task::{Place, Task};

/// A named queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub(crate) name: String,
    /// (priority, id). Ids grow in the order of arrival, so a smaller id is an older task.
    ready: BTreeSet<(i64, u64)>,
    /// (time, id) of delayed and leased tasks. One index for both gives one order of timers.
    timers: BTreeSet<(u64, u64)>,
    dead: BTreeSet<u64>,
    delayed: u64,
    leased: u64,
    completed: u64,
}

impl Lane {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            ready: BTreeSet::new(),
            timers: BTreeSet::new(),
            dead: BTreeSet::new(),
            delayed: 0,
            leased: 0,
            completed: 0,
        }
    }

    /// Adds a task to the index of its place.
    pub(crate) fn insert(&mut self, id: u64, task: &Task) {
        let added = match task.place {
            Place::Ready => self.ready.insert((task.priority, id)),
            Place::Delayed(until_ms) => {
                self.delayed += 1;
                self.timers.insert((until_ms, id))
            }
            Place::Leased(until_ms) => {
                self.leased += 1;
                self.timers.insert((until_ms, id))
            }
            Place::Dead => self.dead.insert(id),
        };
        debug_assert!(added, "task {id} was in {} already", self.name);
    }

    /// Removes a task from the index of its place.
    pub(crate) fn remove(&mut self, id: u64, task: &Task) {
        let removed = match task.place {
            Place::Ready => self.ready.remove(&(task.priority, id)),
            Place::Delayed(until_ms) => {
                self.delayed -= 1;
                self.timers.remove(&(until_ms, id))
            }
            Place::Leased(until_ms) => {
                self.leased -= 1;
                self.timers.remove(&(until_ms, id))
            }
            Place::Dead => self.dead.remove(&id),
        };
        debug_assert!(removed, "task {id} was not in {}", self.name);
    }

    /// The next task to deliver, as (priority, id).
    pub(crate) fn first_ready(&self) -> Option<(i64, u64)> {
        self.ready.first().copied()
    }

    /// The first timer, as (time, id).
    pub(crate) fn first_timer(&self) -> Option<(u64, u64)> {
        self.timers.first().copied()
    }

    pub(crate) fn complete(&mut self) {
        self.completed += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            ready: self.ready.len() as u64,
            delayed: self.delayed,
            leased: self.leased,
            dead: self.dead.len() as u64,
            completed: self.completed,
        }
    }
}
