//! The driver's environment in production: queues to the other threads and to the network.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::wall_clock::WallClock;
use crate::address::PeerAddress;
use crate::disk::DiskTask;
use crate::driver::{Applied, Environment, MachineTask, SubmitError};
use crate::ids::{Index, NodeId};
use crate::message::{AdminError, Message};
use crate::node::Network;
use crate::raft::fault::CoreFault;
use crate::raft::ready::IdentityChange;
use crate::state_machine::{ClientWatch, ReplicatedStateMachine};

/// Up to this many clients are woken one by one. See [`ThreadEnvironment::flush_replies`].
const WOKEN_SINGLY: usize = 4;

/// The response to a query, and the index after which the state was read.
type QueryOutcome<M> = Result<(Index, <M as ReplicatedStateMachine>::Response), SubmitError>;

/// The client of a query.
pub(super) struct QuerySender<M: ReplicatedStateMachine> {
    /// Receives the response.
    pub(super) outcome: oneshot::Sender<QueryOutcome<M>>,
    /// Whether it still waits.
    pub(super) watch: ClientWatch,
    /// Counts the query until it has ended, also where its client has gone before.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// The outcome of a command.
type CommandOutcome<M> = Result<Applied<<M as ReplicatedStateMachine>::Reply>, SubmitError>;

/// The client of a command: receives the outcome.
type CommandSender<M> = oneshot::Sender<CommandOutcome<M>>;

/// Queues to the disk's thread, the state machine's thread, the network and the clients.
pub(super) struct ThreadEnvironment<M: ReplicatedStateMachine> {
    /// Runs the tasks of the clients.
    tokio: tokio::runtime::Handle,
    /// Outcomes of this turn, for [`ThreadEnvironment::flush_replies`].
    replies: Vec<(CommandSender<M>, CommandOutcome<M>)>,
    disk: mpsc::Sender<DiskTask>,
    machine: mpsc::Sender<MachineTask<M, QuerySender<M>>>,
    network: Arc<Network>,
    wall_clock: WallClock,
    /// Addresses of the start configuration.
    configured: BTreeMap<NodeId, PeerAddress>,
    /// The core has stopped for this reason.
    fault: Option<CoreFault>,
}

impl<M: ReplicatedStateMachine> ThreadEnvironment<M> {
    /// An environment for the driver of a node with these peers. Call it within the tokio runtime of the clients.
    pub(super) fn new(
        disk: mpsc::Sender<DiskTask>,
        machine: mpsc::Sender<MachineTask<M, QuerySender<M>>>,
        network: Arc<Network>,
        wall_clock: WallClock,
        peers: Vec<PeerAddress>,
    ) -> Self {
        Self {
            tokio: tokio::runtime::Handle::current(),
            replies: Vec::new(),
            disk,
            machine,
            network,
            wall_clock,
            configured: peers
                .into_iter()
                .map(|peer| (peer.id.clone(), peer))
                .collect(),
            fault: None,
        }
    }

    /// Why the core has stopped, if it has.
    pub(super) fn fault(&self) -> Option<&CoreFault> {
        self.fault.as_ref()
    }

    /// Sends the replies of this turn. To wake a task from outside of the runtime takes a lock, and may take a system
    /// call. So where there are many replies, one task is woken, which wakes the others from within.
    pub(super) fn flush_replies(&mut self) {
        // An error means that the client has gone: it needs no reply.
        let send =
            |(client, outcome): (CommandSender<M>, CommandOutcome<M>)| drop(client.send(outcome));
        if self.replies.len() <= WOKEN_SINGLY {
            self.replies.drain(..).for_each(send);
        } else {
            let replies = std::mem::take(&mut self.replies);
            self.tokio
                .spawn(async move { replies.into_iter().for_each(send) });
        }
    }
}

/// Errors of the channels are ignored. A thread that has ended has reported why as a [`FatalError`](super::FatalError);
/// a client that has gone needs no reply.
impl<M: ReplicatedStateMachine> Environment<M> for ThreadEnvironment<M> {
    type CommandClient = CommandSender<M>;
    type QueryClient = QuerySender<M>;
    type Operator = oneshot::Sender<Result<Index, AdminError>>;

    fn disk(&mut self, task: DiskTask) {
        let _ = self.disk.send(task);
    }

    fn machine(&mut self, task: MachineTask<M, Self::QueryClient>) {
        let _ = self.machine.send(task);
    }

    fn send(&mut self, to: &NodeId, message: Message) {
        self.network.send(to, message);
    }

    fn reply(&mut self, client: Self::CommandClient, outcome: CommandOutcome<M>) {
        self.replies.push((client, outcome));
    }

    fn reject_query(&mut self, client: Self::QueryClient, error: SubmitError) {
        let _ = client.outcome.send(Err(error));
    }

    fn has_gone(&self, client: &Self::QueryClient) -> bool {
        client.watch.has_gone()
    }

    fn complete(&mut self, operator: Self::Operator, outcome: Result<Index, AdminError>) {
        let _ = operator.send(outcome);
    }

    fn set_peers(&mut self, peers: BTreeMap<NodeId, String>) {
        let address = |(id, address): (NodeId, String)| {
            let known = format!("{id}@{address}").parse().ok();
            // The address is empty if no node knew it when the membership entry was made.
            let known = known.filter(|_| !address.is_empty());
            known.or_else(|| self.configured.get(&id).cloned())
        };
        let peers = peers.into_iter().filter_map(address).collect();
        self.network.set_peers(peers);
    }

    fn set_identity(&mut self, change: IdentityChange) {
        self.network.set_identity(change.identity, change.new_store);
    }

    fn fail(&mut self, fault: CoreFault) {
        self.fault = Some(fault);
    }

    fn wall_ms(&mut self) -> u64 {
        (self.wall_clock)()
    }
}
