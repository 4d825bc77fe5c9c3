//! The settings of a node beyond [`RaftConfig`].
//!
//! Each setting has one setter, which takes one value. A setter that took a struct with defaults of its own would reset the
//! settings that its caller did not name.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::config::{ConfigError, RaftConfig};
use super::node_config::NodeConfig;
use super::wall_clock::{self, WallClock};
use crate::driver::DriverLimits;
use crate::entry::CLUSTER_LEVEL;
use crate::ids::{Lineage, NodeId};
use crate::node::security::PeerSecurity;
use crate::raft::{CoreConfig, Limits};
use crate::random::{random_u64, random_u128};
use crate::state_machine::ReplicatedStateMachine;

/// Default of [`RaftBuilder::commit_delay`]. Too short for a client to notice. Under load the next entries come earlier,
/// and carry the commit index without a message of its own.
const COMMIT_DELAY: Duration = Duration::from_millis(3);

/// Default of [`RaftBuilder::max_clock_skew`].
const MAX_CLOCK_SKEW: Duration = Duration::from_millis(500);

/// A node before it is built. Made by [`Raft::builder`](super::Raft::builder).
pub struct RaftBuilder<M: ReplicatedStateMachine> {
    pub(super) config: RaftConfig,
    pub(super) machine: M,
    cluster_id: String,
    cluster_id_only_if_new: bool,
    client_addr: String,
    data_dir: Option<PathBuf>,
    pub(super) listener: Option<TcpListener>,
    pub(super) wall_clock: WallClock,
    pub(super) join: bool,
    may_be_alone: bool,
    repair: bool,
    accept_copy: bool,
    lease_drift_percent: Option<u32>,
    initial_settings: Bytes,
    max_clock_skew: Duration,
    peer_security: Option<Arc<dyn PeerSecurity>>,
    core_limits: Limits,
    driver_limits: DriverLimits,
}

impl<M: ReplicatedStateMachine> RaftBuilder<M> {
    pub(super) fn new(config: RaftConfig, machine: M) -> Self {
        let leader_timeout = config.election_timeout_max * 2;
        Self {
            config,
            machine,
            cluster_id: "oarlock".to_owned(),
            cluster_id_only_if_new: false,
            client_addr: String::new(),
            data_dir: None,
            listener: None,
            wall_clock: wall_clock::of_the_machine(),
            join: false,
            may_be_alone: false,
            repair: false,
            accept_copy: false,
            lease_drift_percent: None,
            initial_settings: Bytes::new(),
            max_clock_skew: MAX_CLOCK_SKEW,
            peer_security: None,
            core_limits: Limits {
                commit_delay: COMMIT_DELAY,
                ..Limits::default()
            },
            driver_limits: DriverLimits {
                leader_timeout,
                ..DriverLimits::default()
            },
        }
    }

