//! Limits of the driver.

use std::time::Duration;

/// Limits on what clients may have in flight at one node.
#[derive(Clone, Debug)]
pub struct DriverLimits {
    /// Commands that may wait for an outcome, and as many queries. Further ones are refused as overload.
    pub waiting: usize,
    /// Largest command, in bytes. Set the same on every node, and far below the largest frame: a command travels in one.
    pub command_bytes: u64,
    /// Bytes of the commands that are queued or wait for an outcome. Further ones are refused as overload.
    pub queued_bytes: u64,
    /// Control records that may be queued in addition, and as many reports. They may also wait for an outcome in addition to
    /// `waiting`.
    pub reserved: usize,
    /// Bytes of the commands in one entry. A single larger command gets an entry of its own.
    pub batch_bytes: u64,
    /// Commands in one entry.
    pub batch_commands: usize,
    /// Uncommitted entries of a leader while commands keep arriving; past this, commands gather for the next entry. Two
    /// keep disk and network busy, and more only make the entries smaller.
    pub entries_in_flight: usize,
    /// How long a queued command waits for a leader. Then it fails with `NoLeader`.
    pub leader_timeout: Duration,
    /// Pause before a linearizable read is retried with the same leader, which could not confirm it.
    pub read_retry: Duration,
    /// Messages that wait for a disk write. Further ones are dropped, as the network may drop any: the disk hangs then.
    /// At least one for each peer, or some voters would never receive the vote requests.
    pub held_messages: usize,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            waiting: 65_536,
            command_bytes: 16 << 20,
            queued_bytes: 64 << 20,
            reserved: 1024,
            batch_bytes: 1 << 20,
            batch_commands: 4096,
            entries_in_flight: 2,
            leader_timeout: Duration::from_secs(4),
            read_retry: Duration::from_millis(100),
            held_messages: 65_536,
        }
    }
}
