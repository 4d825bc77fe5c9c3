//! What producers and workers have seen: which tasks were acknowledged, begun and done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Most latencies that are kept for one line.
const MAX_LATENCIES: usize = 100_000;

/// The tally of a round and of the current second.
#[derive(Debug)]
pub(super) struct LiveTally {
    begun: Instant,
    counts: Mutex<TallyCounts>,
    /// Notified when a task is done.
    done: Notify,
}

#[derive(Debug, Default)]
struct TallyCounts {
    /// Tasks whose put was acknowledged, in this round.
    put: BTreeSet<u64>,
    /// How often the handler of a task began.
    begun: BTreeMap<u64, u32>,
    /// Tasks that were acknowledged by the worker.
    done: BTreeSet<u64>,
    second: TallySecond,
    latencies_us: Vec<u64>,
}

/// Numbers of one second, and what was lost and doubled so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TallySecond {
    pub(super) put: u64,
    pub(super) done: u64,
    /// Median and 99th percentile, in milliseconds. 0 without a task.
    pub(super) latencies_ms: [f64; 2],
    /// Of the rounds before.
    pub(super) lost: u64,
    pub(super) doubled: u64,
}

/// Numbers of one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TallyRound {
    pub(super) put: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
}

impl Default for LiveTally {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            counts: Mutex::default(),
            done: Notify::new(),
        }
    }
}

impl LiveTally {
    /// Time since the start, in microseconds: the content of a task.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn task_was_put(&self, id: u64) {
        let mut counts = self.counts();
        counts.put.insert(id);
        counts.second.put += 1;
    }

    /// The handler of a task begins, which was put at `put_us`.
    pub(super) fn task_begins(&self, id: u64, put_us: u64) {
        let latency = self.now_us().saturating_sub(put_us);
        let mut counts = self.counts();
        *counts.begun.entry(id).or_default() += 1;
        if counts.latencies_us.len() < MAX_LATENCIES {
            counts.latencies_us.push(latency);
        }
    }

    pub(super) fn task_is_done(&self, id: u64) {
        let mut counts = self.counts();
        counts.done.insert(id);
        counts.second.done += 1;
        drop(counts);
        self.done.notify_waiters();
    }

    /// Waits until each task that was put is done.
    pub(super) async fn all_are_done(&self) {
        loop {
            let notified = self.done.notified();
            if self.lost() == 0 {
                return;
            }
            notified.await;
        }
    }

    /// The numbers since the last call.
    pub(super) fn take_second(&self) -> TallySecond {
        let mut counts = self.counts();
        let mut latencies = std::mem::take(&mut counts.latencies_us);
        latencies.sort_unstable();
        let second = TallySecond {
            latencies_ms: [percentile(&latencies, 50), percentile(&latencies, 99)],
            doubled: counts.second.doubled + doubled(&counts),
            ..counts.second
        };
        (counts.second.put, counts.second.done) = (0, 0);
        second
    }

    /// The numbers of the round, whose tasks are forgotten.
    pub(super) fn end_round(&self) -> TallyRound {
        let (lost, mut counts) = (self.lost(), self.counts());
        let round = TallyRound {
            put: counts.put.len() as u64,
            lost,
            doubled: doubled(&counts),
        };
        counts.second.lost += round.lost;
        counts.second.doubled += round.doubled;
        counts.put.clear();
        counts.begun.clear();
        counts.done.clear();
        round
    }

    /// Tasks that were put and are not done.
    fn lost(&self) -> u64 {
        let counts = self.counts();
        counts.put.difference(&counts.done).count() as u64
    }

    fn counts(&self) -> MutexGuard<'_, TallyCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn doubled(counts: &TallyCounts) -> u64 {
    counts.begun.values().filter(|begun| **begun > 1).count() as u64
}

/// A percentile of sorted times in microseconds, in milliseconds.
fn percentile(sorted_us: &[u64], percent: usize) -> f64 {
    let at = (sorted_us.len() * percent / 100).min(sorted_us.len().saturating_sub(1));
    sorted_us.get(at).map_or(0.0, |us| *us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_is_not_done_is_lost_and_one_that_begins_twice_is_doubled() {
        let tally = LiveTally::default();
        for id in 1..=3 {
            tally.task_was_put(id);
            tally.task_begins(id, 0);
        }
        tally.task_begins(2, 0);
        tally.task_is_done(1);
        tally.task_is_done(2);
        let second = tally.take_second();
        assert_eq!((second.put, second.done, second.doubled), (3, 2, 1));
        let round = TallyRound {
            put: 3,
            lost: 1,
            doubled: 1,
        };
        assert_eq!(tally.end_round(), round);
        assert_eq!((tally.take_second().lost, tally.take_second().put), (1, 0));
    }

    #[test]
    fn percentiles_are_in_milliseconds() {
        let sorted: Vec<u64> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!(
            [percentile(&sorted, 50), percentile(&sorted, 99)],
            [51.0, 100.0]
        );
        assert_eq!(percentile(&[], 99), 0.0);
        assert_eq!(percentile(&[500], 99), 0.5);
    }
}
