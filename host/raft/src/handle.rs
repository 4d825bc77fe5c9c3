//! The public handle: one node as an application uses it.
//!
//! Behind it run three threads (driver, disk, state machine) and the network's tasks. They hand work to each other
//! through queues whose length the driver bounds; nothing polls.

mod builder;
mod config;
mod notices;
mod open;
mod operate;
mod runtime;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::applier::ApplierError;
use crate::disk::DiskStats;
use crate::driver::{Applied, Consistency, Input, SubmitError};
use crate::entry::SnapshotMeta;
use crate::ids::{Index, NodeId, Term};
use crate::raft::membership::Membership;
use crate::raft::reinstall::Reinstall;
use crate::raft::voting::VotingStatus;
use crate::raft::{Core, Role};
use crate::state_machine::ReplicatedStateMachine;
use crate::storage::StorageError;

pub use builder::RaftBuilder;
pub use config::{ConfigError, RaftConfig};
use runtime::{Runtime, ThreadEnvironment};

/// How long [`Raft::submit_command`] waits.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a command given to [`Raft::submit_command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaftResult {
    /// It is committed, at this index, and applied here.
    Success(u64),
    /// This node does not lead; that one does, if any is known to.
    NotLeader {
        /// Id of the leader.
        leader_id: Option<String>,
    },
    /// It has no outcome; the error says whether it may still be carried out.
    Error(SubmitError),
}

/// Why a node could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Files are damaged, and this node is alone: nobody can give it what they held.
    #[error(
        "{0}. This node is alone, so there are no peers to heal from: restore its data directory from a backup; or, where its cluster has other members, start it with --join"
    )]
    NobodyToHealFrom(#[source] Box<StartError>),
    /// The newest snapshot can't be restored.
    #[error(transparent)]
    Restore(#[from] ApplierError),
    /// The address can't be listened on.
    #[error("cannot listen for peers on {address}: {source}; is another node running there?")]
    Listen {
        /// Which address.
        address: String,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// The network can't be set up.
    #[error(transparent)]
    Network(#[from] crate::node::NetworkStartError),
    /// It runs already, or has been stopped.
    #[error("this node was started before; make a new one")]
    StartedBefore,
    /// The operating system gives no thread.
    #[error("a thread could not be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why a node stopped by itself. What it holds on disk is what it acknowledged.
#[derive(Clone, Debug, Error)]
pub enum FatalError {
    /// The disk failed: after that it is unknown what is on it, so nothing more is promised.
    #[error("{0}")]
    Storage(Arc<StorageError>),
    /// The state machine failed.
    #[error("{0}")]
    Machine(Arc<ApplierError>),
    /// A thread panicked: a bug.
    #[error("{thread} panicked: {message}; this is a bug")]
    Panic {
        /// Which one.
        thread: &'static str,
        /// What it said.
        message: String,
    },
}

/// A node as it was a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub node_id: NodeId,
    /// What it is.
    pub role: Role,
    /// The latest term that it has seen.
    pub term: Term,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// Entries up to here are committed, as far as this node knows.
    pub commit: Index,
    /// Entries up to here are applied.
    pub applied: Index,
    /// First entry kept in the log.
    pub first: Index,
    /// Last entry.
    pub last: Index,
    /// Entries up to here are on this node's disk.
    pub stable: Index,
    /// The newest snapshot stands for entries up to here.
    pub snapshot: Option<SnapshotMeta>,
    /// All voters.
    pub voters: Vec<NodeId>,
    /// All members, with what they are and where they are reached.
    pub membership: Membership,
    /// For a leader: up to where each peer's disk holds its log.
    pub matched: Vec<(NodeId, Index)>,
    /// A leader that knows what is committed.
    pub has_committed_in_term: bool,
    /// The disk had no room for the last write, which is tried again.
    pub disk_full: bool,
    /// A leader that answers linearizable questions without asking a majority, as of its last turn.
    pub has_lease: bool,
    /// Whether it votes where it is a voter, and if not, what it waits for.
    pub voting: VotingStatus,
    /// Voters that have lost their stores, as far as this node has heard, and are not yet taken in again.
    pub voters_without_data: Vec<NodeId>,
    /// How far the replacement of the machine's state by a leader's has come, if it is under way.
    pub reinstall: Option<Reinstall>,
    /// How often that was done since the node was started.
    pub reinstalled: u64,
}

impl Status {
    /// Takes over what has changed, and says whether anything has. It is called after every turn of the driver, so what
    /// seldom changes is compared and not copied.
    fn follow(&mut self, core: &Core) -> bool {
        let log = core.log();
        let mut news = set(&mut self.role, core.role());
        news |= set(&mut self.term, core.term());
        news |= set(&mut self.commit, log.committed());
        news |= set(&mut self.applied, log.applied());
        news |= set(&mut self.first, log.purged().index.next());
        news |= set(&mut self.last, log.last().index);
        news |= set(&mut self.stable, log.stable());
        news |= set(
            &mut self.has_committed_in_term,
            core.has_committed_in_term(),
        );
        news |= set(&mut self.disk_full, core.is_disk_full());
        news |= set(&mut self.has_lease, core.lease_until().is_some());
        news |= set(&mut self.voting, core.voting_status());
        news |= set(&mut self.voters_without_data, core.voters_without_data());
        news |= set(&mut self.reinstall, core.reinstalling());
        news |= set(&mut self.reinstalled, core.reinstalled());
        if self.node_id != *core.id() {
            self.node_id.clone_from(core.id());
            news = true;
        }
        if self.leader.as_ref() != core.leader() {
            self.leader = core.leader().cloned();
            news = true;
        }
        if self.snapshot.as_ref() != core.snapshot() {
            self.snapshot = core.snapshot().cloned();
            news = true;
        }
        if self.membership != *core.membership() {
            self.membership = core.membership().clone();
            self.voters = self.membership.voters().cloned().collect();
            news = true;
        }
        let matched = || core.peers().iter().map(|(id, peer)| (id, peer.matched));
        if !matched().eq(self.matched.iter().map(|(id, matched)| (id, *matched))) {
            self.matched = matched()
                .map(|(id, matched)| (id.clone(), matched))
                .collect();
            news = true;
        }
        news
    }
}

/// Says whether it is another value.
fn set<T: PartialEq>(place: &mut T, value: T) -> bool {
    let news = *place != value;
    *place = value;
    news
}

/// Who leads, as far as a node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// In which term.
    pub term: Term,
    /// It is this node, and it knows what is committed.
    pub is_own: bool,
}

/// One node of a cluster. Cheap to clone; the node stops when [`Raft::shutdown`] is called or the last clone goes.
pub struct Raft<M: ReplicatedStateMachine> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: ReplicatedStateMachine> {
    prepared: Mutex<Option<RaftBuilder<M>>>,
    runtime: Mutex<Option<Runtime<M>>>,
    inbox: runtime::Inbox<M>,
    status: watch::Receiver<Status>,
    leadership: watch::Receiver<Leadership>,
    fault: watch::Receiver<Option<FatalError>>,
    /// One for each command and question under way.
    places: Arc<Semaphore>,
    epoch: std::time::Instant,
}

impl<M: ReplicatedStateMachine> Clone for Raft<M> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: ReplicatedStateMachine> fmt::Debug for Raft<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft")
            .field("status", &*self.shared.status.borrow())
            .finish_non_exhaustive()
    }
}

