//! One queue: ordered indexes over its tasks, so that no operation scans all tasks.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::config::Config;
use crate::keys::Keys;
use crate::messages::Counts;
use crate::ready::Ready;
use crate::task::{Place, Task};

/// A named queue.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// Empty for a place in the list that is free.
    pub(crate) name: Box<str>,
    pub(crate) config: Option<Box<Config>>,
    pub(crate) paused: bool,
    pub(crate) ready: Ready,
    /// (time, id) of tasks with a timer. One index for all kinds gives one order of timers.
    pub(crate) timers: BTreeSet<(u64, u64)>,
    pub(crate) dead: BTreeSet<u64>,
    pub(crate) keys: Keys,
    /// Tasks of each ordering key.
    pub(crate) lines: BTreeMap<Box<str>, Line>,
    pub(crate) bucket: Bucket,
    pub(crate) numbers: Numbers,
    /// The time in `Queues::alarms`, in milliseconds; 0 for none.
    pub(crate) alarm_ms: u64,
}

/// Tasks with the same ordering key that are not dead.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The one whose turn it is.
    pub(crate) head: u64,
    pub(crate) waiting: BTreeSet<u64>,
}

/// Counters of a queue.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Numbers {
    pub(crate) delayed: u64,
    pub(crate) waiting: u64,
    pub(crate) leased: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    pub(crate) removed: u64,
    /// Bytes of payloads of tasks that are not dead.
    pub(crate) bytes: u64,
    pub(crate) enqueued_rate: MinuteRate,
    pub(crate) completed_rate: MinuteRate,
    pub(crate) failed_rate: MinuteRate,
}

/// Events in the current minute and in the one before it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct MinuteRate {
    minute: u64,
    now: u64,
    before: u64,
}

const MINUTE_MS: u64 = 60_000;

impl MinuteRate {
    pub(crate) fn count(&mut self, now_ms: u64) {
        let minute = now_ms / MINUTE_MS;
        if minute != self.minute {
            self.before = if minute == self.minute + 1 {
                self.now
            } else {
                0
            };
            (self.minute, self.now) = (minute, 0);
        }
        self.now += 1;
    }

    /// Events in the last full minute.
    pub(crate) fn last_minute(&self, now_ms: u64) -> u64 {
        match (now_ms / MINUTE_MS).checked_sub(self.minute) {
            Some(0) | None => self.before,
            Some(1) => self.now,
            Some(_) => 0,
        }
    }
}

impl Queue {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    pub(crate) fn config(&self) -> Option<&Config> {
        self.config.as_deref()
    }

    /// Adds a task to the indexes of its place.
    pub(crate) fn insert(&mut self, id: u64, task: &Task) {
        match task.place() {
            Place::Ready => self.ready.insert(&self.keys, task.priority, task.key, id),
            Place::Delayed(_) => self.numbers.delayed += 1,
            Place::Leased(_) => {
                self.numbers.leased += 1;
                if task.key != 0 {
                    self.keys.change(task.key).leased += 1;
                }
            }
            Place::Waiting => self.numbers.waiting += 1,
            Place::Dead => {
                self.dead.insert(id);
            }
        }
        if let Some(at_ms) = task.timer() {
            self.timers.insert((at_ms, id));
        }
        if !matches!(task.place(), Place::Dead) {
            self.numbers.bytes += task.payload.len() as u64;
        }
    }

    /// Removes a task from the indexes of its place.
    pub(crate) fn remove(&mut self, id: u64, task: &Task) {
        match task.place() {
            Place::Ready => self.ready.remove(&self.keys, task.priority, task.key, id),
            Place::Delayed(_) => self.numbers.delayed -= 1,
            Place::Leased(_) => {
                self.numbers.leased -= 1;
                self.end_lease(task.key);
            }
            Place::Waiting => self.numbers.waiting -= 1,
            Place::Dead => {
                self.dead.remove(&id);
            }
        }
        self.forget(id, task);
    }

