//! The public handle of a node: [`Raft`].
//!
//! Three threads run behind it (driver, disk and state machine), and the network's tasks. Disk and state machine get their
//! work through queues whose length the driver bounds; the thread with an event for the driver runs it. Nothing polls.
//!
//! | file | content |
//! |---|---|
//! | `config`, `builder`, `node_config` | settings: as users write them, and validated |
//! | `error`, `status` | what a node reports |
//! | `channels`, `environment` | events to the driver, and its work for others |
//! | `open`, `stored_cluster` | opens and checks the stores; the cluster that they belong to |
//! | `inbox`, `shared_driver` | how events get to the driver, and who runs it |
//! | `threads`, `runtime` | the running node |
//! | `admin` | calls of operators |

mod admin;
mod builder;
mod channels;
mod config;
mod environment;
mod error;
mod inbox;
mod node_config;
mod open;
mod runtime;
mod shared_driver;
mod status;
mod status_log;
mod stored_cluster;
#[cfg(test)]
mod tests;
mod threads;
mod wall_clock;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::disk::DiskStats;
use crate::driver::{
    Applied, Consistency, CopyRequest, Input, LogCopy, SnapshotFailures, SubmitError,
};
use crate::entry::CommandClass;
use crate::ids::Index;
use crate::raft::Role;
use crate::state_machine::{ReplicatedStateMachine, WaitingClient};
use channels::{NodeInput, Published, Publisher};
use environment::QuerySender;
use inbox::Inbox;
use runtime::{Prepared, Runtime};

pub use builder::RaftBuilder;
pub use config::{ConfigError, RaftConfig};
pub use error::{FatalError, StartError};
pub use node_config::NodeConfig;
pub use status::{Leadership, Status};

/// How long [`Raft::submit_command`] waits.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of operators and control records that may wait in addition to those of clients.
const RESERVED_PERMITS: usize = 1024;

/// Outcome of [`Raft::submit_command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaftResult {
    /// The command is committed at this index, and applied on this node.
    Success(u64),
    /// This node is not the leader.
    NotLeader {
        /// Id of the leader, if one is known.
        leader_id: Option<String>,
    },
    /// The command failed. The error states whether it may still be applied.
    Error(SubmitError),
}

/// One node of a cluster. Cheap to clone. The node stops when [`Raft::shutdown`] is called or the last clone is dropped.
pub struct Raft<M: ReplicatedStateMachine> {
    shared: Arc<Shared<M>>,
}

struct Shared<M: ReplicatedStateMachine> {
    lifecycle: Mutex<Lifecycle<M>>,
    inbox: Inbox<M>,
    published: Published,
    /// One permit for each command, query and admin request in flight.
    permits: Arc<Semaphore>,
    /// Further ones for admin requests and control records.
    reserved_permits: Arc<Semaphore>,
    /// Zero of the node's clock.
    epoch: Instant,
}

enum Lifecycle<M: ReplicatedStateMachine> {
    Prepared(Box<Prepared<M>>),
    Running(Runtime<M>),
    /// Starting, stopped, or failed to start. A node starts once.
    Inactive,
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
            .field("status", &*self.shared.published.status.borrow())
            .finish_non_exhaustive()
    }
}

/// A node with the default settings and its log in memory, which connects to `peers` over TCP.
///
/// Ids are `id`, `host:port` or `id@host:port`. A bare id is a host name with the default port.
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

impl<M: ReplicatedStateMachine> RaftBuilder<M> {
    /// Builds the node. [`Raft::start`] starts it, and reports settings that are not valid.
    #[must_use]
    pub fn build(self) -> Raft<M> {
        let config = self.node_config();
        let permits = self.max_waiting_requests();
        let status = Status::before_start(&self.config, self.join);
        let inbox = Inbox::new();
        let (publisher, published) = Publisher::new(status);
        let epoch = Instant::now();
        let prepared = Prepared {
            config,
            machine: self.machine,
            listener: self.listener,
            wall_clock: self.wall_clock,
            publisher,
            epoch,
        };
        Raft {
            shared: Arc::new(Shared {
                lifecycle: Mutex::new(Lifecycle::Prepared(Box::new(prepared))),
                inbox,
                published,
                permits: Arc::new(Semaphore::new(permits)),
                reserved_permits: Arc::new(Semaphore::new(RESERVED_PERMITS)),
                epoch,
            }),
        }
    }
}