/// A node whose log is in memory, with the default settings, talking to `peers` over TCP.
///
/// Ids are `id`, `host:port` or `id@host:port`; a bare id is a host name with the default port.
pub fn create_raft<M: ReplicatedStateMachine>(
    node_id: String,
    peers: Vec<String>,
    state_machine: M,
) -> Raft<M> {
    Raft::new(
        RaftConfig {
            node_id,
            peers,
            ..RaftConfig::default()
        },
        state_machine,
    )
}

impl<M: ReplicatedStateMachine> Raft<M> {
    /// A node whose log is in memory. [`Raft::builder`] makes one with a disk.
    #[must_use]
    pub fn new(config: RaftConfig, state_machine: M) -> Self {
        Self::builder(config, state_machine).build()
    }

    /// A node with everything that can be set beside [`RaftConfig`].
    #[must_use]
    pub fn builder(config: RaftConfig, state_machine: M) -> RaftBuilder<M> {
        RaftBuilder::new(config, state_machine)
    }

    /// Opens the store, restores the newest snapshot, listens, and takes part.
    ///
    /// # Errors
    /// Where a setting makes no sense, the disk can't be used, or the address is taken.
    pub async fn start(&self) -> Result<(), StartError> {
        let prepared = lock(&self.shared.prepared)
            .take()
            .ok_or(StartError::StartedBefore)?;
        let runtime = Runtime::start(prepared, &self.shared.inbox, self.shared.epoch).await?;
        *lock(&self.shared.runtime) = Some(runtime);
        Ok(())
    }