    /// Name of the cluster, 1 to 255 bytes. Nodes of other clusters are refused, and so is a data directory of another
    /// cluster. Default: `oarlock`.
    #[must_use]
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = id.into();
        self.cluster_id_only_if_new = false;
        self
    }

    /// As [`RaftBuilder::cluster_id`], but only while the data directory is empty. A directory with data keeps the name that
    /// it has. For a name that is derived from other settings, which may change.
    #[must_use]
    pub fn cluster_id_if_new(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = id.into();
        self.cluster_id_only_if_new = true;
        self
    }

    /// Address of this node for clients. Its peers receive it, and can give it to their clients. Default: none.
    #[must_use]
    pub fn client_addr(mut self, addr: impl Into<String>) -> Self {
        self.client_addr = addr.into();
        self
    }

    /// Directory for log, vote and snapshots. Default: they are in memory.
    #[must_use]
    pub fn data_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.data_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// The socket to listen on for peers. Default: the node binds the address in `node_id`.
    #[must_use]
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// The wall clock of this node: returns milliseconds since 1970. It may be set at any time, forward and back. It must not
    /// block. Default: the clock of the machine.
    #[must_use]
    pub fn wall_clock(mut self, read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.wall_clock = Arc::new(read);
        self
    }

    /// Starts the node without a cluster: it waits until a cluster adds it. Has an effect only if the store is empty;
    /// otherwise the members in the store count. With an empty [`RaftBuilder::cluster_id`], it joins the cluster of the
    /// first node that connects to it.
    #[must_use]
    pub fn join(mut self) -> Self {
        self.join = true;
        self
    }

    /// As [`RaftBuilder::join`], for a node that may be the only member of its cluster. If its files are corrupt, a repair is
    /// refused: its peers might not exist.
    #[must_use]
    pub fn wait(mut self) -> Self {
        self.join = true;
        self.may_be_alone = true;
        self
    }

    /// Repairs a data directory with corrupt files: the node keeps them in a folder aside, and rejoins with an empty store,
    /// which its peers fill. Until then it does not vote. Without this, the node refuses to start and names the corrupt
    /// file. Default: false.
    #[must_use]
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }

    /// Accepts a data directory that is a copy and belongs to the only voter of a cluster. No other node can tell what such
    /// a copy lacks, so without this the node refuses to start. A node with other voters does not need it: it rejoins. Default:
    /// false.
    #[must_use]
    pub fn accept_copy(mut self, accept: bool) -> Self {
        self.accept_copy = accept;
        self
    }

    /// Enables leader leases: a leader serves linearizable queries without a message to a majority, while leases of a
    /// majority last. That is safe only if the clocks of two nodes never differ in speed by more than `drift_percent`, and
    /// no clock stops while its node runs. See [`CoreConfig`](crate::raft::CoreConfig). Only nodes with this setting grant
    /// leases. Default: off; each read needs a round to a majority, and safety does not depend on clocks.
    #[must_use]
    pub fn leader_lease(mut self, drift_percent: u32) -> Self {
        self.lease_drift_percent = Some(drift_percent);
        self
    }

    /// Settings of the state machine that this node proposes if it creates the first entry of a cluster or raises the level of one.
    /// Opaque to Raft: every node passes those in the entry to
    /// [`ReplicatedStateMachine::configure`]. Default: empty.
    #[must_use]
    pub fn initial_settings(mut self, settings: impl Into<Bytes>) -> Self {
        self.initial_settings = settings.into();
        self
    }

    /// How far the clock of a node may differ from the clocks of a majority. The time in the log is never later than these
    /// clocks plus this bound. A node that differs by more does not lead while another one can. Set the same on every node, and
    /// far above the round trip between them. Default: 500 ms.
    #[must_use]
    pub fn max_clock_skew(mut self, bound: Duration) -> Self {
        self.max_clock_skew = bound;
        self
    }

    /// Proof of identity and encryption of the connections between peers. Set it on every node or on none. Default: connections are
    /// neither authenticated nor encrypted.
    #[must_use]
    pub fn peer_security(mut self, security: Arc<dyn PeerSecurity>) -> Self {
        self.peer_security = Some(security);
        self
    }

    /// Bytes of snapshots that this node sends per second, to all peers together. `None`: no limit. Default: `None`.
    #[must_use]
    pub fn snapshot_bytes_per_second(mut self, limit: Option<u64>) -> Self {
        self.core_limits.snapshot_bytes_per_second = limit;
        self
    }

    /// How often the newest snapshot is read to its end and its checksum compared. Default: an hour.
    #[must_use]
    pub fn snapshot_check_interval(mut self, interval: Duration) -> Self {
        self.core_limits.snapshot_check_interval = interval;
        self
    }

    /// How long a leader may delay the message with a commit index to a peer whose clients wait for nothing. The next
    /// entries carry it if they come earlier. Zero: no delay. Default: 3 ms.
    #[must_use]
    pub fn commit_delay(mut self, delay: Duration) -> Self {
        self.core_limits.commit_delay = delay;
        self
    }

    /// Commands that may wait for an outcome at this node, and as many queries. Further ones are refused as overload.
    /// Default: 65,536.
    #[must_use]
    pub fn max_waiting(mut self, requests: usize) -> Self {
        self.driver_limits.waiting = requests;
        self
    }

    /// Largest command, in bytes. Set the same on every node, and far below the largest frame. Default: 16 MiB.
    #[must_use]
    pub fn max_command_bytes(mut self, bytes: u64) -> Self {
        self.driver_limits.command_bytes = bytes;
        self
    }

    pub(super) fn max_waiting_requests(&self) -> usize {
        self.driver_limits.waiting
    }

    /// All settings, validated.
    ///
    /// # Errors
    /// A setting is not valid.
    pub fn node_config(&self) -> Result<NodeConfig, ConfigError> {
        let (address, peers) = self.config.validate()?;
        let all = || peers.iter().chain([&address]);
        let voters: BTreeSet<NodeId> = if self.join {
            BTreeSet::new()
        } else {
            all().map(|address| address.id.clone()).collect()
        };
        let core = CoreConfig {
            id: address.id.clone(),
            voters,
            addresses: all()
                .map(|address| (address.id.clone(), address.host_port()))
                .collect(),
            election_timeout_min: self.config.election_timeout_min,
            election_timeout_max: self.config.election_timeout_max,
            heartbeat_interval: self.config.heartbeat_interval,
            max_log_entries: self.config.max_log_entries as u64,
            snapshot_threshold: self.config.snapshot_threshold as u64,
            lease_drift_percent: self.lease_drift_percent,
            initial_settings: self.initial_settings.clone(),
            max_clock_skew: Some(self.max_clock_skew),
            known_level: CLUSTER_LEVEL,
            new_lineage: Lineage(random_u128()),
            limits: self.core_limits.clone(),
            seed: random_u64(),
        };
        Ok(NodeConfig {
            is_bare_id: !self.config.node_id.contains([':', '@']),
            address,
            peers,
            cluster_id: self.cluster_id.clone(),
            cluster_id_only_if_new: self.cluster_id_only_if_new,
            client_addr: self.client_addr.clone(),
            data_dir: self.data_dir.clone(),
            join: self.join,
            may_be_alone: self.may_be_alone,
            repair: self.repair,
            accept_copy: self.accept_copy,
            peer_security: self.peer_security.clone(),
            core,
            driver: self.driver_limits.clone(),
        })
    }
}
