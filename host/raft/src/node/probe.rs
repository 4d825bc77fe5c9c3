//! Finds out which node answers at an address, without a connection for messages.
//!
//! The probe is a hello that names the wanted node as its sender. That node refuses it because it has the same id; every
//! other node refuses it for another reason. Nodes of all versions do so, and none of them registers a connection.

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::{read_handshake, write_handshake};
use super::hello::{Handshake, Hello, HelloRefusalReason, PROTOCOL_WITHOUT_IDENTITY};
use super::peers::NetworkContext;
use super::security::PeerStream;
use crate::address::PeerAddress;

/// Why a node is not the one that was expected at an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// Nothing answers, or not as a node does.
    #[error("no node answers there: {0}")]
    NoAnswer(String),
    /// Another node, or a node of another cluster, answers.
    #[error("another node answers there: {0}")]
    OtherNode(String),
}

/// Returns `Ok` if the node `address.id` of this cluster answers at `address`.
pub(super) async fn probe(
    context: &NetworkContext,
    address: &PeerAddress,
) -> Result<(), ProbeError> {
    let limits = &context.limits;
    let silent = |error: &dyn std::error::Error| ProbeError::NoAnswer(error.to_string());
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let connected = timeout(limits.connect_timeout, connecting)
        .await
        .map_err(|late| silent(&late))?;
    let mut stream = connected.map_err(|error| silent(&error))?;
    if let Some(security) = context.security() {
        // The handshake succeeds with the wanted node only, which proves who it is.
        let securing =
            PeerStream::connect(stream, Some(security), &address.id, limits.hello_timeout);
        return securing
            .await
            .map(drop)
            .map_err(|error| ProbeError::OtherNode(error.to_string()));
    }
    let hello = Handshake::Hello(Hello {
        node_id: address.id.clone(),
        ..context.hello(&address.id, PROTOCOL_WITHOUT_IDENTITY)
    });
    write_handshake(&mut stream, &hello, limits.hello_timeout)
        .await
        .map_err(|error| silent(&error))?;
    match read_handshake(&mut stream, limits.hello_timeout).await {
        Err(error) => Err(silent(&error)),
        Ok(Handshake::Refusal(refusal)) if refusal.reason == HelloRefusalReason::Oneself => Ok(()),
        Ok(Handshake::Refusal(refusal)) => Err(ProbeError::OtherNode(refusal.detail)),
        Ok(Handshake::Hello(hello)) => {
            Err(ProbeError::OtherNode(format!("it is {}", hello.node_id)))
        }
    }
}
