//! The events that the network delivers to its node.

use crate::identity::{PeerHello, Sender};
use crate::ids::NodeId;
use crate::message::Message;

/// An event of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    /// A message arrived.
    Message {
        /// The node that sent it, by the hello of the connection.
        from: Sender,
        /// The message itself.
        message: Message,
        /// Length of its frame in bytes, for memory budgets.
        bytes: usize,
    },
    /// A connection with this peer has begun. Delivered before the first message of the connection.
    PeerHello(PeerHello),
    /// The connection for requests to this peer is open. Requests sent before may be lost.
    Connected(NodeId),
    /// The connection for requests to this peer is closed. The last requests may be lost.
    Disconnected(NodeId),
    /// This node belongs to the cluster of this name. Delivered on every connection that a node accepts which was
    /// started with [`PeerCheck::Join`](super::PeerCheck::Join), before the first message of that connection.
    Joined(String),
}

/// The receiver of the network's events.
pub trait MessageSink: Clone + Send + Sync + 'static {
    /// Delivers one event. Until the future completes, nothing more is read from that peer: this is the
    /// back-pressure. Returns false if the node is shutting down; the connection then closes.
    fn deliver(&self, event: NetworkEvent) -> impl Future<Output = bool> + Send;
}