    /// Moves the timer of a task to the one that it has after `change`.
    pub(crate) fn retime(&mut self, id: u64, task: &mut Task, change: impl FnOnce(&mut Task)) {
        if let Some(at_ms) = task.timer() {
            self.timers.remove(&(at_ms, id));
        }
        change(task);
        if let Some(at_ms) = task.timer() {
            self.timers.insert((at_ms, id));
        }
    }

    /// Removes a ready task that is delivered: its key's turn counts it.
    pub(crate) fn take(&mut self, id: u64, task: &Task) {
        self.ready.take(&self.keys, task.priority, task.key, id);
        self.forget(id, task);
    }

    fn forget(&mut self, id: u64, task: &Task) {
        if let Some(at_ms) = task.timer() {
            self.timers.remove(&(at_ms, id));
        }
        if !matches!(task.place(), Place::Dead) {
            self.numbers.bytes -= task.payload.len() as u64;
        }
    }

    /// Number of tasks that are not dead.
    pub(crate) fn len(&self) -> u64 {
        self.ready.len() + self.numbers.delayed + self.numbers.waiting + self.numbers.leased
    }

    /// The next task to deliver, as (priority, id).
    pub(crate) fn peek(&mut self, now_ms: u64) -> Option<(i64, u64)> {
        if self.paused || self.is_full_in_flight() || self.blocked_until(now_ms).is_some() {
            return None;
        }
        self.ready
            .peek(&mut self.keys, self.config.as_deref(), now_ms)
    }

    /// Whether as many tasks are leased as the queue permits at once.
    pub(crate) fn is_full_in_flight(&self) -> bool {
        let most = self.config().and_then(|config| config.concurrency);
        most.is_some_and(|most| self.numbers.leased >= u64::from(most))
    }

    /// When the rate limit of the queue permits the next delivery, if not now.
    pub(crate) fn blocked_until(&self, now_ms: u64) -> Option<u64> {
        let rate = self.config()?.rate?;
        self.bucket.blocked_until(rate, now_ms)
    }

    /// Counts a delivery for the rate limits of the queue and of the task's key.
    pub(crate) fn charge(&mut self, key: u32, now_ms: u64) {
        if let Some(rate) = self.config.as_deref().and_then(|config| config.rate) {
            self.bucket.take(rate, now_ms);
        }
        if key != 0 {
            self.keys.charge(key, self.config.as_deref(), now_ms);
        }
    }

    /// A lease has ended: another task of the key may be delivered.
    fn end_lease(&mut self, key: u32) {
        if key == 0 {
            return;
        }
        let entry = self.keys.change(key);
        entry.leased -= 1;
        if entry.is_parked() {
            self.ready.unpark(&mut self.keys, key);
        }
    }

    /// Lets the keys go on whose rate limit permits it.
    pub(crate) fn release_keys(&mut self, now_ms: u64, budget: &mut usize) {
        while *budget > 0
            && let Some(key) = self.keys.take_due(now_ms)
        {
            *budget -= 1;
            self.ready.unpark(&mut self.keys, key);
            self.keys.drop_unused(key, now_ms);
        }
    }

    /// Lets all keys go on after a change of limits. Those that are still at a limit are held back again.
    pub(crate) fn change_limits(&mut self, now_ms: u64) {
        let rate = self.config().and_then(|config| config.rate);
        self.bucket.change(rate, now_ms);
        for key in self.keys.change_rates(self.config.as_deref(), now_ms) {
            self.ready.unpark(&mut self.keys, key);
        }
    }

    /// When the queue must be looked at again, in milliseconds. Limits matter only while workers wait.
    pub(crate) fn next_alarm(&self, has_waiters: bool, now_ms: u64) -> Option<u64> {
        let task = self.timers.first().map(|&(at_ms, _)| at_ms);
        if !has_waiters || self.ready.len() == 0 {
            return task;
        }
        [task, self.keys.first_timer(), self.blocked_until(now_ms)]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            ready: self.ready.len(),
            delayed: self.numbers.delayed + self.numbers.waiting,
            leased: self.numbers.leased,
            dead: self.dead.len() as u64,
            completed: self.numbers.completed,
        }
    }
}
