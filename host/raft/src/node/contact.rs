//! Listens before a network starts: whether a node of a cluster looks for this one.
//!
//! Members connect to each other all the time. So a node whose disk was replaced hears from the other members soon, if any of
//! them runs, although its store does not know them.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::read_handshake;
use super::hello::Handshake;
use super::limits::NetworkLimits;
use super::security::{PeerSecurity, PeerStream};
use crate::ids::NodeId;

/// A member that looks for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The member.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster_id: String,
}

/// How long [`first_contact`] should listen: running members try to connect several times in it.
#[must_use]
pub fn contact_time() -> Duration {
    NetworkLimits::default().backoff_max * 2
}

/// Listens for `time` on a bound socket, and returns the first member that looks for the node `own`. The connections are
/// closed: their nodes connect again. `security`: that of the network.
///
/// # Errors
/// The socket can't be used. There is no tokio runtime.
pub async fn first_contact(
    socket: &TcpListener,
    own: &NodeId,
    time: Duration,
    security: Option<Arc<dyn PeerSecurity>>,
) -> std::io::Result<Option<Contact>> {
    let socket = socket.try_clone()?;
    socket.set_nonblocking(true)?;
    let socket = tokio::net::TcpListener::from_std(socket)?;
    let mut connections = JoinSet::new();
    let listening = async {
        loop {
            tokio::select! {
                Some(contact) = connections.join_next(), if !connections.is_empty() => {
                    if let Ok(Some(contact)) = contact {
                        return contact;
                    }
                }
                Ok((stream, _)) = socket.accept(), if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(contact_on(stream, own.clone(), time, security.clone()));
                }
            }
        }
    };
    Ok(timeout(time, listening).await.ok())
}

/// Most connections at one time. Further ones wait.
const MAX_CONNECTIONS: usize = 64;

async fn contact_on(
    stream: TcpStream,
    own: NodeId,
    time: Duration,
    security: Option<Arc<dyn PeerSecurity>>,
) -> Option<Contact> {
    let accepting = PeerStream::accept(stream, security.as_deref(), time);
    let mut stream = accepting.await.ok()?;
    match read_handshake(&mut stream, time).await {
        Ok(Handshake::Hello(hello))
            if hello.peer_id == own
                && hello.node_id != own
                && stream.may_be(&hello.cluster_id, &hello.node_id) =>
        {
            Some(Contact {
                node_id: hello.node_id,
                cluster_id: hello.cluster_id,
            })
        }
        _ => None,
    }
}
