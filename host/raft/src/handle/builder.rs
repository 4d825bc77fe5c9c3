//! What can be set of a node beside the seed's [`RaftConfig`].

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use super::runtime::{Inbox, News, Receiver, random};
use super::{ConfigError, Leadership, Raft, RaftConfig, Shared, Status};
use crate::address::PeerAddress;
use crate::driver::DriverLimits;
use crate::ids::{Index, NodeId, Term};
use crate::raft::membership::Membership;
use crate::raft::voting::VotingStatus;
use crate::raft::{CoreConfig, Limits, Role};
use crate::state_machine::ReplicatedStateMachine;

/// Far below what anyone notices on a node whose clients do nothing, and long enough for the next entries to come first
/// where there is any load: that halves the messages.
const COMMIT_DELAY: Duration = Duration::from_millis(3);

/// A node before it is built. Made by [`Raft::builder`].
pub struct RaftBuilder<M: ReplicatedStateMachine> {
    pub(super) config: RaftConfig,
    pub(super) machine: M,
    pub(super) cluster_id: String,
    pub(super) client_addr: String,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) listener: Option<TcpListener>,
    pub(super) limits: Limits,
    pub(super) driver_limits: DriverLimits,
    pub(super) join: bool,
    pub(super) repair: bool,
    pub(super) lease_drift_percent: Option<u32>,
    /// Filled in by [`RaftBuilder::build`].
    pub(super) plumbing: Option<Plumbing<M>>,
}

/// The ends of the channels that the running node keeps.
pub(super) struct Plumbing<M: ReplicatedStateMachine> {
    pub(super) inputs: Receiver<M>,
    pub(super) news: News,
}

impl<M: ReplicatedStateMachine> RaftBuilder<M> {
    pub(super) fn new(config: RaftConfig, machine: M) -> Self {
        let patience = config.election_timeout_max * 2;
        Self {
            config,
            machine,
            cluster_id: "oarlock".to_owned(),
            client_addr: String::new(),
            data_dir: None,
            listener: None,
            limits: Limits {
                commit_delay: COMMIT_DELAY,
                ..Limits::default()
            },
            driver_limits: DriverLimits {
                leader_timeout: patience,
                ..DriverLimits::default()
            },
            join: false,
            repair: false,
            lease_drift_percent: None,
            plumbing: None,
        }
    }

    /// Name of the cluster: nodes of another one are refused. Default: `oarlock`.
    #[must_use]
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = id.into();
        self
    }

    /// Where this node's clients reach it; its peers learn it and can tell theirs.
    #[must_use]
    pub fn client_addr(mut self, addr: impl Into<String>) -> Self {
        self.client_addr = addr.into();
        self
    }

    /// Keeps log, vote and snapshots in this directory. Default: in memory.
    #[must_use]
    pub fn data_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.data_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Listens on this socket for peers. Default: the address in `node_id`.
    #[must_use]
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Starts as a member of no cluster and waits to be added to one. Only for a node whose store is empty: what the
    /// store says of the members counts more. With an empty [`RaftBuilder::cluster_id`] it belongs to the cluster of the
    /// first node that connects to it.
    #[must_use]
    pub fn join(mut self) -> Self {
        self.join = true;
        self
    }

    /// Where files in the data directory are damaged: sets them aside, keeps them, and comes back with an empty store
    /// that the peers fill. The node has no say until they have. Without this it stops and names what is damaged.
    #[must_use]
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }

    /// Lets a leader that a majority has promised to follow for a while answer linearizable reads without asking again.
    /// That is right only where the clocks of two nodes never differ in speed by more than `drift_percent`, and stand
    /// still only where the node does: see [`CoreConfig`](crate::raft::CoreConfig). Counts on nodes that have this set.
    /// Default: the leader asks a majority for each read, and no clock matters.
    #[must_use]
    pub fn leader_lease(mut self, drift_percent: u32) -> Self {
        self.lease_drift_percent = Some(drift_percent);
        self
    }

    /// Bytes of snapshots that this node sends per second, to all peers together. `None`: no limit. Default: `None`.
    #[must_use]
    pub fn snapshot_bytes_per_second(mut self, limit: Option<u64>) -> Self {
        self.limits.snapshot_bytes_per_second = limit;
        self
    }

    /// How long a leader may hold back the news of a commit from a peer whose clients wait for nothing. The next entries
    /// carry it if they come earlier. Zero: it is sent at once. Default: 3 ms.
    #[must_use]
    pub fn commit_delay(mut self, delay: Duration) -> Self {
        self.limits.commit_delay = delay;
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

    /// What the consensus core of this node is configured with.
    ///
    /// # Errors
    /// A setting is not valid.
    pub fn core_config(&self) -> Result<CoreConfig, ConfigError> {
        let (own, peers) = self.config.validate()?;
        let all = || peers.iter().chain([&own]);
        let voters: BTreeSet<NodeId> = if self.join {
            BTreeSet::new()
        } else {
            all().map(|address| address.id.clone()).collect()
        };
        Ok(CoreConfig {
            id: own.id.clone(),
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
            limits: self.limits.clone(),
            seed: random(),
        })
    }

    /// The node, not yet started.
    #[must_use]
    pub fn build(mut self) -> Raft<M> {
        let places = Arc::new(Semaphore::new(self.driver_limits.waiting));
        let open = Arc::new(AtomicBool::new(false));
        let (inbox, inputs) = Inbox::new(open);
        let (status_sender, status) = watch::channel(unstarted(&self.config, self.join));
        let (leadership_sender, leadership) = watch::channel(Leadership::default());
        let (fault_sender, fault) = watch::channel(None);
        self.plumbing = Some(Plumbing {
            inputs,
            news: News {
                status: status_sender,
                leadership: leadership_sender,
                fault: fault_sender,
            },
        });
        let prepared = Mutex::new(Some(self));
        let runtime = Mutex::new(None);
        Raft {
            shared: Arc::new(Shared {
                prepared,
                runtime,
                inbox,
                status,
                leadership,
                fault,
                places,
                epoch: Instant::now(),
            }),
        }
    }
}

/// The node and its peers as the settings name them; what can't be read is refused at the start.
fn configured(config: &RaftConfig) -> Vec<PeerAddress> {
    let written = config.peers.iter().chain([&config.node_id]);
    written.filter_map(|text| text.parse().ok()).collect()
}

fn unstarted(config: &RaftConfig, join: bool) -> Status {
    let address: Result<PeerAddress, _> = config.node_id.parse();
    let founders = if join { Vec::new() } else { configured(config) };
    let addresses = founders
        .iter()
        .map(|peer| (peer.id.clone(), peer.host_port()))
        .collect();
    let membership = Membership::of_voters(founders.iter().map(|peer| &peer.id), &addresses);
    Status {
        node_id: address.map_or_else(|_| config.node_id.as_str().into(), |address| address.id),
        role: Role::Follower,
        term: Term::ZERO,
        leader: None,
        commit: Index::ZERO,
        applied: Index::ZERO,
        first: Index(1),
        last: Index::ZERO,
        stable: Index::ZERO,
        snapshot: None,
        voters: membership.voters().cloned().collect(),
        membership,
        matched: Vec::new(),
        has_committed_in_term: false,
        disk_full: false,
        has_lease: false,
        voting: VotingStatus::Eligible,
        voters_without_data: Vec::new(),
        reinstall: None,
        reinstalled: 0,
    }
}