impl<M: ReplicatedStateMachine> Raft<M> {
    /// A node whose log is in memory. [`Raft::builder`] builds one with a data directory.
    #[must_use]
    pub fn new(config: RaftConfig, state_machine: M) -> Self {
        Self::builder(config, state_machine).build()
    }

    /// A builder for a node, with setters for the settings beyond [`RaftConfig`].
    #[must_use]
    pub fn builder(config: RaftConfig, state_machine: M) -> RaftBuilder<M> {
        RaftBuilder::new(config, state_machine)
    }

    /// Opens the store, restores the newest snapshot, listens for peers, and takes part in the cluster.
    ///
    /// # Errors
    /// A setting is not valid, the data directory can't be used, or the address is in use.
    pub async fn start(&self) -> Result<(), StartError> {
        let Some(prepared) = self.take_prepared() else {
            return Err(StartError::StartedBefore);
        };
        let runtime = Runtime::start(*prepared, &self.shared.inbox).await?;
        *lock(&self.shared.lifecycle) = Lifecycle::Running(runtime);
        Ok(())
    }

    fn take_prepared(&self) -> Option<Box<Prepared<M>>> {
        let mut lifecycle = lock(&self.shared.lifecycle);
        match std::mem::replace(&mut *lifecycle, Lifecycle::Inactive) {
            Lifecycle::Prepared(prepared) => Some(prepared),
            other => {
                *lifecycle = other;
                None
            }
        }
    }

    /// Submits a command and waits until it is applied on this node. Only the leader accepts it.
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

    /// Submits a command and waits until it is applied on this node. A node that is not the leader forwards it.
    ///
    /// # Errors
    /// See [`SubmitError`]: each variant states whether the command may still be applied.
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
        let _permit = match M::class_of(&data) {
            CommandClass::Client => self.request_permit(),
            CommandClass::Report | CommandClass::Control => self.reserved_permit(),
        }?;
        let (client, outcome) = oneshot::channel();
        let deadline = self.deadline(timeout);
        self.submit_input(Input::Propose {
            data,
            deadline,
            forward,
            client,
        })?;
        outcome.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Queries the state machine. Returns the response, and the index of the entry after which the state was read. Dropped
    /// before it completes, it cancels the query.
    ///
    /// # Errors
    /// No leader confirmed the read in time, or the node is overloaded or stopping.
    pub async fn query(
        &self,
        query: M::Query,
        consistency: Consistency,
        timeout: Duration,
    ) -> Result<(Index, M::Response), SubmitError> {
        let permit = self.request_permit()?;
        let (outcome, response) = oneshot::channel();
        // Dropped with this future: then the query is abandoned, and ends.
        let waiting = WaitingClient::default();
        let client = QuerySender {
            outcome,
            watch: waiting.watch(),
            _permit: permit,
        };
        let deadline = self.deadline(timeout);
        self.submit_input(Input::Query {
            query,
            consistency,
            deadline,
            client,
        })?;
        response.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Copies applied entries from `from` on: the first one always, then as many as fit into `max_bytes`. None if `from` is not
    /// applied yet.
    ///
    /// # Errors
    /// Too many requests are in flight, or the node is not running.
    pub async fn copy_log(&self, from: Index, max_bytes: u64) -> Result<LogCopy, SubmitError> {
        let _permit = self.reserved_permit()?;
        let (outcome, copy) = oneshot::channel();
        // An error means that the client has gone.
        let respond = Box::new(move |copied| drop(outcome.send(copied)));
        self.submit_input(Input::CopyLog(CopyRequest {
            from,
            max_bytes,
            respond,
        }))?;
        copy.await.map_err(|_| SubmitError::Stopped)
    }

    /// Notifies of each snapshot that could not be taken, under the rule of [`Raft::watch_status`].
    #[must_use]
    pub fn watch_snapshot_failures(&self) -> watch::Receiver<SnapshotFailures> {
        self.shared.published.snapshot_failures.clone()
    }

    /// Requests a snapshot of the state machine now, independently of the threshold. [`Status::snapshot`] shows it, or
    /// [`Raft::watch_snapshot_failures`] why it failed.
    ///
    /// # Errors
    /// The node is not running.
    pub fn request_snapshot(&self) -> Result<(), SubmitError> {
        self.submit_input(Input::TakeSnapshot)
    }

    /// Replaces the state of the machine by the leader's, because it has diverged. The machine applies nothing more, its
    /// state is set aside, and [`Status::reinstall`] names the first entry at which a snapshot is needed. Then call
    /// [`Raft::request_leader_snapshot`].
    ///
    /// # Errors
    /// The node is not running.
    pub fn reinstall(&self) -> Result<(), SubmitError> {
        self.submit_input(Input::Reinstall)
    }

    fn request_permit(&self) -> Result<OwnedSemaphorePermit, SubmitError> {
        let permits = Arc::clone(&self.shared.permits);
        permits
            .try_acquire_owned()
            .map_err(|_| SubmitError::Overloaded {
                what: "requests at this node",
            })
    }

    /// A permit for an operator's request or a control record: it must be possible while clients use all others.
    fn reserved_permit(&self) -> Result<OwnedSemaphorePermit, SubmitError> {
        let reserved = || Arc::clone(&self.shared.reserved_permits).try_acquire_owned();
        self.request_permit()
            .or_else(|overloaded| reserved().map_err(|_| overloaded))
    }

    fn deadline(&self, timeout: Duration) -> Duration {
        self.shared.epoch.elapsed().saturating_add(timeout)
    }

    fn submit_input(&self, input: NodeInput<M>) -> Result<(), SubmitError> {
        self.shared
            .inbox
            .submit(input)
            .map_err(|_| SubmitError::Stopped)
    }

    /// Whether this node is the leader.
    pub async fn is_leader(&self) -> bool {
        self.status().role == Role::Leader
    }

    /// The latest term that this node has seen.
    pub async fn get_term(&self) -> u64 {
        self.status().term.0
    }

    /// State of the node after the last turn of its driver.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.published.status.borrow().clone()
    }

