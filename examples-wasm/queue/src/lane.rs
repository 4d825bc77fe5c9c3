//! One queue: its indexes over the tasks, each ordered, so that nothing looks at every task.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::messages::Counts;
use crate::task::{Place, Task};

/// A named queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub(crate) name: String,
    /// (priority, id): an id is an age, because ids are given in the order of arrival.
    ready: BTreeSet<(i64, u64)>,
    /// (time, id) of delayed and leased tasks together, so that they fall due in one order.
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

    /// Puts a task where its place says.
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

    /// Takes a task from where its place says.
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

    /// The ready task that goes first, as (priority, id).
    pub(crate) fn first_ready(&self) -> Option<(i64, u64)> {
        self.ready.first().copied()
    }

    /// The task whose time comes first, as (time, id).
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
