//! What a node counted in the last 15 minutes. Counters since the start do not tell whether something goes on now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::doctor::facts::RecentFacts;
use crate::wall_clock::millis;

/// Time between two samples.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
/// Samples that are kept: 15 minutes.
const KEPT_SAMPLES: usize = 180;

/// The counters of a node at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CounterSample {
    /// Time since the start of the node.
    pub(crate) at: Duration,
    /// Elections of a leader that this node has seen.
    pub(crate) leader_changes: u64,
    /// Refused connections of peers.
    pub(crate) refused_peers: u64,
    /// Calls on which the guest failed; `None` before the node has caught up.
    pub(crate) guest_failures: Option<u64>,
    /// Queries that were refused.
    pub(crate) overloaded_queries: u64,
    /// Refused connections of clients.
    pub(crate) rejected_connections: u64,
    /// Connections that were closed because the client did not read.
    pub(crate) stalled_clients: u64,
    /// Durable writes of the log.
    pub(crate) log_writes: u64,
    /// Their duration, in microseconds.
    pub(crate) log_write_us: u64,
    /// The longest of them since the sample before, in microseconds.
    pub(crate) slowest_write_us: u64,
    /// The last entry of the log.
    pub(crate) last_index: u64,
    /// On a leader: the last entry on the disk of each peer.
    pub(crate) matched: BTreeMap<String, u64>,
    /// The lowest token of deferred commands.
    pub(crate) lowest_deferred: Option<u64>,
}

/// The samples of a node, oldest first.
#[derive(Debug, Default)]
pub(crate) struct CounterHistory(Mutex<VecDeque<CounterSample>>);

impl CounterHistory {
    /// Adds a sample, and drops the oldest one if there are too many.
    pub(crate) fn add(&self, sample: CounterSample) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() >= KEPT_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    fn read<T>(&self, read: impl FnOnce(&VecDeque<CounterSample>) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What happened between the oldest sample and now.
    pub(crate) fn until(&self, now: &CounterSample) -> RecentFacts {
        self.read(|samples| {
            let first = samples.front().cloned().unwrap_or_default();
            let slowest = samples.iter().skip(1).map(|sample| sample.slowest_write_us);
            let known = samples.iter().find_map(|sample| sample.guest_failures);
            let failures = now.guest_failures.unwrap_or(0);
            let failures = failures.saturating_sub(known.unwrap_or(failures));
            let writes = now.log_writes.saturating_sub(first.log_writes);
            let write_us = now.log_write_us.saturating_sub(first.log_write_us);
            RecentFacts {
                window_ms: millis(now.at.saturating_sub(first.at)),
                leader_changes: now.leader_changes.saturating_sub(first.leader_changes),
                refused_peers: now.refused_peers.saturating_sub(first.refused_peers),
                guest_failures: failures,
                overloaded_queries: now
                    .overloaded_queries
                    .saturating_sub(first.overloaded_queries),
                rejected_connections: now
                    .rejected_connections
                    .saturating_sub(first.rejected_connections),
                stalled_clients: now.stalled_clients.saturating_sub(first.stalled_clients),
                log_writes: writes,
                mean_write_us: write_us.checked_div(writes).unwrap_or(0),
                slowest_write_us: slowest.max().unwrap_or(0).max(now.slowest_write_us),
            }
        })
    }

    /// How long `holds` has been true for every sample, the newest first, until now.
    fn held_for(&self, now: Duration, holds: impl Fn(&CounterSample) -> bool) -> Duration {
        self.read(|samples| {
            let unbroken = samples.iter().rev().take_while(|sample| holds(sample));
            unbroken
                .last()
                .map_or(Duration::ZERO, |sample| now.saturating_sub(sample.at))
        })
    }

    /// How long a peer has had entries to receive and has made no progress.
    pub(crate) fn stalled_for(&self, now: &CounterSample, peer: &str) -> Duration {
        let Some(matched) = now.matched.get(peer) else {
            return Duration::ZERO;
        };
        if *matched >= now.last_index {
            return Duration::ZERO;
        }
        self.held_for(now.at, |sample| {
            sample.matched.get(peer) == Some(matched) && sample.last_index > *matched
        })
    }

    /// How long the deferred command with the lowest token has waited at least.
    pub(crate) fn deferred_for(&self, now: &CounterSample) -> Duration {
        if now.lowest_deferred.is_none() {
            return Duration::ZERO;
        }
        self.held_for(now.at, |sample| {
            sample.lowest_deferred == now.lowest_deferred
        })
    }
}

#[cfg(test)]
mod tests;
