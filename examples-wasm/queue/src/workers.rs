//! Workers: names that reserve tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_WORKERS;

/// The workers that were seen last, and all that hold tasks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Workers {
    pub(crate) numbers: BTreeMap<Box<str>, u32>,
    list: BTreeMap<u32, Worker>,
    last: u32,
}

/// One worker.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Worker {
    name: Box<str>,
    pub(crate) last_seen_ms: u64,
    pub(crate) leased: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    /// Deliveries that name it: their tokens may be valid after the lease.
    named: u64,
    waiting: u64,
}

impl Workers {
    /// Number of a worker, which is seen now.
    pub(crate) fn see(&mut self, name: &str, now_ms: u64) -> u32 {
        let number = match self.numbers.get(name) {
            Some(&number) => number,
            None => self.add(name),
        };
        self.change(number).last_seen_ms = now_ms;
        number
    }

    fn add(&mut self, name: &str) -> u32 {
        if self.list.len() >= MAX_WORKERS {
            self.forget_some();
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.list.contains_key(&self.last) {
                break;
            }
        }
        let worker = Worker {
            name: name.into(),
            ..Worker::default()
        };
        self.numbers.insert(name.into(), self.last);
        self.list.insert(self.last, worker);
        self.last
    }

    /// Forgets a tenth of those that hold nothing, the ones that were not seen for the longest time.
    fn forget_some(&mut self) {
        let is_idle = |worker: &Worker| worker.named == 0 && worker.waiting == 0;
        let idle = self.list.iter().filter(|(_, worker)| is_idle(worker));
        let mut idle: Vec<(u64, u32)> = idle
            .map(|(&number, worker)| (worker.last_seen_ms, number))
            .collect();
        idle.sort_unstable();
        for (_, number) in idle.into_iter().take(MAX_WORKERS / 10) {
            if let Some(worker) = self.list.remove(&number) {
                self.numbers.remove(&worker.name);
            }
        }
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        self.list.get(&number).map_or("", |worker| &worker.name)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Worker> {
        self.list.get(&number)
    }

    fn change(&mut self, number: u32) -> &mut Worker {
        self.list
            .get_mut(&number)
            .expect("a worker that a delivery names is remembered")
    }

    /// Counts a lease.
    pub(crate) fn lease(&mut self, number: u32) {
        self.change(number).leased += 1;
    }

    /// Counts a delivery that is stored.
    pub(crate) fn name_in_delivery(&mut self, number: u32) {
        self.change(number).named += 1;
    }

    /// Counts the end of a lease.
    pub(crate) fn end_lease(&mut self, number: u32) {
        self.change(number).leased -= 1;
    }

    /// Counts a delivery that is no longer stored.
    pub(crate) fn unname(&mut self, number: u32) {
        self.change(number).named -= 1;
    }

    pub(crate) fn complete(&mut self, number: u32, now_ms: u64) {
        let worker = self.change(number);
        worker.completed += 1;
        worker.last_seen_ms = now_ms;
    }

    pub(crate) fn fail(&mut self, number: u32) {
        self.change(number).failed += 1;
    }

    pub(crate) fn extend(&mut self, number: u32, now_ms: u64) {
        self.change(number).last_seen_ms = now_ms;
    }

    /// Counts a reserve of it that waits.
    pub(crate) fn wait(&mut self, number: u32) {
        self.change(number).waiting += 1;
    }

    pub(crate) fn end_wait(&mut self, number: u32) {
        self.change(number).waiting -= 1;
    }
}
