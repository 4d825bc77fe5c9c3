//! Fairness keys of one queue: their shares and limits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Rate};
use crate::config::Config;

/// The fairness keys of a queue that have tasks, settings of their own, or a rate limit that is in use.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) numbers: BTreeMap<Box<str>, u32>,
    list: BTreeMap<u32, Key>,
    last: u32,
    /// (time, key) at which a rate limit lets a key go on, or a key without tasks is dropped.
    timers: BTreeSet<(u64, u32)>,
}

/// One fairness key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Key {
    name: Box<str>,
    /// From its last task that gave one; at least 1.
    weight: u32,
    pub(crate) own: OwnLimits,
    /// Tasks that are not dead.
    pub(crate) tasks: u64,
    pub(crate) leased: u64,
    bucket: Bucket,
    /// Priorities at which it is held back.
    parked: BTreeSet<i64>,
    timer_ms: u64,
}

/// Settings of one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnLimits {
    pub(crate) weight: Option<u32>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate: Option<Rate>,
}

impl Key {
    pub(crate) fn weight(&self) -> u32 {
        self.own.weight.unwrap_or(self.weight).max(1)
    }

    pub(crate) fn is_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    fn rate(&self, config: Option<&Config>) -> Option<Rate> {
        self.own
            .rate
            .or_else(|| config.and_then(|config| config.key_rate))
    }

    fn concurrency(&self, config: Option<&Config>) -> Option<u32> {
        self.own
            .concurrency
            .or_else(|| config.and_then(|config| config.key_concurrency))
    }
}

/// Why a key gets no delivery now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Until one of its tasks is returned or done.
    Concurrency,
    /// Until this time, in milliseconds.
    Rate(u64),
}

impl Keys {
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn get(&self, key: u32) -> Option<&Key> {
        self.list.get(&key)
    }

    pub(crate) fn name(&self, key: u32) -> Option<&str> {
        self.list.get(&key).map(|key| &*key.name)
    }

    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// Number of a key. It is added if it is new.
    pub(crate) fn add(&mut self, name: &str) -> u32 {
        if let Some(number) = self.number(name) {
            return number;
        }
        // Numbers are used again only after 4 billion keys, and never one that is in use.
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.list.contains_key(&self.last) {
                break;
            }
        }
        let key = Key {
            name: name.into(),
            weight: 1,
            ..Key::default()
        };
        self.numbers.insert(name.into(), self.last);
        self.list.insert(self.last, key);
        self.last
    }

    pub(crate) fn change(&mut self, key: u32) -> &mut Key {
        self.list
            .get_mut(&key)
            .expect("a key with tasks or settings is in the list")
    }

    pub(crate) fn set_weight(&mut self, key: u32, weight: u32) {
        self.change(key).weight = weight;
    }

    /// Counts a task that is added.
    pub(crate) fn enter(&mut self, key: u32) {
        self.change(key).tasks += 1;
    }

    /// Counts a task that is dead or removed. Drops the key if nothing needs it.
    pub(crate) fn leave(&mut self, key: u32, now_ms: u64) {
        self.change(key).tasks -= 1;
        self.drop_unused(key, now_ms);
    }

    /// Drops a key without tasks and settings. A rate limit that is in use keeps it until its bucket is full: a new key
    /// would begin with a full one.
    pub(crate) fn drop_unused(&mut self, key: u32, now_ms: u64) {
        let entry = self.change(key);
        if entry.tasks > 0 || entry.own != OwnLimits::default() {
            return;
        }
        let full_at_ms = entry.bucket.full_at_ms();
        if full_at_ms > now_ms {
            self.set_timer(key, full_at_ms);
        } else {
            self.set_timer(key, 0);
            let dropped = self.list.remove(&key).expect("it was just there");
            self.numbers.remove(&dropped.name);
        }
    }

    fn set_timer(&mut self, key: u32, at_ms: u64) {
        let entry = self.list.get_mut(&key).expect("the caller found the key");
        if entry.timer_ms != 0 {
            self.timers.remove(&(entry.timer_ms, key));
        }
        entry.timer_ms = at_ms;
        if at_ms != 0 {
            self.timers.insert((at_ms, key));
        }
    }

    pub(crate) fn blocked(&self, key: u32, config: Option<&Config>, now_ms: u64) -> Option<Block> {
        let key = &self.list[&key];
        if key
            .concurrency(config)
            .is_some_and(|most| key.leased >= u64::from(most))
        {
            return Some(Block::Concurrency);
        }
        let until_ms = key.bucket.blocked_until(key.rate(config)?, now_ms)?;
        Some(Block::Rate(until_ms))
    }

    /// Counts a delivery for the rate limit.
    pub(crate) fn charge(&mut self, key: u32, config: Option<&Config>, now_ms: u64) {
        let entry = self.change(key);
        if let Some(rate) = entry.rate(config) {
            entry.bucket.take(rate, now_ms);
        }
    }

    /// Holds a key back at a priority.
    pub(crate) fn park(&mut self, key: u32, priority: i64, block: Block) {
        self.change(key).parked.insert(priority);
        if let Block::Rate(until_ms) = block {
            self.set_timer(key, until_ms);
        }
    }

    pub(crate) fn is_parked(&self, key: u32, priority: i64) -> bool {
        key != 0 && self.list[&key].parked.contains(&priority)
    }

    /// The priorities at which a key was held back. It is not held back any more.
    pub(crate) fn unpark(&mut self, key: u32) -> BTreeSet<i64> {
        self.list
            .get_mut(&key)
            .map(|key| std::mem::take(&mut key.parked))
            .unwrap_or_default()
    }

    /// The first timer, in milliseconds.
    pub(crate) fn first_timer(&self) -> Option<u64> {
        self.timers.first().map(|&(at_ms, _)| at_ms)
    }

    /// Takes the first timer that is due.
    pub(crate) fn take_due(&mut self, now_ms: u64) -> Option<u32> {
        let &(at_ms, key) = self.timers.first()?;
        if at_ms > now_ms {
            return None;
        }
        self.set_timer(key, 0);
        Some(key)
    }

    /// Adapts a key to a changed rate limit.
    pub(crate) fn change_rate(&mut self, key: u32, config: Option<&Config>, now_ms: u64) {
        let entry = self.change(key);
        let rate = entry.rate(config);
        entry.bucket.change(rate, now_ms);
    }

    /// Adapts all keys to changed limits of the queue. Returns those that are held back.
    pub(crate) fn change_rates(&mut self, config: Option<&Config>, now_ms: u64) -> Vec<u32> {
        for key in self.list.values_mut() {
            let rate = key.rate(config);
            key.bucket.change(rate, now_ms);
        }
        self.list
            .iter()
            .filter(|(_, key)| key.is_parked())
            .map(|(&number, _)| number)
            .collect()
    }
}