    /// Replicates a command and waits until it is applied here. Only a leader takes it.
    pub async fn submit_command(&self, command: impl AsRef<[u8]>) -> RaftResult {
        let data = Bytes::copy_from_slice(command.as_ref());
        match self.propose(data, SUBMIT_TIMEOUT, false).await {
            Ok(applied) => RaftResult::Success(applied.index.0),
            Err(SubmitError::NotLeader { leader }) => RaftResult::NotLeader {
                leader_id: leader.map(|leader| leader.as_str().to_owned()),
            },
            Err(error) => RaftResult::Error(error),
        }
    }

    /// Replicates a command, over the leader if this node isn't it, and waits until it is applied here.
    ///
    /// # Errors
    /// See [`SubmitError`]: each says whether the command may still be carried out.
    pub async fn submit(
        &self,
        data: Bytes,
        timeout: Duration,
    ) -> Result<Applied<M::Reply>, SubmitError> {
        self.propose(data, timeout, true).await
    }

    async fn propose(
        &self,
        data: Bytes,
        timeout: Duration,
        forward: bool,
    ) -> Result<Applied<M::Reply>, SubmitError> {
        let _place = self.place()?;
        let (client, outcome) = oneshot::channel();
        let deadline = self.deadline(timeout);
        self.hand_in(Input::Propose {
            data,
            deadline,
            forward,
            client,
        })?;
        outcome.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Asks the state machine, and says after which entry it answered.
    ///
    /// # Errors
    /// Where no leader could vouch for the answer in time.
    pub async fn query(
        &self,
        query: M::Query,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<(Index, M::Response), SubmitError> {
        let _place = self.place()?;
        let (client, answer) = oneshot::channel();
        let deadline = self.deadline(timeout);
        self.hand_in(Input::Query {
            query,
            consistency,
            deadline,
            client,
        })?;
        answer.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Asks for a snapshot now.
    ///
    /// # Errors
    /// Where the node is stopping.
    pub fn request_snapshot(&self) -> Result<(), SubmitError> {
        self.hand_in(Input::TakeSnapshot)
    }

    /// Has the machine's state, whatever it is, replaced by a leader's. It stops being applied to, its state is set aside,
    /// and [`Status::reinstall`] says from which entry on a snapshot is wanted: [`Raft::request_leader_snapshot`] asks for it.
    ///
    /// # Errors
    /// Where the node is stopping.
    pub fn reinstall(&self) -> Result<(), SubmitError> {
        self.hand_in(Input::Reinstall)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, SubmitError> {
        let places = Arc::clone(&self.shared.places);
        places
            .try_acquire_owned()
            .map_err(|_| SubmitError::Overloaded {
                what: "requests at this node",
            })
    }

    fn deadline(&self, timeout: Duration) -> Duration {
        self.shared.epoch.elapsed().saturating_add(timeout)
    }

    fn hand_in(&self, input: Input<M, ThreadEnvironment<M>>) -> Result<(), SubmitError> {
        self.shared
            .inbox
            .put(input)
            .map_err(|_| SubmitError::Stopped)
    }

    /// Whether this node leads.
    pub async fn is_leader(&self) -> bool {
        self.status().role == Role::Leader
    }

    /// The latest term that this node has seen.
    pub async fn get_term(&self) -> u64 {
        self.status().term.0
    }

    /// The node as it was a moment ago.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Tells of every change of the status.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.shared.status.clone()
    }

    /// Tells of every change of who leads. Unlike the status, that is not another one after every entry, so whoever
    /// follows it is not woken by load.
    #[must_use]
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.clone()
    }

    /// The address that it listens on for peers, once started.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        lock(&self.shared.runtime).as_ref().map(Runtime::peer_addr)
    }

    /// What the network has seen, once started.
    #[must_use]
    pub fn network(&self) -> Option<Arc<crate::node::Network>> {
        lock(&self.shared.runtime).as_ref().map(Runtime::network)
    }

    /// What the disk has done, once started.
    #[must_use]
    pub fn disk(&self) -> Option<Arc<DiskStats>> {
        lock(&self.shared.runtime).as_ref().map(Runtime::disk)
    }

    /// Waits until the node stops by itself, and says why.
    pub async fn failed(&self) -> FatalError {
        let mut fault = self.shared.fault.clone();
        loop {
            if let Some(fault) = fault.borrow_and_update().clone() {
                return fault;
            }
            if fault.changed().await.is_err() {
                // Stopped on purpose: there will be no fault.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops the node: those who wait are told, what is being written is finished, all threads end.
    pub async fn shutdown(&self) {
        let runtime = lock(&self.shared.runtime).take();
        if let Some(runtime) = runtime {
            runtime.stop().await;
        }
    }
}

/// A poisoned lock holds what it held: nothing here is left half-done under one.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