    /// The time that an entry would get if this node were the leader and proposed it now, in milliseconds since 1970. It is
    /// the time by which the state machine measures delays: not the clock of this machine.
    #[must_use]
    pub fn log_time_ms(&self) -> u64 {
        let clock = self.shared.published.status.borrow().clock;
        let now = i64::try_from(self.shared.epoch.elapsed().as_micros()).unwrap_or(i64::MAX);
        let time_ms = u64::try_from(now.saturating_add(clock.log_offset_us) / 1000).unwrap_or(0);
        time_ms.max(clock.log_time_ms)
    }

    /// Notifies of each change of the status. Drop what `borrow` returns before you call another method of the node: that method may
    /// publish a change on your thread, and would wait for it for ever.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.shared.published.status.clone()
    }

    /// Whether a leader is known. Cheaper than the status.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        self.shared.published.has_leader.load(Ordering::Acquire)
    }

    /// Notifies of each change of leadership, under the same rule. Unlike the status, it does not change with each entry, so load does not wake
    /// the receiver.
    #[must_use]
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.published.leadership.clone()
    }

    /// Reads something of the running node. `None` while it does not run.
    fn running<T>(&self, read: impl FnOnce(&Runtime<M>) -> T) -> Option<T> {
        match &*lock(&self.shared.lifecycle) {
            Lifecycle::Running(runtime) => Some(read(runtime)),
            Lifecycle::Prepared(_) | Lifecycle::Inactive => None,
        }
    }

    /// The address that the node listens on for peers. `None` while it does not run.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.running(Runtime::peer_addr)
    }

    /// The network of the node, with its counters. `None` while it does not run.
    #[must_use]
    pub fn network(&self) -> Option<Arc<crate::node::Network>> {
        self.running(Runtime::network)
    }

    /// Counters of the disk. `None` while the node does not run.
    #[must_use]
    pub fn disk(&self) -> Option<Arc<DiskStats>> {
        self.running(Runtime::disk)
    }

    /// Waits until an error stops the node, and returns it. Waits forever on a node that is shut down.
    pub async fn failed(&self) -> FatalError {
        let mut fatal = self.shared.published.fatal.clone();
        loop {
            if let Some(error) = fatal.borrow_and_update().clone() {
                return error;
            }
            if fatal.changed().await.is_err() {
                // Shut down: there will be no error.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops the node: completes requests in flight with an error, finishes the write in progress, and ends all threads.
    pub async fn shutdown(&self) {
        if let Some(runtime) = self.take_running() {
            runtime.stop().await;
        }
    }

    fn take_running(&self) -> Option<Runtime<M>> {
        let mut lifecycle = lock(&self.shared.lifecycle);
        match std::mem::replace(&mut *lifecycle, Lifecycle::Inactive) {
            Lifecycle::Running(runtime) => Some(runtime),
            other => {
                *lifecycle = other;
                None
            }
        }
    }
}

/// Locks a mutex. A poisoned one is used as it is: no code leaves the value half-changed under the lock.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
