//! The inputs of the driver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::environment::Environment;
use super::log_copies::CopyRequest;
use super::outcome::Consistency;
use crate::applier::Reply;
use crate::disk::DiskDone;
use crate::entry::SnapshotMeta;
use crate::identity::{PeerHello, Sender};
use crate::ids::{Index, NodeId};
use crate::message::{AdminRequest, Message};
use crate::state_machine::ReplicatedStateMachine;

/// An event for the driver. Deadlines are on the same clock as the `now` of [`Driver::handle`](super::Driver::handle).
pub enum Input<M: ReplicatedStateMachine, E: Environment<M>> {
    /// Time has passed.
    Tick,
    /// A connection with a peer has begun. Its messages follow.
    PeerHello(Box<PeerHello>),
    /// The connection for requests to this peer is open again. Requests that were sent before may be lost.
    Connected(NodeId),
    /// A message arrived from this node.
    Message(Sender, Message),
    /// A client submits a command.
    Propose {
        /// The command.
        data: Bytes,
        /// When the client stops waiting.
        deadline: Duration,
        /// Forward the command to the leader if this node is not the leader.
        forward: bool,
        /// Receives the outcome.
        client: E::CommandClient,
    },
    /// A client submits a query.
    Query {
        /// The query.
        query: M::Query,
        /// How recent the state must be.
        consistency: Consistency,
        /// When the client stops waiting.
        deadline: Duration,
        /// Receives the response.
        client: E::QueryClient,
    },
    /// The disk has finished a task.
    Disk(DiskDone),
    /// The state machine has applied the entries up to this index. The replies are those to commands of this node's
    /// clients.
    Applied(Index, Vec<Reply<M::Reply>>),
    /// An entry that was applied has given earlier commands their replies. Their clients may wait at other nodes.
    WaitsEnded,
    /// The state machine has restored this snapshot.
    Restored(SnapshotMeta),
    /// The state machine has taken a snapshot, or why that failed.
    SnapshotTaken(Result<SnapshotMeta, Arc<str>>),
    /// A snapshot was read to its end: whether it is sound.
    SnapshotChecked(SnapshotMeta, bool),
    /// Take a snapshot now.
    TakeSnapshot,
    /// Replace the state of the machine by the leader's: it has diverged.
    Reinstall,
    /// Copy applied entries, for an archive.
    CopyLog(CopyRequest),
    /// The node has joined the cluster of this name.
    Joined(String),
    /// An operator submits an admin request.
    Admin {
        /// The request.
        request: AdminRequest,
        /// When the operator stops waiting.
        deadline: Duration,
        /// Receives the outcome.
        operator: E::Operator,
    },
}
