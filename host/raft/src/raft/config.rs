//! The settings of the core and its bounds on memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::ids::{Lineage, NodeId};

/// The settings of a [`Core`](crate::raft::Core). They do not change while it runs.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This node.
    pub id: NodeId,
    /// The initial members of a new cluster, including this node. Empty for a node that is added later. Ignored once the
    /// log or a snapshot contains a configuration.
    pub voters: BTreeSet<NodeId>,
    /// Addresses of the members, as far as this node was given them.
    pub addresses: BTreeMap<NodeId, String>,
    /// Lower bound of the random election timeout.
    pub election_timeout_min: Duration,
    /// Upper bound of the random election timeout.
    pub election_timeout_max: Duration,
    /// A leader sends to each peer at least once in this interval.
    pub heartbeat_interval: Duration,
    /// Most entries in the log. At the limit, proposals of clients are rejected until a snapshot allows compaction. Control
    /// records have a reserve above it: [`Limits::reserved_entries`]. A follower whose state machine lags accepts no entries at
    /// twice the sum of both.
    pub max_log_entries: u64,
    /// A snapshot is taken after this number of applied entries.
    pub snapshot_threshold: u64,
    /// Turns on lease reads. The value is the largest assumed difference in speed between two clocks, in percent. `None`:
    /// each read needs a round of heartbeats.
    pub lease_drift_percent: Option<u32>,
    /// Settings of the state machine that this node puts into a [`ClusterRecord`](crate::entry::ClusterRecord) that it creates.
    pub initial_settings: Bytes,
    /// How far a clock may differ from the cluster's clock: the bound of the time in the log, and of the clocks of nodes that
    /// lead. `None`: the time in the log is the leader's clock, without a bound.
    pub max_clock_skew: Option<Duration>,
    /// The highest cluster level that this node knows. 0: it behaves as the release before the first level.
    pub known_level: u32,
    /// A random number, for the lineage of a cluster that this node creates or raises from level 0.
    pub new_lineage: Lineage,
    /// Bounds of memory and of messages.
    pub limits: Limits,
    /// Seed of the generator that draws election timeouts.
    pub seed: u64,
}

impl CoreConfig {
    /// The longest lease that the node grants. Zero: it grants none. Before a run with it begins, the store must have recorded
    /// it or a longer one ([`LogStore::record_lease`](crate::storage::LogStore::record_lease)).
    #[must_use]
    pub fn longest_lease(&self) -> Duration {
        match self.lease_drift_percent {
            Some(_) => self.election_timeout_min,
            None => Duration::ZERO,
        }
    }
}

/// Bounds of memory and of messages.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes of entries in one AppendEntries, by [`Entry::cost`](crate::entry::Entry::cost). A larger single entry is
    /// sent alone.
    pub message_bytes: u64,
    /// Most messages with entries in flight to one peer.
    pub in_flight_messages: usize,
    /// Most bytes of entries in flight to one peer.
    pub in_flight_bytes: u64,
    /// Most bytes of uncommitted entries on a leader. At the limit, proposals are rejected.
    pub uncommitted_bytes: u64,
    /// Entries that the log may have above `max_log_entries` for control records: configurations, and commands of
    /// [`CommandClass::Control`](crate::entry::CommandClass). Reports may use half of them. The largest upgrade needs
    /// about 270.
    pub reserved_entries: u64,
    /// Bytes of uncommitted entries above `uncommitted_bytes`, for control records.
    pub reserved_bytes: u64,
    /// Most bytes of durable entries that the log caches in memory.
    pub cache_bytes: u64,
    /// Most entries that the state machine has received and not yet applied.
    pub unapplied_entries: u64,
    /// Most bytes of such entries. One entry is always allowed.
    pub unapplied_bytes: u64,
    /// Most reads that wait for a confirmation of leadership. At the limit, a read fails at once.
    pub pending_reads: usize,
    /// A learner has caught up if it lacks at most this number of committed entries.
    pub promote_lag: u64,
    /// Most snapshot chunks in flight to one peer.
    pub in_flight_chunks: usize,
    /// Most bytes of snapshots sent per second, to all peers together. `None`: no limit.
    pub snapshot_bytes_per_second: Option<u64>,
    /// How often the newest snapshot is read to its end, and its checksum compared.
    pub snapshot_check_interval: Duration,
    /// How long a leader may delay the commit index for a peer whose clients wait for nothing. Zero: no delay.
    pub commit_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            message_bytes: MIB,
            in_flight_messages: 64,
            in_flight_bytes: 16 * MIB,
            uncommitted_bytes: 64 * MIB,
            reserved_entries: 1024,
            reserved_bytes: 16 * MIB,
            cache_bytes: 64 * MIB,
            unapplied_entries: 1024,
            unapplied_bytes: 64 * MIB,
            pending_reads: 65_536,
            promote_lag: 64,
            in_flight_chunks: 4,
            snapshot_bytes_per_second: None,
            snapshot_check_interval: Duration::from_secs(3600),
            commit_delay: Duration::ZERO,
        }
    }
}
