//! What the driver needs from the outside: a disk, a state machine, a network, its clients and a wall clock.

use std::collections::BTreeMap;

use super::outcome::{Applied, SubmitError};
use crate::disk::DiskTask;
use crate::entry::{Entry, SnapshotMeta};
use crate::ids::{Index, NodeId};
use crate::message::{AdminError, Message};
use crate::raft::fault::CoreFault;
use crate::raft::ready::IdentityChange;
use crate::state_machine::ReplicatedStateMachine;

/// Receives the work of the driver. No method waits until the work is done: an
/// [`Input`](super::Input) reports that.
///
/// In production these are queues to threads and to the network. A simulation records the calls and decides itself when
/// each of them takes effect.
pub trait Environment<M: ReplicatedStateMachine> {
    /// Handle of a client that waits for the outcome of a command.
    type CommandClient;
    /// Handle of a client that waits for the response to a query.
    type QueryClient;
    /// Handle of an operator that waits for the outcome of an admin request.
    type Operator;

    /// Queues a task for the disk. The disk runs its tasks in this order.
    fn disk(&mut self, task: DiskTask);
    /// Queues a task for the state machine. The machine runs its tasks in this order.
    fn machine(&mut self, task: MachineTask<M, Self::QueryClient>);
    /// Sends a message. It may be lost.
    fn send(&mut self, to: &NodeId, message: Message);
    /// Completes a command.
    fn reply(
        &mut self,
        client: Self::CommandClient,
        outcome: Result<Applied<M::Reply>, SubmitError>,
    );
    /// Rejects a query. Queries that succeed are completed by the state machine.
    fn reject_query(&mut self, client: Self::QueryClient, error: SubmitError);
    /// Whether the client of a query has gone, so that nothing needs the response.
    fn has_gone(&self, _client: &Self::QueryClient) -> bool {
        false
    }
    /// Completes an admin request with the index at which it is in effect.
    fn complete(&mut self, operator: Self::Operator, outcome: Result<Index, AdminError>);
    /// Replaces the set of peers to connect to, with their addresses. For an empty address, use the one of the start
    /// configuration.
    fn set_peers(&mut self, peers: BTreeMap<NodeId, String>);
    /// The hello of this node has changed. The messages that follow need connections with the new one.
    fn set_identity(&mut self, change: IdentityChange);
    /// The core has stopped: stop the node. The driver gives no more work.
    fn fail(&mut self, fault: CoreFault);
    /// The wall clock, in milliseconds since 1970. It may jump; the core makes the times in the log monotonic.
    fn wall_ms(&mut self) -> u64;
}

/// A task for the state machine.
pub enum MachineTask<M: ReplicatedStateMachine, C> {
    /// Apply these entries, in order.
    Apply(Vec<Entry>),
    /// Respond to a query from the current state.
    Query(M::Query, C),
    /// Take a snapshot.
    TakeSnapshot,
    /// Replace the state by that of this snapshot.
    Restore(SnapshotMeta),
    /// Read this snapshot to its end, concurrently with other tasks, and report whether it is sound.
    CheckSnapshot(SnapshotMeta),
}
