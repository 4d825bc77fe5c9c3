//! Flags that an operator changes between two starts of a node: timeouts, leases, and the bounds of its log.

use std::time::Duration;

use super::World;
use crate::sim::profile::{Profile, Releases};

/// The flags of a process.
#[derive(Clone, Debug)]
pub(super) struct Flags {
    pub(super) election_timeout_min: Duration,
    pub(super) election_timeout_max: Duration,
    pub(super) lease_drift_percent: Option<u32>,
    pub(super) snapshot_threshold: u64,
    pub(super) max_log_entries: u64,
    /// The limit on the size of commands that it proposes to a cluster that begins.
    pub(super) command_bytes: Option<u64>,
}

impl Flags {
    /// The flags that the run's profile names. No flag ever allows a node more than these.
    pub(super) fn of(profile: &Profile) -> Self {
        Self {
            election_timeout_min: profile.election_timeout_min,
            election_timeout_max: profile.election_timeout_max,
            lease_drift_percent: profile.lease_drift_percent,
            snapshot_threshold: profile.snapshot_threshold,
            max_log_entries: profile.max_log_entries,
            command_bytes: None,
        }
    }
}

impl World {
    /// The flags of a process that starts.
    pub(super) fn choose_flags(&mut self, node: usize) {
        let base = Flags::of(&self.profile);
        let changes = self.profile.dimensions.flags && !self.calm && self.flag_rng.chance(700);
        let flags = if changes {
            self.draw_flags(&base)
        } else {
            base
        };
        let before = self.nodes[node].flags.replace(flags.clone());
        let differs = |before: &Flags| {
            before.election_timeout_min != flags.election_timeout_min
                || before.lease_drift_percent != flags.lease_drift_percent
                || before.snapshot_threshold != flags.snapshot_threshold
        };
        self.coverage.flag_changes += u64::from(before.as_ref().is_some_and(differs));
    }

    fn draw_flags(&mut self, base: &Flags) -> Flags {
        let rng = &mut self.flag_rng;
        let leveled = self.profile.releases == Releases::New && self.profile.new_stores;
        // Not below what heartbeats need.
        let shortest = 2 * self.profile.heartbeat_interval;
        let halved = (base.election_timeout_min / 2).max(shortest);
        let min = rng.pick(&[base.election_timeout_min, halved]);
        let max = if min < base.election_timeout_min {
            (base.election_timeout_max / 2).max(min * 3 / 2)
        } else {
            base.election_timeout_max
        };
        let threshold = rng.pick(&[
            base.snapshot_threshold,
            base.snapshot_threshold.div_ceil(2).max(4),
        ]);
        let room = base.max_log_entries - base.snapshot_threshold;
        Flags {
            election_timeout_min: min,
            election_timeout_max: max,
            lease_drift_percent: base.lease_drift_percent.filter(|_| rng.chance(500)),
            snapshot_threshold: threshold,
            max_log_entries: rng.pick(&[base.max_log_entries, threshold + room]),
            // At level 0 the flags are the limits, and every node needs the same.
            command_bytes: leveled.then(|| rng.pick(&[100, 300, 1 << 20])),
        }
    }
}
